# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from minkowski_perception.sparse import CoordinateRangeError, SparseTensor, cat

COORDINATES = torch.tensor([[0, 2, 0, 0], [0, -1, 5, 3], [1, -1, 5, 3]])


def test_rows_are_sorted_into_canonical_order():
    features = torch.arange(3.0)[:, None]
    for order in ([0, 1, 2], [2, 0, 1], [1, 2, 0]):
        tensor = SparseTensor(features[order], COORDINATES[order])
        assert tensor.coordinates.tolist() == COORDINATES[[1, 0, 2]].tolist()
        assert tensor.features.flatten().tolist() == [1.0, 0.0, 2.0]


def test_features_are_looked_up_by_coordinate_and_zero_if_unoccupied():
    tensor = SparseTensor(torch.arange(1.0, 4.0)[:, None], COORDINATES)
    queries = torch.tensor([[1, -1, 5, 3], [0, 2, 0, 1], [0, 2, 0, 0]])
    assert tensor.at(queries).flatten().tolist() == [3.0, 0.0, 1.0]


def test_features_can_be_returned_in_input_order():
    features = torch.arange(3.0)[:, None]
    for order in ([0, 1, 2], [2, 0, 1], [1, 2, 0]):
        tensor = SparseTensor(features[order], COORDINATES[order])
        doubled = tensor.replace(2 * tensor.features)
        assert doubled.in_input_order().flatten().tolist() == [2.0 * i for i in order]
        assert doubled.in_input_order(slice(-1, None)).flatten().tolist() == [2.0 * order[-1]]


def test_input_order_is_refused_on_other_voxels():
    tensor = SparseTensor(torch.ones(3, 1), COORDINATES)
    other = SparseTensor(torch.ones(2, 1), COORDINATES[:2])
    moved = SparseTensor.on_map(other.features, other.map, tensor.manager)
    with pytest.raises(ValueError, match="not on the same 3 voxels"):
        moved.in_input_order()


def test_duplicate_coordinates_are_refused():
    with pytest.raises(ValueError, match=r"duplicate coordinates; call quantize\(\) first"):
        SparseTensor(torch.ones(2, 1), torch.zeros(2, 4, dtype=torch.int32))


def test_mismatched_shapes_are_refused_with_both_shapes():
    with pytest.raises(ValueError, match=r"\[2, 1\] and \[3, 4\]"):
        SparseTensor(torch.ones(2, 1), COORDINATES)


def test_float_coordinates_are_refused():
    with pytest.raises(ValueError, match=r"integers, not torch\.float32"):
        SparseTensor(torch.ones(3, 1), COORDINATES.float())


def test_coordinates_that_are_not_multiples_of_the_stride_are_refused():
    with pytest.raises(ValueError, match="multiples of the stride"):
        SparseTensor(torch.ones(3, 1), COORDINATES, stride=2)


def test_a_coordinate_out_of_range_is_refused():
    with pytest.raises(CoordinateRangeError, match="axis 0"):
        SparseTensor(torch.ones(1, 1), torch.tensor([[0, 10**6, 0, 0]]))


def test_sum_and_cat_need_the_same_voxels():
    a = SparseTensor(torch.ones(3, 1), COORDINATES)
    b = SparseTensor(torch.full((3, 2), 2.0), COORDINATES)
    assert cat([a, b]).features.tolist() == [[1.0, 2.0, 2.0]] * 3
    assert (a + a).features.tolist() == [[2.0]] * 3
    other = SparseTensor(torch.ones(2, 1), COORDINATES[:2])
    with pytest.raises(ValueError, match="not on the same 3 voxels"):
        cat([a, other])


@pytest.mark.parametrize("extent", [(1, 2, 3), (4, 5, 6), (7, 8, 9)])
def test_clipping_drops_parents_beyond_the_extent(extent):
    box = torch.cartesian_prod(torch.arange(2), *(torch.arange(n) for n in extent))
    tensor = SparseTensor(torch.ones(len(box), 1), box, clip=True)
    level = tensor.map
    for step in (2, 4, 8):
        level = tensor.manager.coarser(level, (2, 2, 2))
        expected = torch.cartesian_prod(
            torch.arange(2), *(torch.arange(n // step) * step for n in extent)
        )
        assert torch.equal(level.coordinates, expected)


def test_time_is_not_clipped():
    tensor = SparseTensor(torch.ones(2, 1), torch.tensor([[0] * 5, [0, 1, 1, 1, 2]]), clip=True)
    assert len(tensor.manager.coarser(tensor.map, (2, 2, 2, 1))) == 2


def test_an_empty_tensor_can_be_clipped():
    empty = torch.zeros(0, 4, dtype=torch.int64)
    tensor = SparseTensor(torch.zeros(0, 1), empty, clip=True)
    assert len(tensor.manager.coarser(tensor.map, (2, 2, 2))) == 0
