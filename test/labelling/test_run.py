# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from fake_segmenters import CAR, KITTI, ROAD, HeightSegmenter, MovingSegmenter

from minkowski_perception.accounting import DropReason
from minkowski_perception.codec import decode, encode_frame, field_values
from minkowski_perception.frame import Frame
from minkowski_perception.labelling.context import RecordedContext
from minkowski_perception.labelling.labelled_bag import LabelledBag
from minkowski_perception.labelling.output import Output
from minkowski_perception.labelling.run import Selection, UnsuitableModelError, label_bag
from minkowski_perception.labelling.topics import LABELLED_TOPIC
from minkowski_perception.labelling.watch import PrintingWatch, Stopped, Watch
from minkowski_perception.motion.poses import pose_matrix
from minkowski_perception.motion.registration import Registration
from minkowski_perception.recordings.bags import BagReader, BagWriter
from minkowski_perception.recordings.motion import choose_ego_motion
from minkowski_perception.recordings.scan_files import FrameReader
from minkowski_perception.stream import Stream
from minkowski_perception.summary import Summary
from minkowski_perception.voxels import MissingFieldError

START = 1_700_000_000_000_000_000
STEP = 100_000_000  # ns


def frame_at(number: float, points: int = 50) -> Frame:
    draw = np.random.default_rng(int(number * 10))
    frame = Frame(draw.normal(size=(points, 3)).astype(np.float32), START + int(number * STEP))
    return replace(frame, labels=np.where(frame.points[:, 0] > 0, CAR, ROAD).astype(np.uint8))


@pytest.fixture
def make_bag(tmp_path) -> Callable[..., Path]:
    def make(frames, poses=(), label_field="true_label", spoil=()) -> Path:
        path = tmp_path / "bag"
        with BagWriter(path) as writer:
            for number in poses:
                pose = pose_matrix((number, 0, 0), (0, 0, np.sin(0.1 * number), 1))
                stamp = START + int(number * STEP)
                writer.write_odometry("/odometry", stamp, pose, "odom", "lidar")
            for i, frame in enumerate(frames):
                cloud = encode_frame(frame, label_field)
                if i in spoil:
                    cloud = replace(cloud, point_step=1)
                writer.write_cloud("/points", cloud, frame.stamp, "lidar")
        return path

    return make


def label(bag: Path, out: Path, segmenter=None, ego_motion="auto") -> Summary:
    with BagReader(bag) as reader:
        motion = choose_ego_motion(reader, "/points", ego_motion)
        stream = Stream(segmenter or HeightSegmenter(), motion, truth_field="true_label")
        context = RecordedContext(reader, print)
        with LabelledBag(out, KITTI, motion, context) as output:
            return label_bag(reader, "/points", stream, [output], KITTI, watch=PrintingWatch())


def test_every_point_comes_out_in_input_order_with_its_label(make_bag, tmp_path):
    frames = [frame_at(i) for i in range(3)]
    summary = label(make_bag(frames), tmp_path / "out")

    assert (summary.received, summary.labelled, summary.pending) == (3, 3, 0)
    with BagReader(tmp_path / "out") as bag:
        messages = [message for _, message in bag.clouds(LABELLED_TOPIC)]
    for frame, message in zip(frames, messages, strict=True):
        assert message.header.frame_id == "lidar"
        labelled = decode(message, label_field="label")
        assert labelled.stamp == frame.stamp
        np.testing.assert_array_equal(labelled.points, frame.points)
        expected = np.where(frame.points[:, 2] > 0, CAR, ROAD)
        np.testing.assert_array_equal(labelled.labels, expected)
        np.testing.assert_array_equal(labelled.colour, np.array(KITTI.colours)[expected])
        np.testing.assert_array_equal(
            decode(message, label_field="true_label").labels, frame.labels
        )


def test_points_in_millimetres_are_reported_once(make_bag, tmp_path, capsys):
    frames = [frame_at(number) for number in range(3)]
    label(
        make_bag([replace(frame, points=frame.points * 1e4) for frame in frames]), tmp_path / "out"
    )
    assert capsys.readouterr().err.count("seem to be millimetres") == 1


def test_labels_are_scored_where_the_clouds_carry_true_ones(make_bag, tmp_path):
    frames = [frame_at(i) for i in range(3)]
    summary = label(make_bag(frames), tmp_path / "out")

    points = np.concatenate([frame.points for frame in frames])
    right = (points[:, 2] > 0) == (points[:, 0] > 0)
    assert summary.accuracy == pytest.approx(right.mean())
    assert set(summary.iou) == {"car", "road"}


