# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import shutil
import sqlite3

import numpy as np
import pytest
import yaml

pytest.importorskip("rosbags", reason="bags need the rosbags package")

from rosbags.rosbag1 import Writer as Ros1Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from minkowski_perception.codec import decode, encode_frame
from minkowski_perception.frame import Frame
from minkowski_perception.recordings.bags import BagError, BagReader, BagWriter

SECOND = 10**9
STORE = get_typestore(Stores.LATEST)
NO_TURN = (0.0, 0.0, 0.0, 1.0)
QUARTER_TURN = (0.0, 0.0, 0.5**0.5, 0.5**0.5)  # left, about z


def frame_of(stamp, points=5):
    generator = np.random.default_rng(stamp)
    return Frame(
        points=generator.normal(size=(points, 3)).astype(np.float32),
        intensity=generator.random(points, dtype=np.float32),
        labels=generator.integers(0, 19, points, dtype=np.uint8),
        stamp=stamp,
        frame_id="lidar",
    )


def write_clouds(path, topics=("/points",), storage="mcap", number=3):
    frames = [frame_of((100 + i) * SECOND) for i in range(number)]
    with BagWriter(path, storage) as bag:
        for frame in frames:
            for topic in topics:
                bag.write_cloud(topic, encode_frame(frame, "label"), frame.stamp, frame.frame_id)
    return frames


def transforms(*edges, store=STORE, kind="tf2_msgs/msg/TFMessage", header=()):
    """Return a tf2_msgs/TFMessage of (parent, child, seconds, translation, quaternion)."""
    types = store.types
    return types[kind](
        [
            types["geometry_msgs/msg/TransformStamped"](
                types["std_msgs/msg/Header"](
                    *header,
                    types["builtin_interfaces/msg/Time"](int(seconds), int(seconds % 1 * SECOND)),
                    parent,
                ),
                child,
                types["geometry_msgs/msg/Transform"](
                    types["geometry_msgs/msg/Vector3"](*map(float, translation)),
                    types["geometry_msgs/msg/Quaternion"](*quaternion),
                ),
            )
            for parent, child, seconds, translation, quaternion in edges
        ]
    )


def write_transforms(path, moving=(), static=(), odometry=()):
    """Write a bag of transforms and odometry, the latter as (topic, seconds, x, frame, child)."""
    with BagWriter(path) as bag:
        for topic, edges in (("/tf_static", static), ("/tf", moving)):
            for edge in edges:
                message = STORE.serialize_cdr(transforms(edge), "tf2_msgs/msg/TFMessage")
                bag.write_raw(topic, "tf2_msgs/msg/TFMessage", edge[2] * SECOND, message)
        for topic, seconds, x, frame, child in odometry:
            pose = np.eye(4)
            pose[0, 3] = x
            bag.write_odometry(topic, seconds * SECOND, pose, frame, child)
    return path


def poses_of(path, *arguments, **options):
    with BagReader(path) as bag:
        return bag.poses(*arguments, **options)


def along_x(poses):
    """Return seconds and x of poses that are pure translations along x."""
    for _, pose in poses:
        expected = np.eye(4)
        expected[0, 3] = pose[0, 3]
        np.testing.assert_allclose(pose, expected, atol=1e-12)
    return [(stamp / SECOND, round(pose[0, 3], 9)) for stamp, pose in poses]


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_clouds_are_read_as_they_were_written(tmp_path, storage):
    frames = write_clouds(tmp_path / "bag", storage=storage)

    with BagReader(tmp_path / "bag") as bag:
        assert bag.cloud_topics() == {"/points": 3}
        clouds = list(bag.clouds("/points"))

    assert [time for time, _ in clouds] == [f.stamp for f in frames]
    for (_, message), frame in zip(clouds, frames, strict=True):
        again = decode(message, label_field="label")
        assert (again.stamp, again.frame_id) == (frame.stamp, "lidar")
        np.testing.assert_array_equal(again.points, frame.points)
        np.testing.assert_array_equal(again.labels, frame.labels)


