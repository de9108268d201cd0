# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Tests of the reference sparse operations against the dense ones of PyTorch."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from plain_sparse import (
    Levels,
    coarsen,
    convolve,
    convolve_transposed,
    devoxelise,
    offsets,
    voxelise,
)

CIN, COUT = 3, 2
# MinkowskiEngine's hybrid order: x, y, z and, in 4D, t of each slot.
HYBRID = """
0 0 0 0; -1 0 0 0; 1 0 0 0; 0 -1 0 0; 0 1 0 0; -1 -1 0 0; -1 1 0 0; 1 -1 0 0; 1 1 0 0;
0 0 -1 0; 0 0 1 0; -1 0 -1 0; -1 0 1 0; 1 0 -1 0; 1 0 1 0; 0 -1 -1 0; 0 -1 1 0;
0 1 -1 0; 0 1 1 0; -1 -1 -1 0; -1 -1 1 0; -1 1 -1 0; -1 1 1 0; 1 -1 -1 0; 1 -1 1 0;
1 1 -1 0; 1 1 1 0; 0 0 0 -1; 0 0 0 1
"""
HYBRID = [tuple(map(int, slot.split())) for slot in HYBRID.split(";")]


def random_tensor(*shape, seed=9):
    random = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=random, dtype=torch.float64)


def in_slots(dense, order):
    """Convert a dense kernel [X, Y, Z, Cin, Cout] to [K, Cin, Cout] in an order."""
    if order == "hybrid":
        return torch.stack([dense[x + 1, y + 1, z + 1] for x, y, z, t in HYBRID if not t])
    axes = {"first-axis": (2, 1, 0), "last-axis": (0, 1, 2)}[order]
    return dense.permute(*axes, 3, 4).flatten(0, 2)


def on_grid(shape, voxels, features):
    """Return dense features [1, C, X, Y, Z]; empty voxels are zero."""
    grid = torch.zeros(1, features.shape[1], *shape, dtype=torch.float64)
    grid[(0, slice(None), *voxels.T)] = features.T
    return grid


def at(grid, voxels):
    return grid[(0, slice(None), *voxels.T)].T


def some_voxels(shape, share):
    random = torch.Generator().manual_seed(3)
    voxels = torch.nonzero(torch.rand(shape, generator=random) < share)
    return voxels[torch.randperm(len(voxels), generator=random)]


