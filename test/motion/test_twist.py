# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import expm
from scipy.spatial.transform import Rotation

from minkowski_perception.motion.twist import Twist


def exponential(angular, linear, seconds):
    """The motion by the general matrix exponential."""
    generator = np.zeros((4, 4))
    x, y, z = angular
    generator[:3, :3] = [[0, -z, y], [z, 0, -x], [-y, x, 0]]
    generator[:3, 3] = linear
    return expm(generator * seconds)


def vectors(bound):
    return st.tuples(*[st.floats(-bound, bound)] * 3).map(np.array)


@given(vectors(15.0), vectors(30.0), st.floats(-0.2, 0.2))
def test_points_and_poses_agree_with_the_matrix_exponential(angular, linear, seconds):
    points = np.random.default_rng(0).normal(0.0, 20.0, (5, 3))
    motion = exponential(angular, linear, seconds)
    twist = Twist(angular, linear)
    np.testing.assert_allclose(twist.motion(seconds), motion, atol=1e-9)
    carried = twist.carry(points, np.full(5, seconds))
    np.testing.assert_allclose(carried, points @ motion[:3, :3].T + motion[:3, 3], atol=1e-9)


@given(vectors(1.7), vectors(30.0), st.floats(0.05, 3.0))
def test_the_velocity_between_two_poses_leads_from_one_to_the_other(angle, way, seconds):
    before = np.eye(4)
    before[:3, :3] = Rotation.from_rotvec([0.3, -0.2, 2.0]).as_matrix()
    before[:3, 3] = 500.0, -20.0, 3.0
    now = before @ exponential(angle, way, 1.0)
    twist = Twist.between(before, now, seconds)
    np.testing.assert_allclose(twist.angular * seconds, angle, atol=1e-7)
    np.testing.assert_allclose(twist.linear * seconds, way, atol=1e-6)
    np.testing.assert_allclose(before @ twist.motion(seconds), now, atol=1e-6)


def test_a_standing_sensor_has_zero_velocity():
    twist = Twist.between(np.eye(4), np.eye(4), 0.1)
    assert not twist.angular.any()
    assert not twist.linear.any()


def test_a_car_in_a_curve_moves_on_its_circle():
    """A quarter turn to the left at radius 10 m, with the velocity measured on a tenth of it."""
    tenth = np.eye(4)
    tenth[:3, :3] = Rotation.from_rotvec([0, 0, np.pi / 20]).as_matrix()
    tenth[:3, 3] = 10.0 * np.sin(np.pi / 20), 10.0 - 10.0 * np.cos(np.pi / 20), 0.0
    motion = Twist.between(np.eye(4), tenth, 0.1).motion(1.0)
    assert motion[:3, 3] == pytest.approx([10.0, 10.0, 0.0])