def test_a_bag_has_the_metadata_of_ros2_bag(tmp_path):
    write_clouds(tmp_path / "bag", storage="sqlite3")

    text = (tmp_path / "bag" / "metadata.yaml").read_text()
    information = yaml.safe_load(text)["rosbag2_bagfile_information"]
    assert information["version"] == 8
    assert information["storage_identifier"] == "sqlite3"
    assert information["compression_mode"] == ""
    assert information["message_count"] == 3
    assert information["starting_time"]["nanoseconds_since_epoch"] == 100 * SECOND
    assert information["duration"]["nanoseconds"] == 2 * SECOND
    (name,) = information["relative_file_paths"]
    with sqlite3.connect(tmp_path / "bag" / name) as database:
        rows = list(database.execute("SELECT name, type, serialization_format FROM topics"))
    assert rows == [("/points", "sensor_msgs/msg/PointCloud2", "cdr")]


@pytest.mark.parametrize(("storage", "suffix"), [("mcap", ".mcap"), ("sqlite3", ".db3")])
def test_a_bag_is_found_by_its_file_or_its_parent_folder(tmp_path, storage, suffix):
    write_clouds(tmp_path / "outer" / "bag", storage=storage)
    (file,) = (tmp_path / "outer" / "bag").glob(f"*{suffix}")
    (tmp_path / "bare").mkdir()
    shutil.copy(file, tmp_path / "bare")

    for path in (file, str(file), tmp_path / "bare", tmp_path / "outer"):
        with BagReader(path) as bag:
            assert len(list(bag.clouds("/points"))) == 3


def test_an_old_bag_without_message_definitions_can_be_read(tmp_path):
    write_clouds(tmp_path / "bag", storage="sqlite3")
    with sqlite3.connect(tmp_path / "bag" / "bag.db3") as database:
        database.execute("DELETE FROM message_definitions")

    with BagReader(tmp_path / "bag") as bag:
        assert len(list(bag.clouds("/points"))) == 3


def test_the_only_cloud_topic_is_chosen(tmp_path):
    write_clouds(tmp_path / "bag")

    with BagReader(tmp_path / "bag") as bag:
        assert bag.choose_cloud_topic(None) == "/points"
        assert bag.choose_cloud_topic("/points") == "/points"


def test_one_of_several_cloud_topics_must_be_named(tmp_path):
    write_clouds(tmp_path / "bag", topics=("/front", "/rear"))
    listed = r"choose one of /front \(3 messages\), /rear \(3 messages\)"

    with BagReader(tmp_path / "bag") as bag:
        assert bag.choose_cloud_topic("/rear") == "/rear"
        with pytest.raises(BagError, match=f"has several cloud topics, {listed}"):
            bag.choose_cloud_topic(None)
        with pytest.raises(BagError, match=f"has no cloud topic '/left'; {listed}"):
            bag.choose_cloud_topic("/left")
        with pytest.raises(BagError, match="has no cloud topic '/left'"):
            list(bag.clouds("/left"))
        with pytest.raises(BagError, match=r"no topics \['/left'\]; its topics are /front, /rear"):
            list(bag.raw(["/front", "/left"]))


def test_a_bag_without_clouds_is_refused_and_its_topics_are_listed(tmp_path):
    path = write_transforms(tmp_path / "bag", odometry=[("/odom", 1, 0, "odom", "lidar")])

    with BagReader(path) as bag:
        assert bag.odometry_topics() == {"/odom": 1}
        with pytest.raises(
            BagError, match=r"its topics are /odom \(nav_msgs/msg/Odometry\); clouds"
        ):
            bag.choose_cloud_topic(None)


def test_a_bag_without_messages_can_be_read(tmp_path):
    with BagWriter(tmp_path / "bag"):
        pass

    with BagReader(tmp_path / "bag") as bag:
        assert bag.cloud_topics() == {}
        assert bag.poses("lidar") == []
        with pytest.raises(BagError, match="its topics are none"):
            bag.choose_cloud_topic(None)


