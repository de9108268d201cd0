# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import json
from pathlib import Path

import numpy as np
import pytest
from fake_segmenters import KITTI, HeightSegmenter
from rosbags.typesys import Stores, get_typestore
from scipy.spatial.transform import Rotation

from minkowski_perception.codec import decode, encode_frame
from minkowski_perception.frame import Frame
from minkowski_perception.labelling.context import RecordedContext
from minkowski_perception.labelling.exports.cloud_files import NpzFiles
from minkowski_perception.labelling.labelled_bag import LabelledBag
from minkowski_perception.labelling.run import Selection, label_bag
from minkowski_perception.labelling.topics import (
    CLASSES_TOPIC,
    LABELLED_TOPIC,
    LEGEND_TOPIC,
    MAP_TOPIC,
    ODOMETRY_TOPIC,
)
from minkowski_perception.motion.ego_motion import EgoMotion
from minkowski_perception.motion.registration import Registration
from minkowski_perception.motion.transforms import message_pose
from minkowski_perception.recordings.bags import BagReader, BagWriter
from minkowski_perception.recordings.motion import choose_ego_motion
from minkowski_perception.recordings.scan_files import FrameReader
from minkowski_perception.stream import Stream

SECOND = 10**9
START = 1_700_000_000 * SECOND
LATE = 3 * SECOND
"""From the stamp of a cloud to its reception."""


def pose(x):
    matrix = np.eye(4)
    matrix[0, 3] = x
    return matrix


