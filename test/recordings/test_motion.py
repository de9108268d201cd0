# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import sys

import numpy as np
import pytest

pytest.importorskip("rosbags", reason="bags need the rosbags package")

from rosbags.rosbag2 import Writer
from rosbags.typesys import Stores, get_typestore
from scipy.spatial.transform import Rotation

from minkowski_perception.codec import encode_frame
from minkowski_perception.frame import Frame, upright
from minkowski_perception.motion.ego_motion import (
    EgoMotion,
    NoPoseError,
    RecordedMotion,
    StandingStill,
)
from minkowski_perception.motion.poses import PoseBuffer, pose_matrix
from minkowski_perception.motion.registration import Registration
from minkowski_perception.recordings.bags import BagError, BagReader, BagWriter
from minkowski_perception.recordings.motion import choose_ego_motion, node_ego_motion

SECOND = 10**9
POSES = [
    (stamp, pose_matrix((stamp / SECOND, 0, 0), (0, 0, np.sin(stamp), 1)))
    for stamp in (SECOND, 2 * SECOND)
]


def frame_at(stamp):
    return Frame(np.zeros((5, 3), dtype=np.float32), stamp, "lidar")


@pytest.fixture
def make_bag(tmp_path):
    def make(odometry=(), transforms=()):
        with BagWriter(tmp_path / "bag") as writer:
            writer.write_cloud("/points", encode_frame(frame_at(SECOND)), SECOND, "lidar")
            for topic in odometry:
                for stamp, pose in POSES:
                    writer.write_odometry(topic, stamp, pose, "wheels", "lidar")
            for stamp, pose in transforms:
                writer.write_transform(stamp, pose, "world", "lidar")
        return tmp_path / "bag"

    return make


def choose(path, *arguments, **options):
    with BagReader(path) as bag:
        return choose_ego_motion(bag, "/points", *arguments, **options)


@pytest.mark.parametrize("choice", ["auto", "bag"])
@pytest.mark.parametrize("source", ["odometry", "transforms"])
def test_recorded_poses_are_used_first(make_bag, choice, source):
    bag = make_bag(odometry=["/odom"]) if source == "odometry" else make_bag(transforms=POSES)

    motion = choose(bag, choice)

    assert type(motion) is RecordedMotion
    assert motion.reason == (f"from bag {source}" if choice == "auto" else "requested")
    assert motion.fixed_frame == {"odometry": "wheels", "transforms": "world"}[source]
    for stamp, pose in POSES:
        np.testing.assert_allclose(motion.locate(frame_at(stamp)), pose, atol=1e-12)


def test_one_of_several_odometry_topics_must_be_named(make_bag):
    bag = make_bag(odometry=["/visual", "/wheels"])

    assert type(choose(bag, odometry_topic="/wheels")) is RecordedMotion
    with pytest.raises(BagError, match="several odometry topics, choose one of /visual"):
        choose(bag)


def test_with_none_the_sensor_stands_still(make_bag, tmp_path):
    motion = choose(make_bag(odometry=["/odom"]), "none")

    assert type(motion) is StandingStill
    motion.locate(frame_at(0))
    assert motion.fixed_frame == "lidar"
    optical = choose(tmp_path / "bag", "none")
    optical.locate(Frame(np.zeros((5, 3)), 0, "camera_optical_frame"))
    assert optical.fixed_frame == "odom_lidar"


def test_clouds_are_registered_if_the_bag_has_no_poses(make_bag):
    pytest.importorskip("kiss_icp", reason="needs kiss-icp: pip install kiss-icp")
    motion = choose(make_bag())

    assert type(motion) is Registration
    assert motion.reason == "the bag has no odometry or transforms"
    assert motion.fixed_frame == "odom_lidar"


def test_clouds_are_registered_on_request(make_bag):
    pytest.importorskip("kiss_icp", reason="needs kiss-icp: pip install kiss-icp")
    motion = choose(make_bag(odometry=["/odom"]), "kiss_icp")

    assert type(motion) is Registration
    assert motion.reason == "requested"


