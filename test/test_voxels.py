# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
from unittest import mock

import numpy as np
import pytest
import torch

from minkowski_perception import voxels as module
from minkowski_perception.frame import Frame
from minkowski_perception.motion.poses import pose_matrix
from minkowski_perception.voxels import (
    FEATURES,
    ORIGIN_GRID,
    PointLimits,
    VoxelInput,
    stack_in_time,
    voxelize,
)

SPEC = VoxelInput(0.5, ("one", "x", "z", "range", "intensity"), (1.0, 1.0, 2.0, 1.0, 1.0), "first")
POINTS = np.array(
    [[0.1, 0.1, 0.1], [0.3, 0.2, 0.4], [-0.1, 0.0, 0.0], [np.nan, 0, 0], [3.0, 4.0, 0.0]],
    np.float32,
)


def absolute(voxels):
    return voxels.coordinates + voxels.origin


def test_the_voxel_of_a_point_is_the_floor_of_its_scaled_position():
    voxels = voxelize(Frame(POINTS), SPEC)
    assert voxels.valid.tolist() == [True, True, True, False, True]
    expected = np.floor(POINTS[voxels.valid] / 0.5)
    assert absolute(voxels)[voxels.quantization.inverse].tolist() == expected.tolist()
    assert len(voxels.coordinates) == 3


def test_features_do_not_depend_on_the_pose_of_the_sensor():
    intensity = np.linspace(0, 1, 5, dtype=np.float32)
    pose = pose_matrix((120.0, -7.0, 3.0), (0.0, 0.0, 0.0, 1.0))
    at_origin = voxelize(Frame(POINTS), SPEC, intensity)
    moved = voxelize(Frame(POINTS, pose=pose), SPEC, intensity)
    torch.testing.assert_close(at_origin.features, moved.features)
    first = at_origin.features[at_origin.quantization.inverse[0]]
    expected = [1.0, 0.1, 0.2, np.linalg.norm(POINTS[0]), 0.0]
    assert first.tolist() == pytest.approx(expected)


def test_height_is_along_z_of_the_odometry_frame_also_for_an_optical_frame_without_a_pose():
    spec = VoxelInput(0.5, ("height",), (1.0,), "first")
    points = np.random.default_rng(0).uniform(-2, 2, (50, 3)).astype(np.float32)
    pose = pose_matrix((9.0, 8.0, 7.0), (0.5, 0.5, 0.5, 0.5))  # z points along y
    voxels = voxelize(Frame(points, pose=pose), spec)
    first = voxels.quantization.first
    expected = (points @ pose[:3, :3].T)[first, 2]
    np.testing.assert_allclose(voxels.features[:, 0], expected, atol=1e-6)

    seen = voxelize(Frame(points, frame_id="camera_optical_frame"), spec)
    np.testing.assert_allclose(seen.features[:, 0], -points[seen.quantization.first, 1])


@pytest.mark.parametrize(("rounding", "centre"), [("floor", 0.5), ("round", 0.0)])
def test_offsets_and_spread_describe_the_points_within_a_voxel(rounding, centre):
    features = ("offset_x", "offset_y", "offset_z", "spread_z")
    spec = VoxelInput(0.5, features, (1.0,) * 4, "mean", rounding=rounding)
    points = np.random.default_rng(0).uniform(-2, 2, (400, 3)).astype(np.float32)
    pose = pose_matrix((300.3, -7.1, 0.2), (0.0, 0.0, 0.6, 0.8))
    voxels = voxelize(Frame(points, pose=pose), spec)

    positions = (points @ pose[:3, :3].T + pose[:3, 3]) / 0.5
    of_voxel: dict = {}
    for position in positions:
        cell = np.floor(position) if rounding == "floor" else np.round(position)
        of_voxel.setdefault(tuple(cell.astype(int)), []).append(position - cell - centre)
    assert max(map(len, of_voxel.values())) > 1
    for cell, found in zip(absolute(voxels).tolist(), voxels.features, strict=True):
        inside = np.array(of_voxel[tuple(cell)])
        expected = [*inside.mean(axis=0), inside[:, 2].std()]
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_features_are_averaged_over_a_voxel_if_reduce_is_mean():
    spec = VoxelInput(0.5, ("x",), (1.0,), "mean")
    voxels = voxelize(Frame(POINTS), spec)
    row = voxels.quantization.inverse[0]
    assert voxels.features[row].item() == pytest.approx(0.2)


