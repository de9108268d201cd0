# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from minkowski_perception.accounting import DropReason
from minkowski_perception.axes import SensorAxes
from minkowski_perception.codec import IntensityScale, as_message, decode, encode_frame
from minkowski_perception.frame import Frame
from minkowski_perception.labels import LabelSet
from minkowski_perception.motion.ego_motion import (
    EgoMotion,
    InterruptedWaitError,
    NoPoseError,
    StandingStill,
)
from minkowski_perception.segmenter import Segmentation
from minkowski_perception.stream import Dropped, Stream
from minkowski_perception.streaming.continuity import Continuity
from minkowski_perception.streaming.map import LabelledMap
from minkowski_perception.voxels import MissingFieldError

START = 1_700_000_000_000_000_000
STEP = 10**8


def cloud(index, points=4, stamp=None, **changes):
    """PointCloud2 of some points, as rclpy or rosbags would give it."""
    frame = Frame(np.full((points, 3), index + 1.0, np.float32))
    data = replace(encode_frame(frame), **changes)
    return as_message(data, START + index * STEP if stamp is None else stamp, "lidar")


class Segmenter:
    """Labels every point with class 3, and keeps the frames.

    It fails on a cloud of one point, and lacks a field of a cloud of two.
    """

    label_set = LabelSet.load("semantickitti19")
    model = SimpleNamespace(name="threes", domain=None)
    intensity_scale = IntensityScale()
    axes = SensorAxes()

    def __init__(self):
        self.frames = []
        self._continuity = Continuity()

    def oriented(self, frame):
        return frame

    def continues(self, frame):
        return self._continuity.continues(frame)

    def segment(self, frame):
        if len(frame) == 1:
            raise RuntimeError("the engine failed")
        if len(frame) == 2 and frame.labels is None:
            raise MissingFieldError("the cloud has no rgb field")
        self._continuity.admit(frame)
        self.frames.append(frame)
        labels = np.full(len(frame), 3, np.uint8)
        confidence = np.full(len(frame), 0.5, np.float32)
        return Segmentation(labels, confidence, self.label_set, {"network": 0.1}, 1, 1)


class Motion(EgoMotion):
    """Moves by a metre a frame; counts resets.

    It knows no pose of the frame with index 2, and is interrupted at that with index 4.
    """

    def __init__(self):
        super().__init__()
        self.resets = self.closed = 0

    def locate(self, frame):
        if frame.stamp == START + 2 * STEP:
            raise NoPoseError("no pose at this stamp")
        if frame.stamp == START + 4 * STEP:
            raise InterruptedWaitError("the node stopped")
        pose = np.eye(4)
        pose[0, 3] = (frame.stamp - START) / STEP
        return pose

    def reset(self):
        self.resets += 1

    def close(self):
        self.closed += 1


def received(stream, message, **options):
    stream.accounting.received()
    return stream.label(message, **options)


def test_a_cloud_comes_out_with_its_pose_labels_and_appended_fields():
    stream = Stream(Segmenter(), Motion())
    labelled = received(stream, cloud(1))

    assert labelled.frame.pose[0, 3] == 1.0
    assert labelled.result.labels.tolist() == [3] * 4
    names = [field.name for field in labelled.cloud.fields]
    assert names == ["x", "y", "z", "label", "confidence", "rgb"]
    assert list(labelled.timings) == ["decode", "pose", "network", "encode"]
    out = as_message(labelled.cloud, START + STEP, "lidar")
    assert decode(out, label_field="label").labels.tolist() == [3] * 4


def test_the_motion_is_reset_when_the_stream_starts_anew_and_only_then():
    motion = Motion()
    stream = Stream(Segmenter(), motion)
    for index in (0, 1, 3):
        received(stream, cloud(index))
    assert motion.resets == 1  # the first cloud
    received(stream, cloud(100))  # after a gap
    assert motion.resets == 2


@pytest.mark.parametrize(
    ("message", "reason", "cause"),
    [
        (cloud(1, point_step=1), DropReason.MALFORMED, "does not fit in point_step 1"),
        (SimpleNamespace(), DropReason.MALFORMED, "no attribute"),
        (cloud(0), DropReason.OUT_OF_ORDER, "is not later than"),
        (cloud(2), DropReason.NO_POSE, "no pose at this stamp"),
        (cloud(4), DropReason.SHUTDOWN, "the node stopped"),
        (cloud(1, points=2), DropReason.UNSUITABLE, "no rgb field"),
        (cloud(1, points=1), DropReason.INFERENCE_FAILED, "the engine failed"),
    ],
)
def test_a_cloud_that_cannot_be_labelled_is_one_counted_drop_and_the_stream_goes_on(
    message, reason, cause
):
    segmenter = Segmenter()
    stream = Stream(segmenter, Motion())
    received(stream, cloud(0))
    with pytest.raises(Dropped, match=cause) as drop:
        received(stream, message)
    assert drop.value.reason is reason
    assert stream.accounting.snapshot().dropped == {reason: 1}
    received(stream, cloud(3))
    assert len(segmenter.frames) == 2
    assert stream.accounting.snapshot().pending == 2  # the caller counts them as labelled


def test_clouds_that_are_skipped_keep_the_stream_together():
    segmenter = Segmenter()
    segmenter.skip = segmenter._continuity.skip
    motion = Motion()
    stream = Stream(segmenter, motion)
    received(stream, cloud(0))
    for index in range(5, 20, 5):
        stream.skip(START + index * STEP, "lidar")
    received(stream, cloud(20))
    assert motion.resets == 1  # the first cloud