@pytest.mark.parametrize(
    ("order", "size"),
    [("first-axis", 3), ("last-axis", 3), ("hybrid", 3), ("first-axis", 5), ("last-axis", 5)],
)
@pytest.mark.parametrize("share", [0.4, 1.0])
def test_odd_kernels_match_dense_convolution(order, size, share):
    voxels = some_voxels((7, 6, 5), share)
    features = random_tensor(len(voxels), CIN)
    dense = random_tensor(size, size, size, CIN, COUT)
    grid = on_grid((7, 6, 5), voxels, features)
    expected = F.conv3d(grid, dense.permute(4, 3, 0, 1, 2), padding=size // 2)
    # Negative coordinates with a spacing of 2, as at stride 2, give the same result.
    moved = voxels * 2 - 100
    kernel, region = in_slots(dense, order), offsets(order, (size,) * 3)
    result = convolve(features, moved, moved, kernel, region, (2, 2, 2))
    torch.testing.assert_close(result, at(expected, voxels))


@pytest.mark.parametrize("order", ["first-axis", "last-axis"])
@pytest.mark.parametrize("share", [0.2, 1.0])
def test_even_kernels_match_dense_strided_and_transposed_convolution(order, share):
    voxels = some_voxels((8, 6, 4), share)
    features = random_tensor(len(voxels), CIN)
    region = offsets(order, (2, 2, 2))
    coarse = coarsen(voxels, (2, 2, 2))

    dense = random_tensor(2, 2, 2, CIN, COUT)
    down = convolve(features, voxels, coarse, in_slots(dense, order), region, (1, 1, 1))
    grid = on_grid((8, 6, 4), voxels, features)
    expected = F.conv3d(grid, dense.permute(4, 3, 0, 1, 2), stride=2)
    torch.testing.assert_close(down, at(expected, coarse // 2))

    dense = random_tensor(2, 2, 2, COUT, CIN, seed=8)
    up = convolve_transposed(down, coarse, voxels, in_slots(dense, order), region, (1, 1, 1))
    grid = on_grid((4, 3, 2), coarse // 2, down)
    expected = F.conv_transpose3d(grid, dense.permute(3, 4, 0, 1, 2), stride=2)
    torch.testing.assert_close(up, at(expected, voxels))


def test_the_hybrid_order_is_that_of_minkowskiengine():
    assert offsets("hybrid", (3, 3, 3, 3)) == HYBRID
    assert offsets("hybrid", (3, 3, 3)) == [o[:3] for o in HYBRID[:27]]


@pytest.mark.parametrize("order", ["first-axis", "hybrid"])
def test_4d_kernels_match_dense_convolutions_of_frames(order):
    shape = (4, 5, 3, 3)
    voxels = some_voxels(shape, 0.5)
    features = random_tensor(len(voxels), CIN)
    dense = random_tensor(3, 3, 3, 3, CIN, COUT)
    if order == "hybrid":
        centre = torch.zeros(3, 3, 3, 3, 1, 1, dtype=torch.bool)
        centre[:, :, :, 1] = True
        centre[1, 1, 1] = True
        dense = dense * centre
        kernel = torch.stack([dense[tuple(s + 1 for s in o)] for o in HYBRID])
    else:
        kernel = dense.permute(3, 2, 1, 0, 4, 5).flatten(0, 3)
    result = convolve(features, voxels, voxels, kernel, offsets(order, (3,) * 4), (1,) * 4)

    grid = on_grid(shape, voxels, features)
    expected = torch.zeros(1, COUT, *shape, dtype=torch.float64)
    for t, dt in itertools.product(range(3), (-1, 0, 1)):
        if 0 <= t + dt < 3:
            frame = dense[:, :, :, dt + 1].permute(4, 3, 0, 1, 2)
            expected[..., t] += F.conv3d(grid[..., t + dt], frame, padding=1)
    torch.testing.assert_close(result, at(expected, voxels))


def test_levels_halve_space_but_not_time_and_can_clip_odd_extents():
    voxels = torch.tensor([[0, 0, 0, 0], [6, 2, 5, 1], [7, 3, 4, 1], [8, 0, 0, 2]])
    levels = Levels(voxels, depth=2)
    assert levels.voxels[1].tolist() == [[0, 0, 0, 0], [6, 2, 4, 1], [8, 0, 0, 2]]
    assert levels.voxels[2].tolist() == [[0, 0, 0, 0], [4, 0, 4, 1], [8, 0, 0, 2]]
    # Extents 9, 4, 6 become 4, 2, 3 and 2, 1, 1.
    levels = Levels(voxels[:, :3], depth=2, clip=True)
    assert levels.voxels[1].tolist() == [[0, 0, 0], [6, 2, 4]]
    assert levels.voxels[2].tolist() == [[0, 0, 0]]
    up = levels.up(
        0, torch.ones(2, 1).double(), torch.ones(8, 1, 1).double(), offsets("last-axis", (2, 2, 2))
    )
    assert up.tolist() == [[1], [1], [1], [0]]


def test_devoxelisation_reproduces_a_linear_function_if_all_corners_exist():
    slope = torch.tensor([2.0, -3.0, 5.0], dtype=torch.float64)
    voxels = torch.cartesian_prod(*[torch.arange(-8, 9, 4)] * 3)
    points = torch.randint(-8, 8, (50, 3), generator=torch.Generator().manual_seed(1))
    features = (voxels.double() @ slope)[:, None]
    result = devoxelise(features, voxels, points, 4)
    torch.testing.assert_close(result[:, 0], points.double() @ slope, atol=1e-6, rtol=1e-6)


def test_devoxelisation_rescales_the_weights_of_existing_corners():
    voxels = torch.tensor([[0, 0, 0], [4, 0, 0], [4, 4, 4]])
    features = torch.tensor([[1.0], [3.0], [7.0]], dtype=torch.float64)
    points = torch.tensor([[1, 0, 0], [1, 1, 0], [2, 2, 2], [-4, 0, 0]])
    result = devoxelise(features, voxels, points, 4)
    # Weights 3/4 and 1/4; the same after rescaling for missing corners; three equal weights; no
    # corner with a weight.
    expected = torch.tensor([[1.5], [1.5], [11 / 3], [0.0]], dtype=torch.float64)
    torch.testing.assert_close(result, expected, atol=1e-6, rtol=0)


def test_voxelisation_averages_the_points_of_each_voxel():
    voxels = torch.tensor([[0, 0, 0], [-2, 0, 0], [2, 2, 2]])
    points = torch.tensor([[1, 0, 1], [-1, 1, 0], [0, 0, 0]])
    features = torch.tensor([[1.0], [5.0], [3.0]], dtype=torch.float64)
    assert voxelise(features, points, voxels, 2).tolist() == [[2], [5], [0]]