def frames(number=40):
    points = np.random.default_rng(0).normal(size=(300, 3)).astype(np.float32)
    return [
        Frame(points, START + i * SECOND // 10, "lidar", pose=pose(0.1 * i)) for i in range(number)
    ]


@pytest.fixture
def recording(tmp_path):
    """Clouds that arrive late, with transforms and odometry around them."""
    path = tmp_path / "recording"
    with BagWriter(tmp_path / "early") as early:
        for stamp in range(-50, 90):
            when = START + stamp * SECOND // 10
            early.write_transform(when, pose(0.1 * stamp), "odom", "base_link")
            early.write_odometry("/odometry", when, pose(0.1 * stamp), "odom", "base_link")
        early.write_transform(START, pose(1.0), "base_link", "lidar")
        for frame in frames():
            early.write_cloud("/points", encode_frame(frame), frame.stamp, "lidar")
    with BagReader(tmp_path / "early") as early, BagWriter(path) as late:
        for topic, kind, time, cdr in early.raw(["/tf", "/odometry", "/points"]):
            static = topic == "/tf" and b"lidar" in cdr
            late.write_raw("/tf_static" if static else topic, kind, time + LATE, cdr)
    return path


def label(recording, out, motion=None, selection=None, others=()):
    reader = BagReader(recording) if not isinstance(recording, FrameReader) else recording
    with reader as bag:
        topic = bag.choose_cloud_topic()
        motion = motion or choose_ego_motion(bag, topic)
        context = RecordedContext(bag, pytest.fail)
        stream = Stream(HeightSegmenter(), motion)
        with LabelledBag(out, KITTI, motion, context) as output:
            summary = label_bag(bag, topic, stream, [output, *others], KITTI, selection)
            output.finish(None, summary)
    return messages_of(out)


def messages_of(path):
    """Return times and messages by topic, and the topics in the order of the times."""
    store = get_typestore(Stores.LATEST)
    found = {}
    with BagReader(path) as bag:
        topics = [channel.topic for _, channel in bag._channels()]
        for topic, kind, time, cdr in bag.raw(topics):
            found.setdefault(topic, []).append((time, store.deserialize_cdr(cdr, kind)))
    return found


def test_the_bag_carries_transforms_and_odometry_around_its_clouds(recording, tmp_path):
    found = label(recording, tmp_path / "out", selection=Selection(start=1.0, frames=11))

    assert set(found) == {LABELLED_TOPIC, LEGEND_TOPIC, CLASSES_TOPIC} | {
        "/tf",
        "/tf_static",
        "/odometry",
    }
    clouds = [time for time, _ in found[LABELLED_TOPIC]]
    assert clouds == [START + i * SECOND // 10 for i in range(10, 21)]
    for topic in ("/tf", "/odometry"):
        times = [time for time, _ in found[topic]]
        # From a second before to a second after, at the same distance from the clouds.
        assert times == [START + i * SECOND // 10 for i in range(0, 31)]
    stamps = [message.transforms[0].header.stamp for _, message in found["/tf"]]
    assert [s.sec * SECOND + s.nanosec for s in stamps] == times
    [(when, static)] = found["/tf_static"]
    assert (when, static.transforms[0].child_frame_id) == (clouds[0], "lidar")
    # The labelled bag is a recording of the same motion.
    with BagReader(tmp_path / "out") as bag:
        poses = dict(bag.poses("lidar"))
    assert poses[clouds[5]][0, 3] == pytest.approx(1.0 + 1.5)


def test_the_bag_carries_its_classes_and_their_legend(recording, tmp_path):
    found = label(recording, tmp_path / "out", selection=Selection(frames=1))

    [(_, classes)] = found[CLASSES_TOPIC]
    classes = json.loads(classes.data)
    assert classes[:-1] == [
        {"id": i, "name": name, "colour": list(colour)}
        for i, (name, colour) in enumerate(zip(KITTI.names, KITTI.colours, strict=True))
    ]
    assert (classes[-1]["id"], classes[-1]["name"]) == (255, "unlabelled")
    [(_, legend)] = found[LEGEND_TOPIC]
    assert [marker.text for marker in legend.markers] == list(KITTI.names)
    car = legend.markers[0]
    assert (car.type, car.header.frame_id, car.frame_locked) == (9, "lidar", True)
    assert (car.color.r, car.color.g) == pytest.approx((100 / 255, 150 / 255))


def test_poses_that_the_recording_lacks_are_written(tmp_path):
    scans = FrameReader(tmp_path, {"scans": frames(3)})
    found = label(scans, tmp_path / "out")
    assert [m.pose.pose.position.x for _, m in found[ODOMETRY_TOPIC]] == pytest.approx(
        [0, 0.1, 0.2]
    )
    moved = [m.transforms[0] for _, m in found["/tf"]]
    assert [(t.header.frame_id, t.child_frame_id) for t in moved] == [("odom", "lidar")] * 3


def test_registered_poses_do_not_mix_with_recorded_transforms(recording, tmp_path):
    pytest.importorskip("kiss_icp", reason="needs kiss-icp: pip install kiss-icp")
    selection = Selection(frames=3)
    found = label(recording, tmp_path / "out", Registration(), selection)
    assert {m.header.frame_id for _, m in found[ODOMETRY_TOPIC]} == {"odom_lidar"}
    parents = {t.header.frame_id for _, m in found["/tf"] for t in m.transforms}
    assert parents == {"odom"}


TILT = Rotation.from_euler("y", -15, degrees=True).as_matrix()
"""Turns a street into the frame of a sensor that is mounted with a tilt."""


class Driving(EgoMotion):
    """Drives a metre along the street from cloud to cloud, and does not know the tilt."""

    def locate(self, frame):
        matrix = np.eye(4)
        matrix[:3, 3] = TILT @ [(frame.stamp - START) / (SECOND // 10), 0.0, 0.0]
        return matrix


def tilted_frames(number):
    draw = np.random.default_rng(0)
    for i in range(number):
        street = np.column_stack([draw.uniform(-25, 25, (3000, 2)), np.full(3000, -1.7)])
        points = (street @ TILT.T).astype(np.float32)
        yield Frame(points, START + i * SECOND // 10, "lidar")


def test_poses_place_the_points_of_a_tilted_sensor_on_level_ground(tmp_path):
    tilted = list(tilted_frames(8))
    scans = FrameReader(tmp_path, {"scans": tilted})
    arrays = NpzFiles(tmp_path, KITTI)
    found = label(scans, tmp_path / "out", Driving(), others=[arrays])

    for i, (_, message), (_, cloud) in zip(
        range(4, 8), found[ODOMETRY_TOPIC][4:], found[LABELLED_TOPIC][4:], strict=True
    ):
        assert (message.header.frame_id, message.child_frame_id) == ("odom_lidar", "lidar")
        pose = message_pose(message.pose.pose.position, message.pose.pose.orientation)
        heights = decode(cloud).points @ pose[2, :3] + pose[2, 3]
        np.testing.assert_allclose(heights, -1.7, atol=0.1)
        np.testing.assert_allclose(pose[:3, 3], [i, 0.0, 0.0], atol=0.1)
        exported = np.load(tmp_path / "npz" / f"{i:06d}.npz")
        np.testing.assert_array_equal(exported["points"], tilted[i].points)
        np.testing.assert_allclose(exported["pose"], pose, atol=1e-9)
    last = found["/tf"][-1][1].transforms[0].transform
    np.testing.assert_allclose(message_pose(last.translation, last.rotation), pose)


def test_the_layout_for_foxglove_shows_the_topics_of_the_bag():
    layout = json.loads((Path(__file__).parents[2] / "config/foxglove_layout.json").read_text())
    panels = layout["configById"]
    shown = panels[layout["layout"]["first"]]["topics"]
    assert set(shown) == {LABELLED_TOPIC, MAP_TOPIC, LEGEND_TOPIC}
    assert shown[LABELLED_TOPIC]["colorField"] == "rgb"
    assert panels[layout["layout"]["second"]]["topicPath"] == f"{CLASSES_TOPIC}.data"