def test_frames_of_a_moving_sensor_share_the_voxels_of_the_odometry_frame():
    world = np.random.default_rng(0).uniform(-20, 20, (500, 3)) // 0.5 * 0.5 + 0.25
    frames = []
    for x in (0.0, 130.0, 400.0):
        pose = pose_matrix((x, 2.0 * x, 1.0), (0.0, 0.0, np.sin(0.1 * x), np.cos(0.1 * x)))
        seen = (world - pose[:3, 3]) @ pose[:3, :3]
        frames.append(voxelize(Frame(seen.astype(np.float32), pose=pose), SPEC))
    coordinates, features = stack_in_time(frames, batch=4)
    assert coordinates[:, 0].unique().tolist() == [4]
    assert len(features) == len(coordinates)
    by_time = [coordinates[coordinates[:, 4] == t][:, 1:4] for t in range(3)]
    assert torch.equal(by_time[0], by_time[1])
    assert torch.equal(by_time[0], by_time[2])
    voxels = by_time[2] + frames[2].origin
    expected = np.unique(np.floor(world / 0.5), axis=0)
    assert voxels.tolist() == expected.tolist()


def test_origins_are_multiples_of_the_coarsest_stride():
    pose = pose_matrix((1234.5, -987.6, 55.0), (0.0, 0.0, 0.0, 1.0))
    voxels = voxelize(Frame(POINTS, pose=pose), SPEC)
    assert not (voxels.origin % ORIGIN_GRID).any()
    assert voxels.coordinates.abs().max() < 2 * ORIGIN_GRID


def test_poses_kilometres_from_the_origin_stay_within_the_key_range():
    pose = pose_matrix((4e6, -3e6, 100.0), (0.0, 0.0, 0.0, 1.0))
    voxels = voxelize(Frame(POINTS, pose=pose), SPEC)
    assert voxels.valid.sum() == 4


def test_points_outside_the_key_range_are_invalid():
    points = np.array([[1.0, 0, 0], [1e7, 0, 0]], np.float32)
    assert voxelize(Frame(points), SPEC).valid.tolist() == [True, False]


def test_points_at_the_sensor_are_invalid():
    points = np.array([[0, 0, 0], [0, 0, 1e-3], [1, 2, 0]], np.float32)
    assert voxelize(Frame(points), SPEC).valid.tolist() == [False, True, True]


def test_a_cloud_without_a_required_colour_is_refused():
    spec = VoxelInput(0.5, ("red",), (1.0,), "first")
    with pytest.raises(ValueError, match="needs colour, but the cloud has no rgb field"):
        voxelize(Frame(POINTS), spec)
    colour = np.full((5, 3), 255, np.uint8)
    assert (voxelize(Frame(POINTS, colour=colour), spec).features == 1.0).all()


def test_an_unknown_feature_is_refused_with_the_valid_ones():
    with pytest.raises(ValueError, match=r"features\[0\]: unknown feature 'smell'; valid: one, x"):
        VoxelInput.from_dict({"voxel_size": 0.1, "features": ["smell"]})


def test_features_are_scaled_and_offset():
    spec = VoxelInput.from_dict(
        {"voxel_size": 0.5, "features": ["red", "x"], "scale": [1, 2], "offset": [-0.5, 3]}
    )
    colour = np.full((5, 3), 255, np.uint8)
    voxels = voxelize(Frame(POINTS, colour=colour), spec)
    first = voxels.features[voxels.quantization.inverse[0]]
    assert first.tolist() == pytest.approx([0.5, 3.2])