def test_a_stamp_of_zero_is_replaced_by_the_time_of_reception():
    segmenter = Segmenter()
    received(Stream(segmenter, StandingStill()), cloud(0, stamp=0), received_at=7)
    assert segmenter.frames[0].stamp == 7


def test_true_labels_are_read_where_a_cloud_has_them():
    segmenter = Segmenter()
    stream = Stream(segmenter, StandingStill(), truth_field="truth")
    moving = np.array([False, True])
    frame = Frame(np.ones((2, 3), np.float32), labels=np.array([4, 5], np.uint8), moving=moving)
    with_truth = SimpleNamespace(header=cloud(0).header, **vars(encode_frame(frame, "truth")))
    found = received(stream, with_truth).frame
    assert (found.labels.tolist(), found.moving.tolist()) == ([4, 5], [False, True])
    assert received(stream, cloud(1)).frame.labels is None


def test_a_stream_has_its_turn_while_it_computes_and_not_while_it_waits_for_a_pose():
    events = []

    @contextmanager
    def turn():
        events.append("turn begins")
        yield
        events.append("turn ends")

    segmenter, motion = Segmenter(), Motion()
    located, segmented = motion.locate, segmenter.segment
    motion.locate = lambda frame: events.append("pose") or located(frame)
    segmenter.segment = lambda frame: events.append("labels") or segmented(frame)
    received(Stream(segmenter, motion, turn=turn), cloud(0))
    assert events == ["pose", "turn begins", "labels", "turn ends"]


def test_closing_a_stream_closes_its_source_of_motion():
    motion = Motion()
    Stream(Segmenter(), motion).close()
    assert motion.closed == 1


def test_the_map_comes_in_the_frame_of_the_source_of_motion():
    segmenter = Segmenter()
    segmenter.labelled_map = lambda: None
    stream = Stream(segmenter, Motion())
    assert stream.map() is None
    found = LabelledMap(
        np.ones((2, 3)),
        np.array([3, 0], np.uint8),
        np.array([0.5, 0.25], np.float32),
        np.array([np.nan, 0.0], np.float32),
        np.array([0.0, 1.5], np.float32),
        START,
        segmenter.label_set,
    )
    segmenter.labelled_map = lambda: found
    stream.ego_motion.fixed_frame = "wheels"
    result = stream.map()
    assert (result.voxels, result.frame_id) == (found, "wheels")
    names = [field.name for field in result.cloud.fields]
    assert names == ["x", "y", "z", "label", "confidence", "moving", "age", "rgb"]
    message = as_message(result.cloud, START, "lidar")
    assert decode(message, label_field="label").labels.tolist() == [3, 0]
    assert np.array_equal(decode(message, label_field="label").points, found.points)


class Watched(Segmenter):
    """Counts resets, and keeps no memory."""

    def __init__(self):
        super().__init__()
        self.resets = 0

    def reset(self):
        self.resets += 1


def tilted_street(index):
    """The cloud of a sensor that is tilted by 20 degrees, above flat ground."""
    rng = np.random.default_rng(index)
    street = np.column_stack([rng.uniform(-25, 25, (3000, 2)), np.full(3000, -1.7)])
    turn = Rotation.from_euler("x", 20, degrees=True).as_matrix()
    data = encode_frame(Frame((street @ turn.T).astype(np.float32)))
    return as_message(data, START + index * STEP, "lidar")


@pytest.mark.parametrize(
    ("knows_up", "level", "turned"),
    [(False, True, True), (True, True, False), (False, False, False)],
)
def test_clouds_are_turned_upright_where_the_mount_is_unknown(knows_up, level, turned):
    segmenter, motion = Watched(), StandingStill()
    if knows_up:
        motion = StandingStill(lambda frame_id: np.eye(4))
    stream = Stream(segmenter, motion, level=level)
    for index in range(6):
        received(stream, tilted_street(index))
    spread = [np.ptp(frame.points[:, 2]) for frame in segmenter.frames]
    assert [heights < 0.5 for heights in spread] == [False] * 4 + [turned] * 2
    assert segmenter.resets == turned  # before the first turned cloud
    labelled = received(stream, tilted_street(6))
    message = as_message(labelled.cloud, START + 6 * STEP, "lidar")
    assert np.array_equal(labelled.received.points, decode(tilted_street(6)).points)
    assert (labelled.frame is labelled.received) == (not turned)
    tilt = np.degrees(np.arccos(labelled.up[2]))
    assert tilt == pytest.approx(20.0 if turned else 0.0, abs=0.5)
    assert np.ptp(decode(message).points[:, 2]) > 5.0  # the cloud itself stays as it came


@pytest.mark.parametrize("source", [StandingStill, lambda mounts: EgoMotion("none", mounts)])
def test_a_known_mount_says_which_way_is_up(source):
    mount = np.diag([1.0, -1.0, -1.0, 1.0])
    stream = Stream(Segmenter(), source({"lidar": mount}.get))
    assert received(stream, cloud(0)).up.tolist() == [0.0, 0.0, -1.0]


def test_the_map_of_turned_clouds_is_not_in_the_frame_of_the_sensor():
    segmenter = Watched()
    segmenter.labelled_map = lambda: SimpleNamespace(fields=lambda: {"x": np.zeros(1)})
    stream = Stream(segmenter, StandingStill())
    received(stream, tilted_street(0))
    assert stream.map().frame_id == "lidar"
    for index in range(1, 5):
        received(stream, tilted_street(index))
    assert stream.map().frame_id == EgoMotion.fixed_frame
