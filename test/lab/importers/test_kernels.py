# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from plain_sparse import offsets

from minkowski_perception.lab.importers.kernels import (
    first_axis_fastest,
    last_axis_fastest,
    reordered,
    slices_of_box,
    torchsparse_order,
)
from minkowski_perception.sparse import KernelRegion, cube, hybrid

SIZES = [(2, 2, 2), (3, 3, 3), (5, 5, 5), (2, 2, 2, 1), (3, 3, 3, 3)]


@pytest.mark.parametrize("sizes", SIZES)
def test_orders_equal_the_reference_lists(sizes):
    region = cube(sizes)
    first, last = offsets("first-axis", sizes), offsets("last-axis", sizes)
    assert list(first_axis_fastest(region).offsets) == first
    assert list(last_axis_fastest(region).offsets) == last
    odd = sizes[0] % 2 == 1
    assert list(torchsparse_order(region).offsets) == (first if odd else last)


def test_an_order_does_not_depend_on_the_input_order():
    shuffled = KernelRegion(tuple(sorted(cube((3, 3, 3)).offsets, key=hash)))
    assert first_axis_fastest(shuffled) == cube((3, 3, 3))
    assert last_axis_fastest(shuffled) == last_axis_fastest(cube((3, 3, 3)))


def test_slices_move_with_their_offsets():
    # From MinkowskiEngine's sources: both even orders, and cube slices in hybrid order.
    even = reordered(torch.arange(8), last_axis_fastest(cube((2, 2, 2))), cube((2, 2, 2)))
    assert even.tolist() == [0, 4, 2, 6, 1, 5, 3, 7]
    of_hybrid = reordered(torch.arange(27), hybrid((3, 3, 3)), cube((3, 3, 3)))
    assert of_hybrid.tolist() == [
        *(19, 15, 23, 11, 9, 13, 21, 17, 25, 5, 3, 7, 1, 0),
        *(2, 6, 4, 8, 20, 16, 24, 12, 10, 14, 22, 18, 26),
    ]


def test_a_weight_of_spconv_is_split_into_slices():
    weight = torch.randn(5, 2, 2, 2, 4)
    slices = slices_of_box(weight)
    for k, (x, y, z) in enumerate(offsets("last-axis", (2, 2, 2))):
        assert torch.equal(slices[k], weight[:, x, y, z, :].T)


def test_a_weight_of_one_voxel_is_reinterpreted_not_transposed():
    weight = torch.arange(6.0).reshape(3, 1, 1, 1, 2)
    assert slices_of_box(weight).tolist() == [[[0, 1, 2], [3, 4, 5]]]
