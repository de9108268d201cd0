# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import itertools
import math

import pytest
import torch

from minkowski_perception.sparse import SparseTensor, point_to_voxel, voxel_to_point


def scene(dimension, strides, count=200, seed=0):
    """Return random fine voxels around the origin, and the coarse voxels that contain them."""
    generator = torch.Generator().manual_seed(seed)
    coordinates = torch.randint(-9, 9, (count, 1 + dimension), generator=generator)
    coordinates[:, 0] %= 2
    coordinates = torch.unique(coordinates, dim=0)
    fine = SparseTensor(
        torch.randn(len(coordinates), 3, dtype=torch.float64, generator=generator), coordinates
    )
    coarse_map = fine.manager.coarser(fine.map, strides)
    features = torch.randn(len(coarse_map), 5, dtype=torch.float64, generator=generator)
    return fine, SparseTensor.on_map(features, coarse_map, fine.manager)


def interpolated(coarse, strides, point):
    """Interpolate features at a point by the definition, from a dictionary of voxels."""
    known = {
        tuple(c): f for c, f in zip(coarse.coordinates.tolist(), coarse.features, strict=True)
    }
    batch, *position = point
    total, weights = torch.zeros(coarse.features.shape[1], dtype=torch.float64), 0.0
    for corner in itertools.product((0, 1), repeat=len(strides)):
        axes = list(zip(position, strides, corner, strict=True))
        origin = [(p // s + c) * s for p, s, c in axes]
        weight = math.prod(1 - abs(p - (p // s + c) * s) / s for p, s, c in axes)
        if (batch, *origin) in known:
            total += weight * known[(batch, *origin)]
            weights += weight
    return total / (weights + 1e-8)


CASES = [(1, (4,)), (3, (2, 2, 2)), (3, (8, 8, 8)), (3, (2, 4, 1)), (4, (4, 4, 4, 1))]


@pytest.mark.parametrize(("dimension", "strides"), CASES)
def test_interpolation_matches_its_definition(dimension, strides):
    fine, coarse = scene(dimension, strides)
    points = voxel_to_point(coarse, fine.map)
    assert points.map is fine.map
    expected = [interpolated(coarse, strides, point) for point in fine.coordinates.tolist()]
    torch.testing.assert_close(points.features, torch.stack(expected), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("dimension", "strides"), CASES)
def test_a_coarse_voxel_averages_its_points(dimension, strides):
    fine, coarse = scene(dimension, strides)
    voxels = point_to_voxel(fine, coarse.map)
    steps = torch.tensor((1, *strides))
    for origin, feature in zip(voxels.coordinates, voxels.features, strict=True):
        inside = ((fine.coordinates >= origin) & (fine.coordinates < origin + steps)).all(dim=1)
        torch.testing.assert_close(feature, fine.features[inside].mean(dim=0))


def test_points_outside_are_ignored_and_voxels_without_points_are_zero():
    coarse = SparseTensor(torch.ones(2, 1), torch.tensor([[0, 0], [0, 8]]), stride=4)
    fine = SparseTensor(
        torch.tensor([[2.0], [4.0], [9.0]]), torch.tensor([[0, 1], [0, 3], [0, 4]])
    )
    assert point_to_voxel(fine, coarse.map).features.tolist() == [[3.0], [0.0]]
    assert voxel_to_point(coarse, fine.map).features[:2].tolist() == [[1.0], [1.0]]


def test_features_do_not_change_between_voxels_of_one_stride():
    fine, _ = scene(3, (2, 2, 2))
    assert torch.equal(voxel_to_point(fine, fine.map).features, fine.features)
    assert torch.equal(point_to_voxel(fine, fine.map).features, fine.features)


def test_an_empty_tensor_can_be_interpolated_and_averaged():
    empty = SparseTensor(torch.zeros(0, 3), torch.zeros(0, 4, dtype=torch.long))
    coarse = empty.manager.coarser(empty.map, (2, 2, 2))
    voxels = point_to_voxel(empty, coarse)
    assert voxels.features.shape == (0, 3)
    assert voxel_to_point(voxels, empty.map).features.shape == (0, 3)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_the_precision_of_the_features_is_kept(dtype):
    fine, coarse = scene(3, (4, 4, 4))
    low = voxel_to_point(coarse.replace(coarse.features.to(dtype)), fine.map).features
    assert low.dtype == dtype
    exact = voxel_to_point(coarse, fine.map).features
    torch.testing.assert_close(low.double(), exact, rtol=0.0, atol=0.05)
    assert (
        point_to_voxel(fine.replace(fine.features.to(dtype)), coarse.map).features.dtype == dtype
    )


def test_the_mean_of_many_points_in_half_precision_is_exact():
    coordinates = torch.cartesian_prod(torch.tensor([0]), *[torch.arange(10)] * 3)
    points = SparseTensor(torch.ones(1000, 1, dtype=torch.bfloat16), coordinates)
    coarse = points.manager.coarser(points.map, (16, 16, 16))
    assert point_to_voxel(points, coarse).features.tolist() == [[1.0]]


def test_gradients_match_finite_differences():
    fine, coarse = scene(3, (2, 2, 2), count=12)

    def interpolate(features):
        return voxel_to_point(coarse.replace(features), fine.map).features

    def average(features):
        return point_to_voxel(fine.replace(features), coarse.map).features

    for function, tensor in ((interpolate, coarse), (average, fine)):
        assert torch.autograd.gradcheck(function, tensor.features.clone().requires_grad_())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_matches_the_cpu():
    fine, coarse = scene(3, (4, 4, 4))
    on_cuda = SparseTensor(fine.features.cuda(), fine.coordinates.cuda())
    coarse_map = on_cuda.manager.coarser(on_cuda.map, (4, 4, 4))
    voxels = point_to_voxel(on_cuda, coarse_map)
    torch.testing.assert_close(voxels.features.cpu(), point_to_voxel(fine, coarse.map).features)
    points = voxel_to_point(voxels, on_cuda.map).features.cpu()
    expected = voxel_to_point(point_to_voxel(fine, coarse.map), fine.map).features
    torch.testing.assert_close(points, expected)