def test_motion_is_unknown_without_poses_and_without_kiss_icp(make_bag, monkeypatch):
    monkeypatch.setitem(sys.modules, "kiss_icp.kiss_icp", None)
    motion = choose(make_bag())

    assert type(motion) is EgoMotion
    assert motion.reason.startswith("the bag has no odometry or transforms; ")
    assert "pip install kiss-icp" in motion.reason


def test_a_requested_source_that_is_unavailable_is_refused(make_bag, monkeypatch):
    monkeypatch.setitem(sys.modules, "kiss_icp.kiss_icp", None)
    bag = make_bag()

    with pytest.raises(BagError, match="no motion of frame 'lidar': the bag has no odometry"):
        choose(bag, "bag")
    with pytest.raises(BagError, match="pip install kiss-icp"):
        choose(bag, "kiss_icp")


UPSIDE_DOWN = pose_matrix((0, 0, 1.7), (1, 0, 0, 0))


def transform_message(second, parent, child, pose):
    types = get_typestore(Stores.LATEST).types
    turn = Rotation.from_matrix(pose[:3, :3]).as_quat().tolist()
    stamp = types["builtin_interfaces/msg/Time"](second, 0)
    transform = types["geometry_msgs/msg/Transform"](
        types["geometry_msgs/msg/Vector3"](*pose[:3, 3].tolist()),
        types["geometry_msgs/msg/Quaternion"](*turn),
    )
    header = types["std_msgs/msg/Header"](stamp, parent)
    stamped = types["geometry_msgs/msg/TransformStamped"](header, child, transform)
    return types["tf2_msgs/msg/TFMessage"]([stamped])


def write_motion(path, *, moving=(), static=(), frames=("lidar",), ahead_by=0):
    """Write three clouds from second 1 on, and (namespace, second, parent, child, pose).

    The clock of the clouds is `ahead_by` seconds ahead of the recorder's.
    """
    kind = "tf2_msgs/msg/TFMessage"
    with BagWriter(path.parent / "clouds") as clouds:
        for i in range(3):
            frame_id = frames[i % len(frames)]
            cloud = encode_frame(Frame(np.ones((5, 3))))
            clouds.write_cloud("/points", cloud, (1 + i + ahead_by) * SECOND, frame_id)
    with BagReader(path.parent / "clouds") as clouds, BagWriter(path) as writer:
        for name, edges in (("tf", moving), ("tf_static", static)):
            for namespace, second, *edge in edges:
                message = transform_message(second, *edge)
                data = get_typestore(Stores.LATEST).serialize_cdr(message, kind)
                writer.write_raw(f"{namespace}/{name}", kind, second * SECOND, bytes(data))
        for topic, cloud_kind, time, data in clouds.raw(["/points"]):
            writer.write_raw(topic, cloud_kind, time - ahead_by * SECOND, data)
    return path


def ahead(metres):
    return pose_matrix((metres, 0, 0), (0, 0, 0, 1))


def drive(namespace="", parent="odom", child="base_link"):
    return [(namespace, second, parent, child, ahead(second)) for second in (1, 2, 3)]


def mount(child="lidar", pose=UPSIDE_DOWN, namespace=""):
    return (namespace, 1, "base_link", child, pose)


def registered(motion, reason):
    pytest.importorskip("kiss_icp", reason="needs kiss-icp: pip install kiss-icp")
    assert type(motion) is Registration
    assert reason in motion.reason


@pytest.mark.parametrize("parent", ["base_link", "robot/base_footprint", "body"])
def test_transforms_to_the_robot_itself_are_no_motion(tmp_path, parent):
    path = write_motion(tmp_path / "bag", moving=drive(parent=parent, child="lidar"))
    registered(choose(path), f"lead to '{parent}', which moves with the robot")


