# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Tests of capacities: padded lists of voxels have the rows of exact ones."""

import pytest
import torch
from torch.nn.functional import pad

from minkowski_perception.sparse import (
    Capacities,
    CapacityError,
    CoordinateMap,
    CoordinateRangeError,
    KeyLayout,
    RecentVoxels,
    cube,
    quantize,
)
from minkowski_perception.sparse.capacity import PADDING

LAYOUT = KeyLayout.for_dimension(4)
STRIDES = (1, 1, 1, 1), (2, 2, 2, 1)


def points(count, seed, low=-9):
    """Coordinates [batch, x, y, z, t] of random points at time 0."""
    generator = torch.Generator().manual_seed(seed)
    return pad(torch.randint(low, 9, (count, 3), generator=generator), (1, 1))


def padded(coordinates, rows=3):
    """Coordinates with rows of padding."""
    rows = torch.tensor([[-1, 0, 0, 0, 0]]).expand(rows, 5)
    return torch.cat([coordinates, rows])


def assert_rows(found, exact):
    """Compare the rows before the padding, and check that the last row is padding."""
    assert found.count == exact.count == len(exact) < len(found)
    assert torch.equal(found.keys[: len(exact)], exact.keys)
    assert (found.keys[len(exact) :] == PADDING).all()


def maps_of(coordinates, capacities):
    """The voxels of points, padded and exact."""
    quantized = quantize(padded(coordinates), capacities, "voxels"), quantize(coordinates)
    return tuple(
        CoordinateMap(each.keys, LAYOUT, STRIDES[0], sizes)
        for each, sizes in zip(quantized, (capacities, None), strict=True)
    )


def learnt(make, *args):
    """Capacities after a frame of all that a function makes, so that they are small."""
    capacities = Capacities()
    make(*args, capacities)
    finish(capacities)
    return capacities


def finish(capacities, *results):
    """Finish a frame; return its results on the host."""
    packed = capacities.packed(results)
    capacities.begin()
    return capacities.fetched(packed)


def test_points_fall_into_the_same_voxels_with_padding(monkeypatch):
    monkeypatch.setattr("minkowski_perception.sparse.capacity._GRAIN", 8)
    coordinates = points(400, seed=0, low=5)
    capacities = learnt(maps_of, coordinates)
    found = quantize(padded(coordinates), capacities, "voxels")
    exact = quantize(coordinates)
    count = len(exact.keys)
    assert count < len(found.keys) < 2 * count
    assert torch.equal(found.keys[:count], exact.keys)
    assert torch.equal(found.inverse[:400], exact.inverse)
    assert (found.inverse[400:] >= count).all()
    assert torch.equal(found.first[:count], exact.first)
    values = torch.rand(400, 2)
    mean = found.reduce(pad(values, (0, 0, 0, 3), value=torch.nan), "mean")
    assert torch.equal(mean[:count], exact.reduce(values, "mean"))


def test_coarser_finer_and_moved_voxels_are_the_same_with_padding():
    found, exact = maps_of(points(200, seed=1), Capacities())
    assert torch.equal(found.coordinates[: len(exact)], exact.coordinates)
    assert (found.coordinates[len(exact) :] == torch.tensor([-1, 0, 0, 0, 0])).all()
    assert_rows(found.coarsened(STRIDES[1]), exact.coarsened(STRIDES[1]))
    clip = torch.tensor([6, 6, 6, 1])
    assert_rows(found.coarsened(STRIDES[1], clip), exact.coarsened(STRIDES[1], clip))
    region = cube(STRIDES[1])
    assert_rows(found.expanded(STRIDES[0], region), exact.expanded(STRIDES[0], region))
    far = (LAYOUT.limits[1][1] - 3, 2, 0, 0)  # some leave the range
    moved = [RecentVoxels.of(each).shifted(far) for each in (found, exact)]
    assert 0 < len(moved[1][0].map) < len(exact)
    assert_rows(moved[0][0].map, moved[1][0].map)
    assert torch.equal(moved[0][1][: len(moved[1][1])], moved[1][1])


@pytest.mark.parametrize("known_is_padded", [True, False])
def test_recent_voxels_are_the_same_with_padding(known_is_padded):
    capacities = Capacities()
    seen, exact_seen = maps_of(points(60, seed=2), capacities)
    known, exact_known = maps_of(points(60, seed=3), capacities)
    known = RecentVoxels.of(known if known_is_padded else exact_known)
    found, rows = known.updated(seen, recall=2)
    expected, exact_rows = RecentVoxels.of(exact_known).updated(exact_seen, recall=2)
    count = len(expected.map)
    assert_rows(found.map, expected.map)
    assert torch.equal(found.age[:count], expected.age)
    earlier = exact_rows >= len(exact_seen)
    exact_rows += earlier * (len(seen) - len(exact_seen))
    assert torch.equal(rows[:count], exact_rows)


def test_a_count_above_its_capacity_is_an_error_and_fits_the_next_time():
    capacities = learnt(maps_of, points(20, seed=4))
    many = points(2000, seed=5, low=-20)
    found, _ = maps_of(many, capacities)
    assert found.keys[-1] != PADDING
    with pytest.raises(CapacityError, match=r"voxels in a capacity of 2"):
        finish(capacities)
    for _ in range(2):
        assert_rows(*maps_of(many, capacities))
        finish(capacities)


def test_coordinates_out_of_range_are_an_error_at_the_end_of_the_frame():
    capacities = Capacities()
    quantize(padded(torch.tensor([[0, 0, 0, 99999, 0]])), capacities, "voxels")
    with pytest.raises(CoordinateRangeError, match="axis 2 ranges from 0 to 99999"):
        finish(capacities)


def test_results_of_all_types_arrive_as_they_are():
    capacities = Capacities()
    maps_of(points(9, seed=6), capacities)
    given = [
        torch.arange(5, dtype=torch.uint8),
        torch.rand(3, 2),
        torch.zeros(0, 4),
        torch.arange(6).view(2, 3).T,
    ]
    for found, expected in zip(finish(capacities, *given), given, strict=True):
        assert found.dtype == expected.dtype
        assert torch.equal(found, expected)
