# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from minkowski_perception.frame import Frame
from minkowski_perception.streaming.continuity import Continuity, OutOfOrderError

SECOND = 10**9


def frame(seconds, frame_id="lidar", pose=None):
    return Frame(np.zeros((1, 3), np.float32), int(seconds * SECOND), frame_id, pose=pose)


def feed(stream, *frames):
    """Return, for each frame, the stamp of the previous one if it continues the stream."""
    before = [stream.admit(each) for each in frames]
    return [None if b is None else b.stamp for b in before]


def test_a_frame_that_continues_the_stream_gets_the_previous_one():
    stream = Continuity()
    assert feed(stream, frame(1.0), frame(1.1), frame(1.2)) == [None, SECOND, int(1.1 * SECOND)]
    assert not stream.resets


@pytest.mark.parametrize("step", [0.0, 0.05])
def test_a_small_step_back_or_an_equal_stamp_is_out_of_order(step):
    stream = Continuity()
    feed(stream, frame(10.0), frame(10.1))
    with pytest.raises(OutOfOrderError, match="is not later than the last one, 10100000000 ns"):
        stream.admit(frame(10.1 - step))
    assert feed(stream, frame(10.2)) == [int(10.1 * SECOND)]


def outcomes(stream, *stamps):
    """Return what becomes of frames with these stamps: "first", "next", "refused" or a reset."""
    found = []
    for stamp in stamps:
        resets = stream.resets.copy()
        try:
            before = stream.admit(frame(stamp))
        except OutOfOrderError:
            found.append("refused")
        else:
            reasons = (stream.resets - resets) or {"first": 1}
            found.append("next" if before else "".join(reasons))
    return found


@pytest.mark.parametrize(
    ("stamps", "expected"),
    [
        ((1.0, 1.9, 1.2, 1.3, 1.4), ["first", "next", "refused", "time_jump", "next"]),
        ((1.9, 1.1, 1.2, 1.3), ["first", "refused", "time_jump", "next"]),
        # Two wrong stamps apart; the second frame after the other one need not be wrong again.
        (
            (1.0, 1.9, 1.2, 1.3, 2.2, 1.5, 1.6),
            ["first", "next", "refused", "time_jump", "next", "refused", "time_jump"],
        ),
        # Late frames, each alone: the frame before them was right.
        ((1.0, 1.2, 1.1, 1.3, 1.2, 1.4), ["first", "next", "refused", "next", "refused", "next"]),
        # A clock that stands still, or runs backwards, confirms nothing.
        ((1.0, 1.0, 1.0, 1.0), ["first", "refused", "refused", "refused"]),
        ((1.9, 1.8, 1.7, 1.6), ["first", "refused", "refused", "refused"]),
    ],
)
def test_a_step_back_counts_once_the_next_frame_confirms_it(stamps, expected):
    assert outcomes(Continuity(), *stamps) == expected


def test_a_refused_frame_is_asked_about_twice_without_confirming_itself():
    stream = Continuity()
    feed(stream, frame(1.0), frame(1.9))
    for _ in range(2):
        with pytest.raises(OutOfOrderError):
            stream.continues(frame(1.2))
    assert not stream.continues(frame(1.3))
    assert stream.admit(frame(1.3)) is None
    assert stream.resets == {"time_jump": 1}


@pytest.mark.parametrize(
    ("next_frame", "reason"),
    [
        (frame(2.0), "time_jump"),
        (frame(12.0), "gap"),
        (frame(10.1, "rear"), "frame_changed"),
        (frame(10.1, pose=np.eye(4)), "motion_changed"),
    ],
)
def test_resets_are_counted_by_reason(next_frame, reason):
    stream = Continuity()
    assert feed(stream, frame(9.9), frame(10.0), next_frame)[-1] is None
    assert stream.resets == {reason: 1}


@pytest.mark.parametrize(
    ("next_frame", "answer"),
    [
        (frame(10.1), True),
        (frame(10.1, pose=np.eye(4)), True),
        (frame(12.0), False),
        (frame(2.0), False),
        (frame(10.1, "rear"), False),
    ],
)
def test_continuation_is_known_before_a_frame_has_a_pose(next_frame, answer):
    stream = Continuity()
    assert not stream.continues(next_frame)
    feed(stream, frame(9.9), frame(10.0))
    assert stream.continues(next_frame) is answer
    with pytest.raises(OutOfOrderError):
        stream.continues(frame(9.95))
    assert not stream.resets


def moved(seconds, x):
    pose = np.eye(4)
    pose[0, 3] = x
    return frame(seconds, pose=pose)


def test_a_jump_of_the_pose_starts_a_new_stream_and_motion_does_not():
    stream = Continuity()
    places = (0.0, 3.0, 6.0, 5000.0, 5003.0, 5006.0)
    frames = [moved(0.1 * i, x) for i, x in enumerate(places)]
    begins = [before is None for before in feed(stream, *frames)]
    assert begins == [True, False, False, True, False, False]
    assert stream.resets == {"pose_jump": 1}


def test_a_jump_of_a_few_metres_is_found_by_the_acceleration():
    stream = Continuity()
    feed(stream, *(moved(0.1 * i, x) for i, x in enumerate((0.0, 0.0, 0.0, 2.0, 2.0, 2.0))))
    assert stream.resets == {"pose_jump": 1}


def test_skipped_frames_keep_the_stream_of_a_slow_machine_together():
    stream = Continuity(max_gap=1.0)
    feed(stream, frame(10.0))
    for seconds in (10.5, 11.0, 11.5, 12.0):
        stream.skip(int(seconds * SECOND), "lidar")
    assert feed(stream, frame(12.5)) == [10 * SECOND]
    assert not stream.resets


@pytest.mark.parametrize(
    ("skipped", "frame_id"), [((12.0,), "lidar"), ((10.5, 12.0), "lidar"), ((10.9, 11.5), "rear")]
)
def test_a_pause_is_a_gap_although_frames_were_skipped(skipped, frame_id):
    stream = Continuity(max_gap=1.0)
    feed(stream, frame(10.0))
    for seconds in skipped:
        stream.skip(int(seconds * SECOND), frame_id)
    assert feed(stream, frame(12.2)) == [None]
    assert stream.resets == {"gap": 1}


def test_after_a_loop_the_stream_continues_from_the_new_time():
    stream = Continuity()
    stamps = feed(stream, *(frame(t) for t in (10.0, 10.1, 3.0, 3.1)))
    assert stamps == [None, 10 * SECOND, None, 3 * SECOND]
    assert stream.resets == {"time_jump": 1}


def test_after_clear_the_next_frame_starts_a_stream():
    stream = Continuity()
    feed(stream, frame(10.0))
    stream.clear()
    assert feed(stream, frame(9.95)) == [None]
    assert not stream.resets


@pytest.mark.parametrize("pose", [None, np.eye(4)])
def test_a_restored_stream_continues_from_the_saved_frame(pose):
    stream, other = Continuity(), Continuity()
    feed(stream, frame(10.0, "lidár", pose))
    other.restore(stream.state())
    assert feed(other, frame(10.1, "lidár", pose)) == [10 * SECOND]
    other.restore(Continuity().state())
    assert feed(other, frame(1.0)) == [None]


def test_a_restored_stream_finds_a_jump_as_the_saved_one_would():
    stream, other = Continuity(), Continuity()
    feed(stream, moved(10.0, 0.0), moved(10.1, 0.0))
    other.restore(stream.state())
    assert feed(other, moved(10.2, 3.0)) == feed(stream, moved(10.2, 3.0)) == [None]
    assert other.resets == {"pose_jump": 1}
