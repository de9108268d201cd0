# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The plain operations against torch's dense ones, whose kernels have an axis per dimension."""

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
# MinkowskiEngine's hybrid order, written out: x, y, z and, in 4D, t of each slot.
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
    """Kernel [K, Cin, Cout] in an order, from one of axes [X, Y, Z, Cin, Cout]."""
    if order == "hybrid":
        return torch.stack([dense[x + 1, y + 1, z + 1] for x, y, z, t in HYBRID if not t])
    axes = {"first-axis": (2, 1, 0), "last-axis": (0, 1, 2)}[order]
    return dense.permute(*axes, 3, 4).flatten(0, 2)


def on_grid(shape, voxels, features):
    """Dense features [1, C, X, Y, Z], zero where no voxel is."""
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
def test_odd_kernels_are_dense_convolution_at_the_voxels(order, size, share):
    voxels = some_voxels((7, 6, 5), share)
    features = random_tensor(len(voxels), CIN)
    dense = random_tensor(size, size, size, CIN, COUT)
    grid = on_grid((7, 6, 5), voxels, features)
    expected = F.conv3d(grid, dense.permute(4, 3, 0, 1, 2), padding=size // 2)
    # Far into the negative, and two apart as at stride 2: the answer is the same.
    moved = voxels * 2 - 100
    kernel, region = in_slots(dense, order), offsets(order, (size,) * 3)
    result = convolve(features, moved, moved, kernel, region, (2, 2, 2))
    torch.testing.assert_close(result, at(expected, voxels))


@pytest.mark.parametrize("order", ["first-axis", "last-axis"])
@pytest.mark.parametrize("share", [0.2, 1.0])
def test_even_kernels_are_dense_convolution_down_and_its_transpose_up(order, share):
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


def test_the_hybrid_order_is_the_written_out_one():
    assert offsets("hybrid", (3, 3, 3, 3)) == HYBRID
    assert offsets("hybrid", (3, 3, 3)) == [o[:3] for o in HYBRID[:27]]


@pytest.mark.parametrize("order", ["first-axis", "hybrid"])
def test_kernels_in_4d_are_dense_convolutions_of_frames(order):
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


def test_levels_halve_space_alone_and_clip_odd_extents_where_asked():
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


def test_devoxelisation_reproduces_a_linear_function_where_all_corners_exist():
    slope = torch.tensor([2.0, -3.0, 5.0], dtype=torch.float64)
    voxels = torch.cartesian_prod(*[torch.arange(-8, 9, 4)] * 3)
    points = torch.randint(-8, 8, (50, 3), generator=torch.Generator().manual_seed(1))
    features = (voxels.double() @ slope)[:, None]
    result = devoxelise(features, voxels, points, 4)
    torch.testing.assert_close(result[:, 0], points.double() @ slope, atol=1e-6, rtol=1e-6)


def test_devoxelisation_shares_the_weight_of_missing_corners_among_the_others():
    voxels = torch.tensor([[0, 0, 0], [4, 0, 0], [4, 4, 4]])
    features = torch.tensor([[1.0], [3.0], [7.0]], dtype=torch.float64)
    points = torch.tensor([[1, 0, 0], [1, 1, 0], [2, 2, 2], [-4, 0, 0]])
    result = devoxelise(features, voxels, points, 4)
    # 3/4 and 1/4; the same again though half a quarter of the corners is missing; three eighths
    # of equal weight; and no corner of any weight at all.
    expected = torch.tensor([[1.5], [1.5], [11 / 3], [0.0]], dtype=torch.float64)
    torch.testing.assert_close(result, expected, atol=1e-6, rtol=0)


def test_voxels_take_the_mean_of_their_points():
    voxels = torch.tensor([[0, 0, 0], [-2, 0, 0], [2, 2, 2]])
    points = torch.tensor([[1, 0, 1], [-1, 1, 0], [0, 0, 0]])
    features = torch.tensor([[1.0], [5.0], [3.0]], dtype=torch.float64)
    assert voxelise(features, points, voxels, 2).tolist() == [[2], [5], [0]]
