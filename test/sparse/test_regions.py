# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import oracle
import pytest

from minkowski_perception.sparse import KernelRegion, cross, cube, hybrid


@pytest.mark.parametrize("sizes", [(3,), (2, 3), (3, 3, 3), (5, 1, 3), (2, 2, 2, 1), (3, 3, 3, 3)])
def test_the_cube_has_all_offsets_of_the_box(sizes):
    region = cube(sizes)
    assert set(region.offsets) == oracle.offsets_of("cube", sizes)


def test_the_first_axis_of_a_cube_changes_fastest():
    assert cube((2, 2, 2)).offsets.index((1, 0, 0)) == 1
    assert cube((2, 2, 2)).offsets.index((0, 1, 1)) == 6
    for offset in cube((3, 3, 3, 3)).offsets:
        dx, dy, dz, dt = offset
        expected = (dx + 1) + 3 * (dy + 1) + 9 * (dz + 1) + 27 * (dt + 1)
        assert cube((3, 3, 3, 3)).offsets.index(offset) == expected


@pytest.mark.parametrize("sizes", [(3, 3, 3), (3, 3, 3, 3), (5, 3, 1)])
def test_a_cross_has_the_offsets_along_the_axes_only(sizes):
    assert set(cross(sizes).offsets) == oracle.offsets_of("cross", sizes)


def test_a_cross_has_the_centre_then_positive_and_negative_offsets_per_axis():
    expected = ((0, 0), (1, 0), (2, 0), (-2, 0), (-1, 0), (0, 1), (0, -1))
    assert cross((5, 3)).offsets == expected
    assert len(cross((3,) * 7)) == 15


def test_the_4d_hybrid_is_a_spatial_cube_and_a_cross_in_time():
    region = hybrid((3, 3, 3, 3), cross_axes=(3,))
    assert set(region.offsets) == oracle.offsets_of("hybrid", (3, 3, 3, 3), time_axis=3)
    assert region.offsets[27:] == ((0, 0, 0, -1), (0, 0, 0, 1))


def test_the_hybrid_has_the_order_of_minkowskiengine_0_4():
    order = [13, 12, 14, 10, 16, 9, 15, 11, 17, 4, 22, 3, 21, 5, 23, 1, 19, 7, 25, 0, 18, 6, 24]
    order += [2, 20, 8, 26]
    positions = [cube((3, 3, 3)).offsets.index(o) for o in hybrid((3, 3, 3)).offsets]
    assert positions == order


def test_even_sizes_are_refused_for_regions_with_a_centre():
    with pytest.raises(ValueError, match="odd sizes, not \\[2, 3\\]"):
        cross((2, 3))
    with pytest.raises(ValueError, match="odd sizes"):
        hybrid((3, 3, 3, 2), cross_axes=(3,))


def test_duplicate_offsets_and_mixed_dimensions_are_refused():
    with pytest.raises(ValueError, match="duplicate offsets"):
        KernelRegion(((0, 1), (0, 1)))
    with pytest.raises(ValueError, match="one dimension"):
        KernelRegion(((0, 1), (0, 1, 2)))
