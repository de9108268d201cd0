# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import sys

import numpy as np
import pytest

pytest.importorskip("rosbags", reason="bags need the rosbags package")

from rosbags.rosbag2 import Writer
from rosbags.typesys import Stores, get_typestore

from minkowski_perception.codec import encode_frame
from minkowski_perception.frame import Frame
from minkowski_perception.motion.ego_motion import EgoMotion, RecordedMotion, StandingStill
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

    with pytest.raises(BagError, match="has no odometry or transforms of frame 'lidar'"):
        choose(bag, "bag")
    with pytest.raises(BagError, match="pip install kiss-icp"):
        choose(bag, "kiss_icp")


def test_a_topic_without_clouds_is_refused(tmp_path):
    cloud_type, store = "sensor_msgs/msg/PointCloud2", get_typestore(Stores.LATEST)
    with Writer(tmp_path / "bag", version=8) as writer:
        writer.add_connection("/points", cloud_type, typestore=store)

    with pytest.raises(BagError, match=r"topic '/points' of .* has no clouds"):
        choose(tmp_path / "bag")


@pytest.mark.parametrize(
    ("motion", "parameter"),
    [(EgoMotion(), "auto"), (StandingStill(), "none"), (RecordedMotion(PoseBuffer()), "odometry")],
    ids=["unknown", "none", "recorded"],
)
def test_the_node_gets_the_parameter_that_matches_the_choice(motion, parameter):
    assert node_ego_motion(motion) == parameter