def test_clouds_without_true_labels_are_not_scored(make_bag, tmp_path):
    summary = label(make_bag([frame_at(0)], label_field=None), tmp_path / "out")

    assert summary.labelled == 1
    assert summary.miou is None


def test_clouds_that_cannot_be_labelled_are_counted_by_reason(make_bag, tmp_path, capsys):
    frames = [frame_at(0), frame_at(1), frame_at(2), frame_at(2), frame_at(3, 0), frame_at(9)]
    summary = label(make_bag(frames, poses=(-1, 5), spoil={1}), tmp_path / "out")

    assert (summary.received, summary.labelled) == (6, 2)
    assert summary.dropped == {
        "malformed": 1,
        "out_of_order": 1,
        "inference_failed": 1,
        "no_pose": 1,
    }
    assert summary.pending == 0
    printed = capsys.readouterr().err
    assert len(printed.splitlines()) == 4
    assert "does not fit in point_step 1" in printed
    assert "inference_failed: RuntimeError('nothing to see')" in printed


def test_an_output_takes_each_cloud_or_why_it_has_no_labels(make_bag):
    class Taken(Output):
        events: ClassVar = []

        def add(self, labelled, received_at):
            self.events.append(labelled.frame.stamp)

        def drop(self, dropped):
            self.events.append(dropped.reason)

    bag = make_bag([frame_at(0), frame_at(1), frame_at(2)], spoil={1})
    with BagReader(bag) as reader:
        motion = choose_ego_motion(reader, "/points", "none")
        label_bag(reader, "/points", Stream(HeightSegmenter(), motion), [Taken()], KITTI)
    assert Taken.events == [START, DropReason.MALFORMED, START + 2 * STEP]


class ColourSegmenter(HeightSegmenter):
    """Needs colour for clouds of some points."""

    def __init__(self, *needs_colour: int) -> None:
        super().__init__()
        self.needs_colour = needs_colour

    def segment(self, frame):
        if len(frame) in self.needs_colour:
            raise MissingFieldError("the model needs colour")
        return super().segment(frame)


def test_a_model_that_needs_what_the_clouds_lack_stops_at_the_first_one(make_bag, tmp_path):
    bag = make_bag([frame_at(0), frame_at(1)])
    with pytest.raises(UnsuitableModelError, match=r"first cloud of /points: the model needs co"):
        label(bag, tmp_path / "out", ColourSegmenter(50))


def test_a_later_cloud_that_lacks_what_the_model_needs_is_counted(make_bag, tmp_path):
    bag = make_bag([frame_at(0), frame_at(1, points=40), frame_at(2)])
    summary = label(bag, tmp_path / "out", ColourSegmenter(40))
    assert (summary.labelled, summary.dropped) == (2, {"unsuitable": 1})


def test_frames_come_with_the_pose_at_their_stamp(make_bag, tmp_path):
    segmenter = HeightSegmenter()
    label(make_bag([frame_at(1), frame_at(2.5)], poses=range(5)), tmp_path / "out", segmenter)

    at = [frame.pose[0, 3] for frame in segmenter.seen]
    assert at == pytest.approx([1.0, 2.5])


def test_ego_motion_none_means_that_the_sensor_stands_still(make_bag, tmp_path):
    segmenter = HeightSegmenter()
    summary = label(make_bag([frame_at(1)], (0, 9)), tmp_path / "out", segmenter, "none")

    assert np.array_equal(segmenter.seen[0].pose, np.eye(4))
    assert (summary.ego_motion, summary.ego_motion_reason) == ("none", "requested")


@pytest.mark.parametrize("ego_motion", ["kiss_icp", "auto"])
def test_clouds_without_recorded_motion_are_registered(make_bag, tmp_path, ego_motion):
    pytest.importorskip("kiss_icp", reason="needs kiss-icp: pip install kiss-icp")
    frames = [frame_at(i, points=1000 if i != 2 else 5) for i in range(4)]
    segmenter = HeightSegmenter()
    poses = (0, 9) if ego_motion == "kiss_icp" else ()
    summary = label(make_bag(frames, poses), tmp_path / "out", segmenter, ego_motion)

    registration = Registration()
    for frame in segmenter.seen:
        assert np.array_equal(frame.pose, registration.locate(frame))
    assert (summary.ego_motion, summary.ego_motion_coasted) == ("kiss_icp", 1)


