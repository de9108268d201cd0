# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Tests of voxels on the device: on CUDA, else on the CPU under Triton's interpreter."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from minkowski_perception.frame import Frame
from minkowski_perception.motion.poses import pose_matrix
from minkowski_perception.sparse import Capacities, CoordinateRangeError
from minkowski_perception.voxels import MissingFieldError, PointLimits, VoxelInput, voxelize

module = pytest.importorskip("triton", reason="needs triton") and pytest.importorskip(
    "minkowski_perception.streaming.device_voxels"
)

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
FACTORS = np.linspace(0.3, 2.0, len(module.FEATURES)), np.linspace(-1.0, 1.0, len(module.FEATURES))
SPEC = VoxelInput(0.3, module.FEATURES, *map(tuple, FACTORS[:1]), "mean", tuple(FACTORS[1]))


@pytest.fixture(autouse=True)
def _few_programs(monkeypatch):
    """The interpreter is slow."""
    monkeypatch.setattr(module, "_POINT_ROWS", 1024)
    monkeypatch.setattr(module, "_VOXEL_ROWS", 1024)


def cloud():
    rng = np.random.default_rng(3)
    points = rng.normal(0, 4, (800, 3)).astype(np.float32)
    points[::7], points[::11], points[::13, 0], points[5, 1] = np.nan, 0, -0.0, np.inf
    points[20:60] = points[20]  # many in one voxel
    points[9], points[10] = 1e6, -5e3
    colour = rng.integers(0, 256, points.shape).astype(np.uint8)
    pose = pose_matrix((400.3, -77.7, 3.1), (0.1, -0.5, 0.5, 0.7))
    return Frame(points, intensity=rng.random(800, dtype=np.float32), colour=colour, pose=pose)


def placed(frame, spec=SPEC, intensity=None, dimension=4, capacities=None):
    """Voxels on the device, and those of the CPU."""
    capacities = capacities or Capacities()
    voxelizer = module.DeviceVoxelizer(spec, dimension, DEVICE, density=True)
    given = module.PointFrame(frame, intensity, voxelizer)
    found = given.placed(given.tensors(capacities), capacities)
    capacities.fetched(capacities.packed([]))
    return found, given.origin


@pytest.mark.parametrize("how", ["mean", "first"])
def test_voxels_and_features_have_the_bits_of_the_cpu(how):
    frame, spec = cloud(), replace(SPEC, reduce=how)
    expected = voxelize(frame, spec, frame.intensity)
    found, origin = placed(frame, spec, frame.intensity)
    count = len(expected.coordinates)
    assert torch.equal(origin, expected.origin)
    assert torch.equal(found.keys[:count].cpu(), expected.quantization.keys)
    batch, space, time = found.coordinates.cpu().tensor_split((1, 4), dim=1)
    assert torch.equal(space[:count], expected.coordinates)
    assert not time.any()
    assert (batch[:, 0] == -(torch.arange(len(batch)) >= count).long()).all()
    assert found.features[:count].cpu().numpy().tobytes() == expected.features.numpy().tobytes()
    distances, sizes = (each[:count].cpu() for each in found.density)
    assert torch.equal(distances, expected.distances(frame))
    assert torch.equal(sizes, expected.quantization.counts())


def test_each_point_has_its_voxel_or_none():
    frame = cloud()
    expected = voxelize(frame, SPEC)
    found, _ = placed(frame)
    inside = ~found.outside.cpu()
    assert np.array_equal(inside[: len(frame)].numpy(), expected.valid)
    assert not inside[len(frame) :].any()
    assert torch.equal(found.rows.cpu()[inside], expected.quantization.inverse)


def test_a_cloud_without_intensity_pose_or_valid_points_is_as_on_the_cpu():
    frame = replace(cloud(), pose=None, frame_id="camera_optical_frame")
    expected = voxelize(frame, SPEC, dimension=3)
    found, _ = placed(frame, dimension=3)
    assert torch.equal(found.features[: len(expected.features)].cpu(), expected.features)
    found, _ = placed(
        Frame(np.full((3, 3), np.nan)), replace(SPEC, features=("z",), scale=(1.0,), offset=())
    )
    assert found.outside.all()
    assert (found.coordinates[:, 0] == -1).all()


def test_a_buffer_is_filled_again_by_the_next_frame():
    spec, capacities = VoxelInput(0.3, ("x", "intensity"), reduce="mean"), Capacities()
    voxelizer = module.DeviceVoxelizer(spec, 4, DEVICE, density=False)
    many = Frame(np.ones((99, 3)), intensity=np.ones(99))
    few = Frame(np.full((2, 3), 2.0))
    for frame, intensity in ((many, many.intensity), (few, None)):
        raw = voxelizer.copied(frame, intensity, 256)
        found = voxelizer.placed(raw, capacities)
        assert int((~found.outside).sum()) == len(frame)
        assert found.density is None
        expected = voxelize(frame, spec, intensity)
        assert torch.equal(found.features[:1].cpu(), expected.features)


def test_a_point_out_of_range_is_an_error_at_the_end_of_the_frame():
    pose = np.eye(4) * 20.0
    with pytest.raises(CoordinateRangeError, match="out of the range around the sensor, -49152"):
        placed(Frame(np.full((1, 3), 3000.0), colour=np.zeros((1, 3), np.uint8), pose=pose))


def test_a_cloud_without_a_required_colour_is_refused():
    with pytest.raises(MissingFieldError, match="needs colour"):
        placed(replace(cloud(), colour=None))


@pytest.mark.parametrize(
    ("change", "accepted"),
    [
        ({}, True),
        ({"shift": "minimum"}, False),
        ({"rounding": "round"}, False),
        ({"residuals": (0.1,)}, False),
        ({"features": ("one", "voxel_z")}, False),
    ],
)
def test_the_cpu_voxelizes_what_the_kernels_do_not_know(change, accepted):
    spec = VoxelInput(**{"voxel_size": 0.1, "features": ("one", "z"), **change})
    assert module.DeviceVoxelizer.accepts(spec) == accepted


@pytest.mark.parametrize(
    ("limits", "kept"),
    [
        (PointLimits(), True),
        (PointLimits(5, 5), True),
        (PointLimits(4, None), False),
        (PointLimits(None, 4), False),
        (PointLimits(stride=2), False),
    ],
)
def test_limits_that_a_frame_cannot_reach_keep_all_of_it(limits, kept):
    assert limits.keep_all_of(5) == kept