def test_raw_messages_of_several_topics_are_in_time_order_and_can_be_written(tmp_path):
    with BagWriter(tmp_path / "first") as bag:
        for seconds, topic in ((3, "/b"), (1, "/a"), (2, "/b"), (4, "/a"), (5, "/c")):
            frame = frame_of(seconds * SECOND)
            bag.write_cloud(topic, encode_frame(frame), frame.stamp, "lidar")

    with BagReader(tmp_path / "first") as bag, BagWriter(tmp_path / "second", "sqlite3") as copy:
        messages = list(bag.raw(["/a", "/b"]))
        for message in messages:
            copy.write_raw(*message)

    order = [(topic, time // SECOND) for topic, _, time, _ in messages]
    assert order == [("/a", 1), ("/b", 2), ("/b", 3), ("/a", 4)]
    with BagReader(tmp_path / "second") as bag:
        assert list(bag.raw(["/b", "/a"])) == messages
        assert bag.cloud_topics() == {"/a": 2, "/b": 2}
        assert [decode(m).stamp for _, m in bag.clouds("/a")] == [1 * SECOND, 4 * SECOND]


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("absent", "no bag at .*absent: no such file"),
        ("notes.txt", "notes.txt is not a bag; bags are folders or end in .bag, .mcap, .db3"),
        ("empty", "empty must contain one bag, but contains none"),
        ("two", "two must contain one bag, but contains a.mcap, b.bag"),
        ("garbage.mcap", "cannot read bag .*garbage.mcap: .* is neither MCAP, sqlite3 nor"),
        ("garbage.db3", "cannot read bag .*garbage.db3: .*not a database"),
        ("garbage.bag", "cannot read bag .*garbage.bag: "),
        (
            "pointer.mcap",
            "cannot read bag .*pointer.mcap is a Git LFS pointer .* 'git lfs",
        ),
        ("nothing.mcap", "cannot read bag .*nothing.mcap: .*empty"),
        ("cut.mcap", "cannot read bag .*cut.mcap: no message is left; .* without a footer"),
        ("metadata", "cannot read bag .*metadata: it has no files of a bag"),
        ("lost", "cannot read bag .*lost: .*: lost.mcap of its metadata.yaml are missing"),
    ],
)
def test_a_path_without_a_readable_bag_is_refused(tmp_path, name, complaint):
    (tmp_path / "notes.txt").write_text("not a bag")
    (tmp_path / "pointer.mcap").write_text("version https://git-lfs.github.com/spec/v1\n")
    (tmp_path / "empty").mkdir()
    (tmp_path / "two").mkdir()
    for file in ("two/a.mcap", "two/b.bag", "nothing.mcap"):
        (tmp_path / file).touch()
    for suffix in ("mcap", "db3", "bag"):
        (tmp_path / f"garbage.{suffix}").write_bytes(bytes(range(256)) * 20)
    write_clouds(tmp_path / "lost")
    whole = (tmp_path / "lost" / "lost.mcap").read_bytes()
    (tmp_path / "lost" / "lost.mcap").unlink()
    (tmp_path / "cut.mcap").write_bytes(whole[:100])
    (tmp_path / "metadata").mkdir()
    (tmp_path / "metadata" / "metadata.yaml").write_text(
        "rosbag2_bagfile_information: {version: 5}"
    )

    with pytest.raises(BagError, match=complaint), BagReader(tmp_path / name):
        pass


def test_a_bag_is_not_overwritten(tmp_path):
    with pytest.raises(BagError, match="already exists"):
        BagWriter(tmp_path)


def test_an_unknown_storage_is_refused(tmp_path):
    with pytest.raises(BagError, match="unknown storage 'db'; choose one of mcap, sqlite3"):
        BagWriter(tmp_path / "bag", "db")


def test_an_unknown_message_type_is_refused(tmp_path):
    with BagWriter(tmp_path / "bag") as bag, pytest.raises(BagError, match="'acme/msg/Anvil'"):
        bag.write_raw("/anvil", "acme/msg/Anvil", 0, b"")


