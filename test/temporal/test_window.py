# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from minkowski_perception.frame import Frame
from minkowski_perception.temporal.window import OutOfOrderError, SlidingWindow

SECOND = 10**9


def frame(seconds, frame_id="lidar", pose=None):
    return Frame(np.zeros((1, 3), np.float32), int(seconds * SECOND), frame_id, pose=pose)


def feed(window, *frames):
    for each in frames:
        window.admit(each)
        window.push(each.stamp)


def test_the_window_holds_the_last_frames_oldest_first():
    window = SlidingWindow(3)
    feed(window, *(frame(0.1 * i) for i in range(5)))
    assert window.frames == [int(0.1 * i * SECOND) for i in (2, 3, 4)]
    assert not window.resets


@pytest.mark.parametrize("step", [0.0, 0.05])
def test_a_small_step_back_or_none_is_out_of_order_and_changes_nothing(step):
    window = SlidingWindow(3)
    feed(window, frame(10.0), frame(10.1))
    with pytest.raises(OutOfOrderError, match="is not later than the last one, 10100000000 ns"):
        window.admit(frame(10.1 - step))
    assert len(window) == 2
    feed(window, frame(10.2))
    assert len(window) == 3


@pytest.mark.parametrize(
    ("next_frame", "reason"),
    [
        (frame(2.0), "time_jump"),
        (frame(12.0), "gap"),
        (frame(10.1, "rear"), "frame_changed"),
        (frame(10.1, pose=np.eye(4)), "motion_changed"),
    ],
)
def test_what_starts_something_new_empties_the_window_and_is_counted(next_frame, reason):
    window = SlidingWindow(3)
    feed(window, frame(9.9), frame(10.0), next_frame)
    assert len(window) == 1
    assert window.resets == {reason: 1}


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
def test_whether_a_frame_continues_the_stream_is_told_before_it_has_a_pose(next_frame, answer):
    window = SlidingWindow(3)
    assert not window.continues(next_frame)
    feed(window, frame(9.9), frame(10.0))
    assert window.continues(next_frame) is answer
    with pytest.raises(OutOfOrderError):
        window.continues(frame(9.95))
    assert len(window) == 2
    assert not window.resets


def test_a_pose_that_jumps_starts_the_window_anew_and_motion_does_not():
    window = SlidingWindow(3)
    for i, x in enumerate((0.0, 30.0, 60.0, 5000.0)):
        pose = np.eye(4)
        pose[0, 3] = x
        feed(window, frame(0.1 * i, pose=pose))
    assert len(window) == 1
    assert window.resets == {"pose_jump": 1}


def test_after_a_loop_the_stream_goes_on_from_its_new_time():
    window = SlidingWindow(2)
    feed(window, *(frame(t) for t in (10.0, 10.1, 3.0, 3.1, 3.2)))
    assert len(window) == 2
    assert window.resets == {"time_jump": 1}


def test_a_cleared_window_compares_the_next_frame_to_nothing():
    window = SlidingWindow(2)
    feed(window, frame(10.0))
    window.clear()
    feed(window, frame(9.95))
    assert len(window) == 1
    assert not window.resets


def test_a_window_of_no_frame_is_refused():
    with pytest.raises(ValueError, match="1 frame or more, not 0"):
        SlidingWindow(0)