def test_transforms_that_never_change_are_no_motion(tmp_path):
    moving = [("", second, "odom", "lidar", ahead(1)) for second in (1, 2, 3)]
    registered(choose(write_motion(tmp_path / "bag", moving=moving)), "never change")


def test_transforms_that_are_not_finite_are_named(tmp_path):
    broken = UPSIDE_DOWN.copy()
    broken[0, 3] = np.nan
    static = [mount(pose=broken)]
    path = write_motion(tmp_path / "bag", moving=drive(), static=static)
    registered(choose(path), "not finite: 'lidar' in 'base_link'")


@pytest.mark.parametrize("namespace", ["", "/r1", "/fleet/r1"])
def test_transforms_of_a_namespace_are_used(tmp_path, namespace):
    path = write_motion(
        tmp_path / "bag", moving=drive(namespace), static=[mount(namespace=namespace)]
    )
    motion = choose(path)
    assert type(motion) is RecordedMotion
    pose = motion.locate(frame_at(2 * SECOND))
    np.testing.assert_allclose(pose, ahead(2) @ UPSIDE_DOWN, atol=1e-12)


def test_clocks_that_do_not_meet_lead_to_registration(tmp_path):
    path = write_motion(tmp_path / "bag", moving=drive(), static=[mount()], ahead_by=10**6)
    registered(choose(path), "clocks of clouds and poses do not meet")
    with pytest.raises(BagError, match="clocks of clouds and poses"):
        choose(path, "bag")


@pytest.mark.parametrize("choice", ["auto", "none"])
def test_a_mount_is_used_without_odometry(tmp_path, choice):
    pytest.importorskip("kiss_icp", reason="needs kiss-icp: pip install kiss-icp")
    with BagReader(write_motion(tmp_path / "bag", static=[mount()])) as bag:
        motion = choose_ego_motion(bag, "/points", choice)
        pose = motion.locate(frame_at(SECOND))
    np.testing.assert_allclose(pose, UPSIDE_DOWN, atol=1e-12)


def test_a_mount_ends_at_an_optical_frame_that_is_upright(tmp_path):
    static = [("", 1, "camera_optical_frame", "camera_depth", ahead(1))]
    with BagReader(write_motion(tmp_path / "bag", static=static)) as bag:
        pose = bag.mount("camera_depth")
    np.testing.assert_allclose(pose, upright("optical") @ ahead(1), atol=1e-12)


def test_two_sensors_on_one_topic_have_their_own_mounts(tmp_path):
    path = write_motion(
        tmp_path / "bag",
        moving=drive(),
        static=[mount("front", ahead(2)), mount("rear")],
        frames=("front", "rear"),
    )
    with BagReader(path) as bag:
        motion = choose_ego_motion(bag, "/points")
        front, rear = (motion.locate(Frame(np.ones((1, 3)), SECOND, f)) for f in ("front", "rear"))
        with pytest.raises(NoPoseError):
            motion.locate(Frame(np.ones((1, 3)), SECOND, "unknown"))
    np.testing.assert_allclose(front, ahead(1) @ ahead(2), atol=1e-12)
    np.testing.assert_allclose(rear, ahead(1) @ UPSIDE_DOWN, atol=1e-12)


def test_a_topic_without_clouds_is_refused(tmp_path):
    cloud_type, store = "sensor_msgs/msg/PointCloud2", get_typestore(Stores.LATEST)
    with Writer(tmp_path / "bag", version=8) as writer:
        writer.add_connection("/points", cloud_type, typestore=store)

    with pytest.raises(BagError, match=r"topic '/points' of .* has no clouds"):
        choose(tmp_path / "bag")


@pytest.mark.parametrize(
    ("motion", "parameter"),
    [
        (EgoMotion(), "auto"),
        (StandingStill(), "none"),
        (RecordedMotion(lambda frame_id: PoseBuffer()), "odometry"),
    ],
    ids=["unknown", "none", "recorded"],
)
def test_the_node_gets_the_parameter_that_matches_the_choice(motion, parameter):
    assert node_ego_motion(motion) == parameter
