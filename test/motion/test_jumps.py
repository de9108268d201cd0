# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from minkowski_perception.motion.jumps import MotionLimits
from minkowski_perception.motion.twist import Twist

LIMITS = MotionLimits(speed=60.0, acceleration=50.0)
STILL = Twist(np.zeros(3), np.zeros(3))


def at(x, yaw=0.0):
    pose = np.eye(4)
    pose[0, 3] = x
    pose[:3, :3] = Rotation.from_euler("z", yaw).as_matrix()
    return pose


def driving(speed):
    return Twist(np.zeros(3), np.array([speed, 0.0, 0.0]))


@pytest.mark.parametrize(("metres", "allowed"), [(6.4, True), (6.6, False), (-30.0, False)])
def test_without_a_velocity_only_the_speed_is_limited(metres, allowed):
    assert LIMITS.allow(at(0.0), at(metres), 0.1, None) is allowed


@pytest.mark.parametrize("speed", [0.0, 10.0, 40.0])
def test_a_jump_of_a_metre_in_a_tenth_of_a_second_is_refused_at_any_speed(speed):
    expected = 0.1 * speed
    assert LIMITS.allow(at(0.0), at(expected), 0.1, driving(speed))
    assert LIMITS.allow(at(0.0), at(expected + 0.3), 0.1, driving(speed))
    assert not LIMITS.allow(at(0.0), at(expected + 1.0), 0.1, driving(speed))
    assert not LIMITS.allow(at(0.0), at(expected - 1.0), 0.1, driving(speed))


def test_a_full_brake_is_no_jump():
    assert LIMITS.allow(at(0.0), at(0.45), 0.5, driving(10.0))


def test_noise_of_poses_that_are_close_in_time_is_no_jump():
    assert LIMITS.allow(at(0.0), at(0.05), 0.001, STILL)


def test_a_jump_of_the_direction_is_refused_and_a_turn_is_not():
    assert LIMITS.allow(at(0.0), at(0.0, yaw=0.3), 0.1, STILL)
    assert not LIMITS.allow(at(0.0), at(0.0, yaw=2.0), 0.1, STILL)
    turning = Twist(np.array([0.0, 0.0, 20.0]), np.zeros(3))
    assert LIMITS.allow(at(0.0), at(0.0, yaw=2.0), 0.1, turning)


def test_the_limits_grow_with_the_time_between_the_poses():
    assert not LIMITS.allow(at(0.0), at(5.0), 0.1, STILL)
    assert LIMITS.allow(at(0.0), at(5.0), 0.5, STILL)
