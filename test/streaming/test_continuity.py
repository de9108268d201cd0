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


def test_a_jump_of_the_pose_starts_a_new_stream_and_motion_does_not():
    stream = Continuity()
    frames = []
    for i, x in enumerate((0.0, 30.0, 60.0, 5000.0)):
        pose = np.eye(4)
        pose[0, 3] = x
        frames.append(frame(0.1 * i, pose=pose))
    assert [before is None for before in feed(stream, *frames)] == [True, False, False, True]
    assert stream.resets == {"pose_jump": 1}


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