def test_rounding_to_the_nearest_voxel_rounds_half_to_even():
    points = np.array([[0.25, 0.75, -0.25], [0.3, 0.7, -0.3]], np.float32)
    spec = VoxelInput.from_dict({"voxel_size": 0.5, "features": ["one"], "rounding": "round"})
    voxels = voxelize(Frame(points), spec)
    assert absolute(voxels)[voxels.quantization.inverse].tolist() == [[0, 2, 0], [1, 1, -1]]


def test_voxels_shifted_by_their_minimum_do_not_depend_on_the_pose():
    points = np.random.default_rng(1).uniform(-30, 30, (4000, 3)).astype(np.float32)
    pose = pose_matrix((120.3, -7.1, 3.0), (0.0, 0.0, 0.6, 0.8))
    spec = VoxelInput.from_dict(
        {"voxel_size": 0.05, "features": ["x"], "rounding": "round", "shift": "minimum"}
    )
    voxels = voxelize(Frame(points, pose=pose), spec)
    # The formula of mmdetection3d and SPVNAS, in float32.
    expected = np.round(points / 0.05).astype(np.int32)
    expected -= expected.min(0)
    assert absolute(voxels)[voxels.quantization.inverse].tolist() == expected.tolist()


def test_voxel_features_are_relative_to_the_mean_and_the_lowest_voxel():
    points = np.array([[0.1, 0.1, 2.1], [0.2, 0.1, 2.1], [1.1, 3.1, 0.2]], np.float32)
    spec = VoxelInput.from_dict({"voxel_size": 0.5, "features": ["voxel_x", "voxel_y", "voxel_z"]})
    voxels = voxelize(Frame(points), spec)
    features = voxels.features[voxels.quantization.inverse]
    assert features.tolist() == [[-1.0, -3.0, 4.0], [-1.0, -3.0, 4.0], [1.0, 3.0, 0.0]]


def test_a_frame_without_valid_points_has_no_voxels():
    spec = VoxelInput.from_dict({"voxel_size": 0.5, "features": ["one"], "shift": "minimum"})
    voxels = voxelize(Frame(np.full((3, 3), np.nan, np.float32)), spec)
    assert len(voxels.coordinates) == 0


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"rounding": "up"}, "rounding: must be one of floor, round, not 'up'"),
        ({"shift": "mean"}, "shift: must be one of none, minimum, not 'mean'"),
        ({"boundary": "cut"}, "boundary: must be one of keep, clip, not 'cut'"),
        ({"boundary": "clip"}, "boundary 'clip' needs shift 'minimum'"),
        ({"offset": [1, 2]}, "1 features, but offset of 2"),
        ({"scale": [1, 2]}, "1 features, but scale of 2"),
        ({"scale": [float("nan")]}, r"scale\[0\]: must be a finite number, not nan"),
        ({"offset": ["x"]}, r"offset\[0\]: must be a finite number, not 'x'"),
        ({"scal": [2]}, "scal: unknown key; did you mean 'scale'"),
        ({"roundng": "round"}, "roundng: unknown key; did you mean 'rounding'"),
        ({"voxel_size": -0.5}, "voxel_size: must be 0.005 to 5, not -0.5"),
        ({"voxel_size": float("nan")}, "voxel_size: must be a finite number, not nan"),
        ({"features": []}, "features is empty"),
        ({"features": ["heigth"]}, r"unknown feature 'heigth'; did you mean 'height'"),
    ],
)
def test_an_invalid_value_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        VoxelInput.from_dict({"voxel_size": 0.5, "features": ["one"], **wrong})