def test_messages_written_before_an_exception_can_be_read(tmp_path):
    frame = frame_of(SECOND)

    def write_and_fail():
        with BagWriter(tmp_path / "bag") as bag:
            bag.write_cloud("/points", encode_frame(frame), frame.stamp, "lidar")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_and_fail()

    with BagReader(tmp_path / "bag") as bag:
        assert bag.cloud_topics() == {"/points": 1}


def offered_qos(path):
    """Return the QoS profiles of each topic in a bag's metadata."""
    information = yaml.safe_load((path / "metadata.yaml").read_text())
    return {
        topic["topic_metadata"]["name"]: topic["topic_metadata"]["offered_qos_profiles"]
        for topic in information["rosbag2_bagfile_information"]["topics_with_message_count"]
    }


def test_static_transforms_are_transient_local(tmp_path):
    static = [("base", "lidar", 0, (0, 0, 1), NO_TURN)]
    moving = [("odom", "base", 1, (0, 0, 0), NO_TURN)]
    path = write_transforms(tmp_path / "bag", moving=moving, static=static)

    profiles = offered_qos(path)
    assert profiles["/tf"] == ""
    assert yaml.safe_load(profiles["/tf_static"])[0]["durability"] == 1  # transient local


def test_a_latched_cloud_is_transient_local(tmp_path):
    frame = Frame(np.zeros((5, 3), np.float32), 1)
    with BagWriter(tmp_path / "bag") as bag:
        bag.write_cloud("/points", encode_frame(frame), 1, "lidar")
        bag.write_cloud("/map", encode_frame(frame), 1, "odom", latched=True)

    profiles = offered_qos(tmp_path / "bag")
    assert profiles["/points"] == ""
    assert yaml.safe_load(profiles["/map"])[0]["durability"] == 1


def test_odometry_is_read_as_it_was_written(tmp_path):
    pose = np.array([[0, -1, 0, 3], [1, 0, 0, 4], [0, 0, 1, 5], [0, 0, 0, 1]], dtype=np.float64)
    with BagWriter(tmp_path / "bag") as bag:
        bag.write_odometry("/odom", 7 * SECOND + 5, pose, "odom", "lidar")

    ((stamp, again),) = poses_of(tmp_path / "bag", "lidar")

    assert stamp == 7 * SECOND + 5
    np.testing.assert_allclose(again, pose, atol=1e-12)


def test_odometry_of_another_frame_is_transformed_to_the_sensor(tmp_path):
    # The sensor is 2 m ahead of the vehicle's centre and rotated to the left by 90 degrees.
    path = write_transforms(
        tmp_path / "bag",
        odometry=[("/odom", 1, 10, "odom", "base")],
        static=[
            ("base", "mast", 0, (2, 0, 0), NO_TURN),
            ("mast", "lidar", 0, (0, 0, 1), QUARTER_TURN),
        ],
    )

    ((_, pose),) = poses_of(path, "lidar")

    expected = [[0, -1, 0, 12], [1, 0, 0, 0], [0, 0, 1, 1], [0, 0, 0, 1]]
    np.testing.assert_allclose(pose, expected, atol=1e-12)


def test_odometry_is_sorted_by_stamp_not_by_receive_time(tmp_path):
    odometry = [("/odom", seconds, seconds, "odom", "lidar") for seconds in (1, 2, 3)]
    path = write_transforms(tmp_path / "bag", odometry=odometry)
    with BagReader(path) as bag, BagWriter(tmp_path / "late") as late:
        for topic, message_type, time, cdr in bag.raw(["/odom"]):
            late.write_raw(topic, message_type, 10 * SECOND - time, cdr)

    assert along_x(poses_of(tmp_path / "late", "lidar")) == [(1, 1), (2, 2), (3, 3)]


def test_odometry_of_an_unconnected_frame_is_used_for_the_sensor(tmp_path):
    path = write_transforms(tmp_path / "bag", odometry=[("/odom", 1, 10, "odom", "base")])

    assert along_x(poses_of(path, "lidar")) == [(1, 10)]


