# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from minkowski_perception.frame import Frame
from minkowski_perception.motion.deskew import MAX_SPEED, MAX_SWEEPS, MAX_TURN_RATE, deskew

SECOND = 10**9
STEP = 0.1
STAMP = 1_700_000_000 * SECOND
BEFORE = STAMP - SECOND // 10
RADIUS = 12.0
YAW_RATE = 0.9  # radians per second, so 10.8 m/s


def pose_at(seconds):
    """Pose of a car on a circle at STAMP + seconds, in a tilted frame far from its origin."""
    yaw = YAW_RATE * seconds
    pose = np.eye(4)
    pose[:3, :3] = Rotation.from_rotvec([0, 0, yaw]).as_matrix()
    pose[:3, 3] = RADIUS * np.sin(yaw), RADIUS * (1.0 - np.cos(yaw)), 0.0
    tilted = np.eye(4)
    tilted[:3, :3] = Rotation.from_euler("ZYX", [2.0, 0.1, -0.05]).as_matrix()
    tilted[:3, 3] = 800.0, -300.0, 20.0
    return tilted @ pose


def skewed(scene, times):
    """Points of a scene, given in the odometry frame, in the sensor's frame at their own times."""
    seen = [
        (np.linalg.inv(pose_at(time)) @ [*point, 1.0])[:3]
        for point, time in zip(scene, times, strict=True)
    ]
    return np.array(seen, dtype=np.float32)


@pytest.fixture
def sweep():
    """A frame of the moving sensor, and its points at the stamp."""
    draw = np.random.default_rng(3)
    truth = draw.uniform(-40.0, 40.0, (500, 3))
    scene = truth @ pose_at(0.0)[:3, :3].T + pose_at(0.0)[:3, 3]
    time = np.linspace(-0.05, 0.1, 500).astype(np.float32)
    frame = Frame(skewed(scene, time), STAMP, "lidar", time=time, pose=pose_at(0.0))
    return frame, truth


def test_points_of_a_moving_sensor_are_correct_after_deskewing(sweep):
    frame, truth = sweep
    assert np.linalg.norm(frame.points - truth, axis=1).max() > 1.0
    straight = deskew(frame, pose_at(-STEP), BEFORE)
    np.testing.assert_allclose(straight.points, truth, atol=1e-4)
    assert straight.points.dtype == np.float32
    assert straight.pose is frame.pose


def test_the_earlier_pose_may_have_any_stamp(sweep):
    frame, truth = sweep
    straight = deskew(frame, pose_at(-0.73), STAMP - 73 * SECOND // 100)
    np.testing.assert_allclose(straight.points, truth, atol=1e-4)


def test_a_cloud_is_deskewed_once_and_the_input_is_unchanged(sweep):
    frame, _ = sweep
    points = frame.points.copy()
    straight = deskew(frame, pose_at(-STEP), BEFORE)
    assert np.array_equal(frame.points, points)
    assert straight.time is None
    assert deskew(straight, pose_at(-STEP), BEFORE) is straight


def test_points_of_a_standing_sensor_do_not_move(sweep):
    frame, _ = sweep
    straight = deskew(frame, frame.pose, BEFORE)
    assert np.array_equal(straight.points, frame.points)


def test_deskewing_does_not_depend_on_the_order_of_points(sweep):
    frame, _ = sweep
    order = np.random.default_rng(0).permutation(len(frame))
    shuffled = replace(frame, points=frame.points[order], time=frame.time[order])
    straight = deskew(frame, pose_at(-STEP), BEFORE).points
    assert np.array_equal(deskew(shuffled, pose_at(-STEP), BEFORE).points, straight[order])


def test_points_without_a_time_or_a_return_are_unchanged(sweep):
    frame, truth = sweep
    frame.time[[3, 4, 5]] = np.nan, np.inf, 1e30
    frame.points[[5, 6]] = [0.0, 0.0, 0.0], [np.nan, np.inf, 1.0]
    straight = deskew(frame, pose_at(-STEP), BEFORE)
    assert straight.points[3:7].tobytes() == frame.points[3:7].tobytes()
    np.testing.assert_allclose(straight.points[7:], truth[7:], atol=1e-4)


@pytest.mark.parametrize("time", [-1e30, -0.21, 0.21, 1.7e9])
def test_a_frame_with_impossible_times_is_unchanged(sweep, time):
    frame, _ = sweep
    assert abs(time) > MAX_SWEEPS * STEP
    frame.time[::20] = time
    assert deskew(frame, pose_at(-STEP), BEFORE) is frame


@pytest.mark.parametrize("time", [-1e30, -0.21, 0.21, 1.7e9])
def test_a_point_with_an_impossible_time_is_unchanged(sweep, time):
    frame, truth = sweep
    frame.time[7] = time
    straight = deskew(frame, pose_at(-STEP), BEFORE)
    assert np.array_equal(straight.points[7], frame.points[7])
    np.testing.assert_allclose(straight.points[8:], truth[8:], atol=1e-4)


def test_a_frame_without_times_or_points_is_accepted(sweep):
    frame, _ = sweep
    bare = replace(frame, time=None)
    assert deskew(bare, pose_at(-STEP), BEFORE) is bare
    empty = frame.subset(np.zeros(len(frame), bool))
    assert len(deskew(empty, pose_at(-STEP), BEFORE)) == 0


def test_a_frame_without_a_pose_or_with_an_earlier_stamp_is_refused(sweep):
    frame, _ = sweep
    with pytest.raises(ValueError, match="without a pose"):
        deskew(replace(frame, pose=None), pose_at(-STEP), BEFORE)
    with pytest.raises(ValueError, match=f"not later than that of the earlier pose, {STAMP} ns"):
        deskew(frame, pose_at(-STEP), STAMP)


@pytest.mark.parametrize(
    ("metres", "yaw"), [(1.1 * MAX_SPEED * STEP, 0.0), (0.0, min(1.1 * MAX_TURN_RATE * STEP, 3.0))]
)
def test_a_frame_is_left_as_it_is_when_no_sensor_moves_so_fast(metres, yaw):
    step = STEP if metres else STEP / 2
    times = np.array([-step, 0.0], np.float32)
    frame = Frame(np.ones((2, 3), np.float32), STAMP, time=times, pose=np.eye(4))
    before = np.eye(4)
    before[0, 3] = -metres
    before[:3, :3] = Rotation.from_euler("z", yaw).as_matrix()
    assert deskew(frame, before, STAMP - int(step * SECOND)) is frame
