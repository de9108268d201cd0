# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from minkowski_perception.motion.poses import PoseBuffer, in_changed_world, pose_matrix


def pose(x, yaw):
    return pose_matrix((x, 0.0, 0.0), Rotation.from_euler("z", yaw).as_quat())


def test_poses_are_interpolated_linearly_and_spherically():
    buffer = PoseBuffer()
    buffer.add(100, pose(0.0, 0.0))
    buffer.add(200, pose(4.0, 1.0))
    np.testing.assert_allclose(buffer.at(125), pose(1.0, 0.25), atol=1e-12)
    np.testing.assert_array_equal(buffer.at(200), pose(4.0, 1.0))


def test_poses_are_not_extrapolated():
    buffer = PoseBuffer()
    assert buffer.at(0) is None
    buffer.add(100, np.eye(4))
    assert buffer.at(99) is None
    assert buffer.at(101) is None
    assert buffer.at(100) is not None


@given(stamps=st.permutations(range(20)))
def test_poses_may_be_added_in_any_order(stamps):
    buffer = PoseBuffer()
    for stamp in stamps:
        buffer.add(2 * stamp, pose(float(stamp), 0.0))
    for stamp in range(38):
        assert buffer.at(stamp)[0, 3] == pytest.approx(stamp / 2)


def test_the_oldest_pose_is_dropped_when_the_buffer_is_full():
    buffer = PoseBuffer(capacity=3)
    for stamp in range(5):
        buffer.add(stamp, np.eye(4))
    assert len(buffer) == 3
    assert buffer.at(1) is None
    assert buffer.at(2) is not None


def test_a_pose_of_the_same_stamp_replaces_the_older_one():
    buffer = PoseBuffer()
    buffer.add(1, pose(1.0, 0.0))
    buffer.add(1, pose(2.0, 0.0))
    assert len(buffer) == 1
    assert buffer.at(1)[0, 3] == 2.0


def test_an_invalid_pose_is_refused():
    with pytest.raises(ValueError, match="norm"):
        pose_matrix((0, 0, 0), (0, 0, 0, 0))
    with pytest.raises(ValueError, match="not finite"):
        pose_matrix((np.nan, 0, 0), (0, 0, 0, 1))


def test_a_cleared_buffer_has_no_poses():
    buffer = PoseBuffer()
    buffer.add(1, np.eye(4))
    buffer.clear()
    assert buffer.at(1) is None


@pytest.mark.parametrize("mirror", [1.0, -1.0])
@pytest.mark.parametrize("optical", [False, True])
def test_points_and_poses_change_consistently(mirror, optical):
    turn = Rotation.from_euler("xyz", [0.1, -0.2, 0.7]).as_matrix()
    linear, shift = 0.9 * turn @ np.diag([1.0, mirror, 1.0]), np.array([5.0, -3.0, 1.0])
    before = pose_matrix((4.0, -2.0, 1.0), Rotation.from_euler("zx", [0.8, 0.1]).as_quat())
    points = np.random.default_rng(0).uniform(-9, 9, (20, 3))
    axes = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
    of_points = axes.T @ linear @ axes if optical else linear

    after = in_changed_world(before, linear, shift, of_points if optical else None)

    positions = points @ before[:3, :3].T + before[:3, 3]
    moved = (points @ of_points.T) @ after[:3, :3].T + after[:3, 3]
    np.testing.assert_allclose(moved, positions @ linear.T + shift, atol=1e-9)
    np.testing.assert_allclose(after[:3, :3] @ after[:3, :3].T, np.eye(3), atol=1e-12)
    assert np.linalg.det(after[:3, :3]) == pytest.approx(1.0)
