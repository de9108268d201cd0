# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from minkowski_perception.frame import Frame, upright

POINTS = np.array([[1, 2, 3], [np.nan, 0, 0], [0, np.inf, 0], [4, 5, 6]], np.float32)


def test_points_without_a_measurement_stay_in_place_and_are_told_apart():
    frame = Frame(POINTS)
    assert len(frame) == 4
    assert frame.valid.tolist() == [True, False, False, True]


@pytest.mark.parametrize("name", ["camera_depth_optical_frame", "left_optical"])
def test_optical_frames_look_forward_along_z(name):
    right, down, forward = np.eye(3) @ upright(name)[:3, :3].T
    assert forward.tolist() == [1, 0, 0]
    assert right.tolist() == [0, -1, 0]
    assert down.tolist() == [0, 0, -1]


@pytest.mark.parametrize("name", ["", "velodyne", "optical_bench_lidar"])
def test_all_other_frames_have_z_up(name):
    assert np.array_equal(upright(name), np.eye(4))


def test_a_subset_takes_every_column_along():
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
def test_columns_that_do_not_fit_are_refused_by_shape(columns, message):
    with pytest.raises(ValueError, match=message):
        Frame(**{"points": POINTS, **columns})


def test_places_are_the_points_in_the_odometry_frame():
    points = POINTS[[0, 3]]
    pose = upright("camera_optical")
    pose[:3, 3] = 10.0, 20.0, 30.0
    expected = [[13, 19, 28], [16, 16, 25]]
    assert Frame(points, pose=pose).odometry_points.tolist() == expected
    assert Frame(points).odometry_points.tolist() == points.tolist()