def test_one_of_several_odometry_topics_must_be_named_unless_there_are_transforms(tmp_path):
    odometry = [("/wheels", 1, 1, "odom", "lidar"), ("/visual", 1, 2, "odom", "lidar")]
    moving = [("odom", "lidar", 1, (3, 0, 0), NO_TURN)]
    without = write_transforms(tmp_path / "without", odometry=odometry)
    beside = write_transforms(tmp_path / "beside", moving=moving, odometry=odometry)

    listed = r"choose one of /visual \(1 messages\), /wheels \(1 messages\)"
    with pytest.raises(BagError, match=f"several odometry topics, {listed}"):
        poses_of(without, "lidar")
    with pytest.raises(BagError, match=f"no odometry topic '/gps'; {listed}"):
        poses_of(without, "lidar", topic="/gps")
    assert along_x(poses_of(beside, "lidar", topic="/visual")) == [(1, 2)]
    assert along_x(poses_of(beside, "lidar")) == [(1, 3)]


def test_odometry_in_another_frame_than_the_fixed_one_is_ignored(tmp_path):
    path = write_transforms(
        tmp_path / "bag",
        moving=[("odom", "lidar", 1, (3, 0, 0), NO_TURN)],
        odometry=[("/slam", 1, 2, "map", "lidar")],
    )

    assert along_x(poses_of(path, "lidar", fixed_frame="odom")) == [(1, 3)]
    assert along_x(poses_of(path, "lidar", fixed_frame="map")) == [(1, 2)]
    assert poses_of(path, "lidar", fixed_frame="odom", topic="/slam") == []


def test_transforms_are_chained_from_the_fixed_frame_to_the_sensor(tmp_path):
    # The vehicle is at (10, 0, 0) and looks left; its sensor is 1 m ahead of its centre.
    path = write_transforms(
        tmp_path / "bag",
        moving=[("/odom", "/base", 5, (10, 0, 0), QUARTER_TURN)],
        static=[("base", "lidar", 0, (1, 0, 0), NO_TURN)],
    )

    ((stamp, pose),) = poses_of(path, "lidar", fixed_frame="odom")

    assert stamp == 5 * SECOND
    expected = [[0, -1, 0, 10], [1, 0, 0, 1], [0, 0, 1, 0], [0, 0, 0, 1]]
    np.testing.assert_allclose(pose, expected, atol=1e-12)


def test_moving_transforms_of_different_times_are_interpolated(tmp_path):
    base = [("odom", "base", t, (t, 0, 0), NO_TURN) for t in (0, 2, 4)]
    lift = [("base", "lidar", t, (100 * t, 0, 0), NO_TURN) for t in (1, 2, 3, 9)]
    path = write_transforms(tmp_path / "bag", moving=[*base, *lift])

    # Outside 1 to 4 s one of the two is unknown.
    assert along_x(poses_of(path, "lidar")) == [(1, 101), (2, 202), (3, 303), (4, 404)]


def test_the_fixed_frame_is_odom_or_else_the_root(tmp_path):
    moving = [
        ("map", "odom", 1, (1000, 0, 0), NO_TURN),
        ("odom", "base", 1, (1, 0, 0), NO_TURN),
        ("world", "drone", 1, (7, 0, 0), NO_TURN),
    ]
    path = write_transforms(tmp_path / "bag", moving=moving)

    assert along_x(poses_of(path, "base")) == [(1, 1)]
    assert along_x(poses_of(path, "base", fixed_frame="map")) == [(1, 1001)]
    assert along_x(poses_of(path, "odom", fixed_frame="base")) == [(1, -1)]
    assert along_x(poses_of(path, "drone")) == [(1, 7)]
    assert poses_of(path, "unheard-of") == []
    complaint = r"connect 'base' to 'world'; the frames above 'base' are \['odom', 'map'\]"
    with pytest.raises(BagError, match=complaint):
        poses_of(path, "base", fixed_frame="world")


