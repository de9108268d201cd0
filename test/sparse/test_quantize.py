# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
from unittest import mock

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from minkowski_perception.sparse import KeyLayout, keys, quantize
from minkowski_perception.sparse.quantize import compiled_means

ROWS = st.lists(st.tuples(st.integers(0, 1), st.integers(-3, 3), st.integers(-3, 3)), max_size=40)


# Hypothesis does not allow function-scoped fixtures.
@pytest.fixture(params=["compiled", "plain PyTorch"], autouse=True, scope="module")
def loops(request):
    if request.param == "compiled":
        if compiled_means is None:
            pytest.skip("needs Numba")
        yield
    else:
        with (
            mock.patch.object(keys, "compiled_keys", None),
            mock.patch("minkowski_perception.sparse.quantize.compiled_means", None),
        ):
            yield


@given(rows=ROWS)
def test_points_map_to_their_voxels_and_voxels_to_their_first_points(rows):
    coordinates = torch.tensor(rows, dtype=torch.long).reshape(-1, 3)
    result = quantize(coordinates)
    assert [tuple(c) for c in result.coordinates.tolist()] == sorted(set(rows))
    assert torch.equal(result.keys, KeyLayout.for_dimension(2).pack(result.coordinates))
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


def test_gradients_flow_through_the_mean():
    values = torch.ones(3, 2, requires_grad=True)
    mean = quantize(torch.tensor([[0, 0, 0], [0, 0, 0], [0, 0, 1]])).reduce(values, "mean")
    mean.sum().backward()
    assert values.grad.tolist() == [[0.5, 0.5], [0.5, 0.5], [1, 1]]
