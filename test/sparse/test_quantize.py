# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from minkowski_perception.sparse import quantize

ROWS = st.lists(st.tuples(st.integers(0, 1), st.integers(-3, 3), st.integers(-3, 3)), max_size=40)


@given(rows=ROWS)
def test_points_map_to_their_voxels_and_voxels_to_their_first_points(rows):
    coordinates = torch.tensor(rows, dtype=torch.long).reshape(-1, 3)
    result = quantize(coordinates)
    assert [tuple(c) for c in result.coordinates.tolist()] == sorted(set(rows))
    assert result.slice(result.coordinates).equal(coordinates)
    assert result.first.tolist() == [rows.index(r) for r in sorted(set(rows))]


@given(rows=ROWS.filter(bool))
def test_mean_reduction_averages_the_points_of_each_voxel(rows):
    result = quantize(torch.tensor(rows))
    values = torch.randn(len(rows), 2, dtype=torch.float64)
    for row, mean in zip(result.coordinates.tolist(), result.reduce(values, "mean"), strict=True):
        members = [v for r, v in zip(rows, values, strict=True) if r == tuple(row)]
        torch.testing.assert_close(mean, torch.stack(members).mean(dim=0))


@given(
    values=st.lists(st.floats(0.125, 128.0, width=32), min_size=2, max_size=200),
    random=st.randoms(use_true_random=False),
)
def test_the_mean_does_not_depend_on_the_order_of_the_points(values, random):
    shuffled = random.sample(values, len(values))
    one_voxel = quantize(torch.zeros(len(values), 4, dtype=torch.long))
    a, b = (one_voxel.reduce(torch.tensor(v)[:, None], "mean") for v in (values, shuffled))
    assert a.dtype == torch.float32
    assert torch.equal(a, b)


def test_an_unknown_reduction_is_refused():
    with pytest.raises(ValueError, match="'first' or 'mean', not 'last'"):
        quantize(torch.zeros(1, 4, dtype=torch.long)).reduce(torch.ones(1, 1), "last")