def test_frames_of_two_branches_are_connected(tmp_path):
    # Children of the vehicle: the sensor at its front and the roof, both rotated to the left.
    path = write_transforms(
        tmp_path / "bag",
        moving=[("base", "lidar", 1, (2, 0, 0), QUARTER_TURN)],
        static=[("base", "roof", 0, (0, 3, 1), QUARTER_TURN)],
    )

    ((_, pose),) = poses_of(path, "lidar", fixed_frame="roof")

    # In the roof's frame the sensor is 2 m to the right, 3 m behind and 1 m below.
    expected = [[1, 0, 0, -3], [0, 1, 0, -2], [0, 0, 1, -1], [0, 0, 0, 1]]
    np.testing.assert_allclose(pose, expected, atol=1e-12)


def test_a_frame_that_changes_its_parent_keeps_the_last_one(tmp_path):
    moving = [
        ("old", "lidar", 1, (1, 0, 0), NO_TURN),
        ("odom", "lidar", 2, (2, 0, 0), NO_TURN),
        ("odom", "lidar", 3, (3, 0, 0), NO_TURN),
    ]
    path = write_transforms(tmp_path / "bag", moving=moving)

    assert along_x(poses_of(path, "lidar")) == [(2, 2), (3, 3)]


def test_a_frame_that_two_nodes_publish_keeps_one_parent_and_all_its_poses(tmp_path):
    moving = [
        (parent, "lidar", second, (second + shift, 0, 0), NO_TURN)
        for second in (1, 2, 3)
        for parent, shift in (("odom", 0), ("map", 10))
    ]
    path = write_transforms(tmp_path / "bag", moving=moving)

    assert along_x(poses_of(path, "lidar")) == [(1, 1), (2, 2), (3, 3)]


def test_static_transforms_alone_give_no_poses(tmp_path):
    path = write_transforms(tmp_path / "bag", static=[("odom", "lidar", 0, (1, 0, 0), NO_TURN)])

    assert poses_of(path, "lidar") == []


def test_static_transforms_are_those_of_the_namespace_with_the_sensor(tmp_path):
    mounts = [("base", "lidar", 1, (1, 0, 2), NO_TURN), ("base", "camera", 2, (0, 1, 1), NO_TURN)]
    messages = [
        bytes(STORE.serialize_cdr(transforms(m), "tf2_msgs/msg/TFMessage")) for m in mounts
    ]
    with BagWriter(tmp_path / "bag") as bag:
        for topic, mount, cdr in zip(
            ("/a/tf_static", "/tf_static"), mounts, messages, strict=True
        ):
            bag.write_raw(topic, "tf2_msgs/msg/TFMessage", mount[2] * SECOND, cdr)
    with BagReader(tmp_path / "bag") as bag:
        assert bag.static_transforms("lidar") == messages[:1]
        assert bag.static_transforms("camera") == messages[1:]
        assert bag.static_transforms("radar") == messages[1:]


@pytest.mark.parametrize(("moving", "static"), [("/a", ""), ("", "/a")])
def test_transforms_of_a_namespace_and_those_of_the_root_are_one_tree(tmp_path, moving, static):
    edges = [(f"{moving}/tf", ("odom", "base", i, (i, 0, 0), NO_TURN)) for i in range(3)]
    edges.append((f"{static}/tf_static", ("base", "lidar", 0, (1, 0, 0), NO_TURN)))
    with BagWriter(tmp_path / "bag") as bag:
        for topic, edge in edges:
            message = STORE.serialize_cdr(transforms(edge), "tf2_msgs/msg/TFMessage")
            bag.write_raw(topic, "tf2_msgs/msg/TFMessage", edge[2] * SECOND, message)
    assert along_x(poses_of(tmp_path / "bag", "lidar")) == [(0, 1), (1, 2), (2, 3)]
    with BagReader(tmp_path / "bag") as bag:
        assert len(bag.static_transforms("lidar")) == 1


