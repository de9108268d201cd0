# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch

from minkowski_perception.frame import Frame, named_axes, upright

POINTS = np.array([[1, 2, 3], [np.nan, 0, 0], [0, np.inf, 0], [4, 5, 6]], np.float32)


def test_points_without_a_measurement_are_kept_but_not_valid():
    frame = Frame(POINTS)
    assert len(frame) == 4
    assert frame.valid.tolist() == [True, False, False, True]


def test_points_at_the_sensor_are_valid_but_not_measured():
    points = np.array([[0, 0, 0], [-0.0, 0, 0], [0, 0, -3], [0, 1e-30, 0]], np.float32)
    frame = Frame(np.concatenate([points, POINTS]))
    assert frame.measured.tolist() == [False, False, True, True, True, False, False, True]
    assert Frame(points[:0]).measured.tolist() == []


@pytest.mark.parametrize("name", ["camera_depth_optical_frame", "left_optical"])
def test_optical_frames_look_forward_along_z(name):
    right, down, forward = np.eye(3) @ upright(named_axes(name))[:3, :3].T
    assert forward.tolist() == [1, 0, 0]
    assert right.tolist() == [0, -1, 0]
    assert down.tolist() == [0, 0, -1]


@pytest.mark.parametrize("name", ["", "velodyne", "optical_bench_lidar"])
def test_all_other_frames_have_z_up(name):
    assert np.array_equal(upright(named_axes(name)), np.eye(4))


def test_a_subset_selects_from_every_column():
    frame = Frame(
        POINTS,
        stamp=7,
        frame_id="lidar",
        intensity=np.arange(4, dtype=np.float32),
        colour=np.arange(12, dtype=np.uint8).reshape(4, 3),
        labels=np.arange(4),
        moving=np.array([True, False, False, False]),
        pose=np.eye(4),
    )
    fewer = frame.subset(frame.valid)
    assert fewer.points.tolist() == POINTS[[0, 3]].tolist()
    assert fewer.intensity.tolist() == [0.0, 3.0]
    assert fewer.colour.tolist() == [[0, 1, 2], [9, 10, 11]]
    assert fewer.labels.tolist() == [0, 3]
    assert fewer.moving.tolist() == [True, False]
    assert fewer.time is None
    assert (fewer.stamp, fewer.frame_id) == (7, "lidar")
    assert fewer.pose is frame.pose


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (
            {"points": np.zeros((4, 4), np.float32)},
            r"points must have shape \[N, 3\], not \[4, 4\]",
        ),
        ({"intensity": np.zeros(3, np.float32)}, r"intensity must have shape \[4\] .*not \[3\]"),
        (
            {"colour": np.zeros((4, 4), np.uint8)},
            r"colour must have shape \[4, 3\] .*not \[4, 4\]",
        ),
        ({"pose": np.eye(3)}, r"pose must have shape \[4, 4\], not \[3, 3\]"),
    ],
)
def test_columns_of_a_wrong_shape_are_refused(columns, message):
    with pytest.raises(ValueError, match=message):
        Frame(**{"points": POINTS, **columns})


def test_odometry_points_are_transformed_by_the_pose():
    points = POINTS[[0, 3]]
    pose = upright("optical")
    pose[:3, 3] = 10.0, 20.0, 30.0
    expected = [[13, 19, 28], [16, 16, 25]]
    assert Frame(points, pose=pose).odometry_points.tolist() == expected
    assert Frame(points).odometry_points.tolist() == points.tolist()


@pytest.mark.parametrize(
    "points",
    [
        np.arange(12.0).reshape(4, 3),
        np.arange(12).reshape(4, 3),
        np.arange(24, dtype=np.float32).reshape(4, 6)[:, ::2] / 2,
        np.arange(12.0).reshape(4, 3).tolist(),
        torch.arange(12.0, requires_grad=True).reshape(4, 3),
        torch.arange(12).reshape(4, 3),
    ],
    ids=["float64", "integers", "non-contiguous", "list", "tensor", "tensor of integers"],
)
def test_arrays_of_other_types_are_converted(points):
    frame = Frame(points, intensity=[1, 2, 3, 4], moving=[0, 1, 1, 0], pose=np.eye(4).tolist())
    assert frame.points.dtype == frame.intensity.dtype == np.float32
    np.testing.assert_array_equal(frame.points, np.arange(12.0).reshape(4, 3))
    assert frame.moving.tolist() == [False, True, True, False]
    assert frame.pose.dtype == np.float64


def test_columns_of_the_right_type_are_not_copied():
    points, labels = np.zeros((2, 3), np.float32), np.zeros(2, np.uint16)
    frame = Frame(points, labels=labels)
    assert frame.points is points
    assert frame.labels is labels


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"points": "cloud.pcd"}, "points must be an array of numbers, not str"),
        ({"points": [[1, 2, 3], [4, 5]]}, "points must be an array of numbers"),
        ({"points": None}, "points must be an array of numbers, not NoneType"),
        ({"colour": np.zeros((2, 3))}, "colour must be uint8, 0 to 255, not float64"),
        ({"stamp": 1.5}, r"stamp must be an integer of nanoseconds, not 1\.5"),
        ({"stamp": "now"}, "stamp must be an integer of nanoseconds, not 'now'"),
    ],
)
def test_columns_that_are_no_numbers_are_refused_by_name(columns, message):
    with pytest.raises(TypeError, match=message):
        Frame(**{"points": np.zeros((2, 3), np.float32), **columns})
