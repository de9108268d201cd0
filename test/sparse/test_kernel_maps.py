# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Tests of kernel maps against their definition, with the compiled and the PyTorch search."""

import itertools
from itertools import pairwise
from unittest import mock

import oracle
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from minkowski_perception.sparse import (
    KernelMap,
    KernelRegion,
    SparseTensor,
    cross,
    cube,
    hybrid,
    kernel_maps,
)

DIMENSIONS = (2, 3, 4, 5)
KINDS = ("cube", "cross", "hybrid", "custom")
ODD = st.sampled_from([1, 3, 5])


# Hypothesis does not allow function-scoped fixtures.
@pytest.fixture(params=["compiled", "plain PyTorch"], autouse=True, scope="module")
def search(request):
    if request.param == "compiled":
        if kernel_maps.match is None:
            pytest.skip("needs numba")
        yield
    else:
        with mock.patch.object(kernel_maps, "match", None):
            yield


@st.composite
def voxels(draw, dimension, stride):
    """Draw a coordinate map of a few voxels around the origin, in up to three batches."""
    axis = st.integers(-5, 5)
    row = st.tuples(st.integers(0, 2), *[axis] * dimension)
    rows = torch.tensor(draw(st.lists(row, min_size=1, max_size=30, unique=True)))
    coordinates = rows * torch.tensor((1, *stride))
    return SparseTensor(torch.zeros(len(rows), 1), coordinates, stride).map


@st.composite
def regions(draw, dimension, kind):
    """Draw a kernel region that is small enough for plain loops."""
    if kind == "cube":
        sizes = draw(
            st.lists(st.integers(1, 4), min_size=dimension, max_size=dimension).filter(
                lambda sizes: torch.tensor(sizes).prod() <= 81
            )
        )
        return cube(sizes)
    if kind == "cross":
        return cross([draw(ODD) for _ in range(dimension)])
    if kind == "hybrid":
        time_axes = draw(st.sets(st.integers(0, dimension - 1), min_size=1))
        sizes = [draw(ODD) if axis in time_axes else 3 for axis in range(dimension)]
        return hybrid(sizes, sorted(time_axes))
    offset = st.tuples(*[st.integers(-3, 3)] * dimension)
    return KernelRegion(tuple(draw(st.lists(offset, min_size=1, max_size=12, unique=True))))


def strides(dimension):
    return st.tuples(*[st.integers(1, 2)] * dimension)


def rows_of(coordinate_map):
    return [tuple(c) for c in coordinate_map.coordinates.tolist()]


def pairs_of(kernel_map):
    """Return pairs (input voxel, output voxel) for each offset, in the order of the map."""
    source, target = rows_of(kernel_map.source), rows_of(kernel_map.target)
    inputs, outputs = kernel_map.pairs.inputs.tolist(), kernel_map.pairs.outputs.tolist()
    return [
        [(source[inputs[p]], target[outputs[p]]) for p in range(start, end)]
        for start, end in pairwise(kernel_map.pairs.starts)
    ]


def scaled(values, factors):
    return tuple(v * f for v, f in zip(values, factors, strict=True))


@pytest.mark.parametrize("dimension", DIMENSIONS)
@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=20)
@given(data=st.data())
def test_pairs_match_the_definition_in_both_directions(dimension, kind, data):
    stride = data.draw(strides(dimension), "stride of the input")
    source = data.draw(voxels(dimension, stride))
    step = data.draw(strides(dimension), "stride of the convolution")
    dilation = data.draw(st.integers(1, 2), "dilation")
    region = data.draw(regions(dimension, kind))
    target = source if set(step) == {1} else source.coarsened(scaled(stride, step))

    assert set(rows_of(target)) == {oracle.coarse(c, target.stride) for c in rows_of(source)}
    forward = KernelMap(source, target, region, dilation)
    expected = oracle.kernel_map(
        rows_of(source), rows_of(target), region.offsets, [dilation * s for s in stride]
    )
    assert pairs_of(forward) == expected
    swapped = [[(o, i) for i, o in pairs] for pairs in expected]
    assert pairs_of(forward.transposed()) == swapped


@pytest.mark.parametrize("dimension", DIMENSIONS)
@settings(max_examples=20)
@given(data=st.data())
def test_rows_are_unique_and_ascending_within_an_offset(dimension, data):
    source = data.draw(voxels(dimension, (1,) * dimension))
    region = data.draw(st.sampled_from(KINDS).flatmap(lambda kind: regions(dimension, kind)))
    step = data.draw(strides(dimension))
    target = source if set(step) == {1} else source.coarsened(step)
    for kernel_map in (forward := KernelMap(source, target, region), forward.transposed()):
        found = list(kernel_map)
        for _, inputs, outputs in found:
            assert inputs.dtype == outputs.dtype == torch.int32
            assert (inputs.diff() > 0).all()
            assert (outputs.diff() > 0).all()
        lengths = dict.fromkeys(range(len(region)), 0) | {k: len(rows) for k, rows, _ in found}
        ends = tuple(itertools.accumulate(lengths.values()))
        assert kernel_map.pairs.starts == (0, *ends)


@pytest.mark.parametrize("dimension", DIMENSIONS)
@settings(max_examples=20)
@given(data=st.data())
def test_opposite_offsets_have_the_same_pairs_swapped(dimension, data):
    source = data.draw(voxels(dimension, (1,) * dimension))
    region = data.draw(st.sampled_from(KINDS).flatmap(lambda kind: regions(dimension, kind)))
    found = dict(zip(region.offsets, pairs_of(KernelMap(source, source, region)), strict=True))
    for offset, pairs in found.items():
        opposite = found.get(tuple(-step for step in offset))
        if opposite is not None:
            assert sorted(pairs) == sorted((o, i) for i, o in opposite)


@pytest.mark.parametrize("dimension", DIMENSIONS)
@settings(max_examples=20)
@given(data=st.data())
def test_expansion_gives_all_voxels_that_a_transposed_kernel_reaches(dimension, data):
    fine = data.draw(strides(dimension))
    source = data.draw(voxels(dimension, scaled(fine, (2,) * dimension)))
    region = data.draw(st.sampled_from(KINDS).flatmap(lambda kind: regions(dimension, kind)))
    reached = {
        (c[0], *(a + b for a, b in zip(c[1:], scaled(offset, fine), strict=True)))
        for c in rows_of(source)
        for offset in region.offsets
    }
    assert rows_of(source.expanded(fine, region)) == sorted(reached)