def test_a_bag_without_transforms_has_no_static_ones(tmp_path):
    write_transforms(tmp_path / "bag", odometry=[("/odometry", 1, 0, "odom", "lidar")])
    with BagReader(tmp_path / "bag") as bag:
        assert bag.static_transforms("lidar") == []


def test_invalid_transforms_are_ignored(tmp_path):
    path = write_transforms(
        tmp_path / "bag",
        moving=[
            ("odom", "lidar", 1, (1, 0, 0), (0.0, 0.0, 0.0, 0.0)),
            ("odom", "lidar", 2, (float("nan"), 0, 0), NO_TURN),
            ("odom", "lidar", 3, (3, 0, 0), NO_TURN),
        ],
    )

    assert along_x(poses_of(path, "lidar")) == [(3, 3)]


def test_a_cycle_of_transforms_does_not_hang(tmp_path):
    moving = [("a", "b", 1, (1, 0, 0), NO_TURN), ("b", "a", 1, (1, 0, 0), NO_TURN)]
    path = write_transforms(tmp_path / "bag", moving=moving)

    assert len(poses_of(path, "a")) == 1


def test_a_bag_of_ros_1_is_read_and_converted(tmp_path):
    store = get_typestore(Stores.ROS1_NOETIC)
    store.register(
        get_types_from_msg("geometry_msgs/TransformStamped[] transforms", "tf/msg/tfMessage")
    )
    path = tmp_path / "old.bag"
    with Ros1Writer(path) as bag:
        connection = bag.add_connection("/tf", "tf/msg/tfMessage", typestore=store)
        for seconds in (1, 2):
            edge = ("/odom", "/lidar", seconds, (seconds, 0, 0), NO_TURN)
            message = transforms(edge, store=store, kind="tf/msg/tfMessage", header=(seconds,))
            raw = store.serialize_ros1(message, "tf/msg/tfMessage")
            bag.write(connection, seconds * SECOND, raw)

    with BagReader(path) as bag:
        assert along_x(bag.poses("lidar")) == [(1, 1), (2, 2)]
        converted = list(bag.raw(["/tf"]))

    for seconds, (topic, message_type, time, cdr) in enumerate(converted, start=1):
        assert (topic, message_type, time) == ("/tf", "tf2_msgs/msg/TFMessage", seconds * SECOND)
        expected = transforms(("/odom", "/lidar", seconds, (seconds, 0, 0), NO_TURN))
        assert cdr == bytes(STORE.serialize_cdr(expected, message_type))


def test_a_real_bag_of_ros_2_has_its_clouds_and_poses(shared_data):
    with BagReader(shared_data / "ika_bag_mcap") as bag:
        assert bag.choose_cloud_topic(None) == "/points"
        frames = [decode(message, label_field="label") for _, message in bag.clouds("/points")]
        poses = bag.poses("velodyne")

    assert len(frames) == 32
    assert [f.stamp for f in frames] == [stamp for stamp, _ in poses]
    file = shared_data / "ika_vlp32" / "sequences" / "00" / "poses_lidar_gicp.txt"
    expected = np.loadtxt(file).reshape(-1, 3, 4)
    np.testing.assert_allclose([pose[:3] for _, pose in poses], expected, atol=1e-5)


def test_a_real_bag_of_ros_1_is_converted_for_ros_2(shared_data):
    with BagReader(shared_data / "moveit_depthcam_bag") as bag:
        topic = bag.choose_cloud_topic(None)
        ((_, message),) = bag.clouds(topic)
        ((_, message_type, _, cdr),) = bag.raw([topic])
        assert bag.poses("camera_rgb_optical_frame") == []

    converted = STORE.deserialize_cdr(cdr, message_type)
    assert message_type == "sensor_msgs/msg/PointCloud2"
    assert vars(converted.header.stamp) == vars(message.header.stamp)
    assert converted.header.frame_id == "camera_rgb_optical_frame"
    np.testing.assert_array_equal(converted.data, message.data)
    np.testing.assert_array_equal(decode(converted).points, decode(message).points)