def test_unknown_intensity_differs_from_the_darkest_by_a_feature():
    spec = VoxelInput(0.5, ("intensity", "intensity_known"))
    dark = voxelize(Frame(POINTS), spec, np.zeros(len(POINTS), np.float32)).features
    unknown = voxelize(Frame(POINTS), spec, None).features
    assert (dark == dark.new_tensor([0.0, 1.0])).all()
    assert (unknown == 0.0).all()


LINE = VoxelInput.from_dict({"voxel_size": 0.5, "features": ["one"]})


def line(count):
    """Points at 1, 2, ... metres, each in its own voxel, in random order."""
    points = np.zeros((count, 3), np.float32)
    points[:, 0] = np.random.default_rng(0).permutation(count) + 1.1
    return Frame(points)


def test_without_excess_the_limits_change_nothing():
    frame = line(100)
    limited = voxelize(frame, LINE, limits=PointLimits(max_points=100, max_voxels=100))
    plain = voxelize(frame, LINE)
    assert torch.equal(limited.coordinates, plain.coordinates)
    assert (limited.thinned, limited.valid.sum()) == (0, 100)


def test_of_too_many_points_evenly_spaced_ones_are_kept():
    voxels = voxelize(line(100), LINE, limits=PointLimits(max_points=40))
    assert np.flatnonzero(voxels.valid).tolist() == list(range(0, 100, 3))
    assert (len(voxels.coordinates), voxels.thinned) == (34, 66)


def test_of_too_many_voxels_the_nearest_are_kept():
    frame = line(100)
    voxels = voxelize(frame, LINE, limits=PointLimits(max_voxels=30))
    assert np.array_equal(voxels.valid, frame.points[:, 0] < 31.0)
    assert (len(voxels.coordinates), len(voxels.features), voxels.thinned) == (30, 30, 70)
    kept = voxels.coordinates[voxels.quantization.inverse][:, 0] * 0.5
    np.testing.assert_allclose(kept, frame.points[voxels.valid, 0], atol=0.5)


def test_with_a_stride_all_points_in_the_voxel_of_a_chosen_point_are_kept():
    points = np.repeat(line(60).points, 2, axis=0)  # two points in each voxel
    points = np.concatenate([points, np.full((1, 3), np.nan, np.float32)])
    voxels = voxelize(Frame(points), LINE, limits=PointLimits(stride=4))
    assert np.flatnonzero(voxels.valid[:-1].reshape(60, 2).all(axis=1)).tolist() == list(
        range(0, 60, 2)
    )
    assert (len(voxels.coordinates), voxels.thinned) == (30, 60)


@pytest.mark.parametrize("rounding", ["floor", "round"])
@pytest.mark.parametrize("limits", [PointLimits(), PointLimits(900, 300, stride=2)])
def test_voxels_are_bit_identical_without_numba(rounding, limits):
    if module.compiled_voxels is None:
        pytest.skip("needs Numba: pip install numba")
    rng = np.random.default_rng(3)
    points = rng.normal(0, 4, (2000, 3)).astype(np.float32)
    points[::7], points[::11], points[::13, 0], points[5, 1] = np.nan, 0, -0.0, np.inf
    colour = rng.integers(0, 256, points.shape).astype(np.uint8)
    pose = pose_matrix((400.3, -77.7, 3.1), (0.1, -0.5, 0.5, 0.7))
    frame = Frame(points, colour=colour, pose=pose)
    spec = VoxelInput(0.3, FEATURES, rounding=rounding, reduce="mean")
    intensity = rng.random(len(frame), dtype=np.float32)
    compiled = voxelize(frame, spec, intensity, limits=limits)
    with mock.patch.object(module, "compiled_voxels", None):
        plain = voxelize(frame, spec, intensity, limits=limits)
    assert plain.features.numpy().tobytes() == compiled.features.numpy().tobytes()
    assert torch.equal(plain.coordinates, compiled.coordinates)
    assert torch.equal(plain.quantization.inverse, compiled.quantization.inverse)
    assert np.array_equal(plain.valid, compiled.valid)
    assert plain.thinned == compiled.thinned