def test_a_reset_of_the_stream_resets_the_registration(make_bag, tmp_path):
    pytest.importorskip("kiss_icp", reason="needs kiss-icp: pip install kiss-icp")

    class Restless(HeightSegmenter):
        def continues(self, frame: Frame) -> bool:
            return super().continues(frame) and len(self.seen) != 2

    segmenter = Restless()
    frames = [frame_at(i, points=1000) for i in range(4)]
    label(make_bag(frames), tmp_path / "out", segmenter)

    identity = [bool(np.array_equal(frame.pose, np.eye(4))) for frame in segmenter.seen]
    assert identity == [True, False, True, False]


def test_without_kiss_icp_motion_is_unknown_for_a_given_reason(make_bag, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "kiss_icp.kiss_icp", None)
    segmenter = HeightSegmenter()
    bag = make_bag([frame_at(1)])
    summary = label(bag, tmp_path / "out", segmenter)

    assert segmenter.seen[0].pose is None
    assert summary.ego_motion == "none"
    assert "the bag has no odometry or transforms" in summary.ego_motion_reason
    assert "pip install kiss-icp" in summary.ego_motion_reason


def test_a_cloud_without_a_stamp_gets_its_time_of_reception(make_bag, tmp_path):
    segmenter = HeightSegmenter()
    bag = tmp_path / "bag"
    with BagWriter(bag) as writer:
        cloud = encode_frame(frame_at(0))
        writer.write_cloud("/unstamped", cloud, 0, "lidar")
    with BagReader(bag) as reader, BagWriter(tmp_path / "restamped") as writer:
        [(_, message_type, _, cdr)] = reader.raw(["/unstamped"])
        writer.write_raw("/points", message_type, START, cdr)

    label(tmp_path / "restamped", tmp_path / "out", segmenter)

    assert segmenter.seen[0].stamp == START


def test_moving_is_a_field_of_the_labelled_clouds_and_scored(make_bag, tmp_path):
    frames = [frame_at(i) for i in range(3)]
    frames = [replace(frame, moving=frame.points[:, 1] > 0) for frame in frames]
    summary = label(make_bag(frames), tmp_path / "out", MovingSegmenter())

    left = np.concatenate([frame.moving for frame in frames[1:]])
    assert summary.moving_share == pytest.approx(left.mean())
    assert (summary.moving["iou"], summary.moving["coverage"]) == (1.0, pytest.approx(2 / 3))
    with BagReader(tmp_path / "out") as bag:
        clouds = [message for _, message in bag.clouds(LABELLED_TOPIC)]
    assert np.isnan(field_values(clouds[0], "moving")).all()
    for frame, cloud in zip(frames[1:], clouds[1:], strict=True):
        values = field_values(cloud, "moving")
        assert values.dtype == np.float32
        np.testing.assert_array_equal(values > 0.5, frame.moving)


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        (Selection(), list(range(10))),
        (Selection(start=0.35), [4, 5, 6, 7, 8, 9]),
        (Selection(frames=3), [0, 1, 2]),
        (Selection(every=4), [0, 4, 8]),
        (Selection(start=0.1, frames=2, every=3), [1, 4]),
    ],
)
def test_start_frames_and_every_select_clouds(make_bag, selection, expected):
    frames = [frame_at(i) for i in range(10)]
    with BagReader(make_bag(frames)) as reader:
        taken = [message for _, message in selection.clouds(reader, "/points")]
    with FrameReader(Path("frames"), {"s": frames}) as reader:
        assert len(taken) == len(list(selection.clouds(reader, "s")))
    assert [m.header.stamp.nanosec // STEP for m in taken] == expected
    assert selection.most(10) >= len(expected)


class Counting(Watch):
    """Stops after some clouds."""

    def __init__(self, last: int) -> None:
        super().__init__(lambda: self.done == last)


def test_the_work_stops_between_two_clouds_but_not_after_the_last(make_bag):
    with BagReader(make_bag([frame_at(i) for i in range(5)])) as reader:
        for last, stops in ((3, True), (5, False)):
            stream = Stream(HeightSegmenter(), choose_ego_motion(reader, "/points", "none"))
            watch = Counting(last)
            if stops:
                with pytest.raises(Stopped, match="stopped after 3 of 5 clouds"):
                    label_bag(reader, "/points", stream, [], KITTI, watch=watch)
            else:
                assert label_bag(reader, "/points", stream, [], KITTI, watch=watch).labelled == 5
