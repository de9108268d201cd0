# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
from unittest import mock

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from minkowski_perception.sparse import CoordinateRangeError, KeyLayout, keys

DIMENSIONS = range(1, 8)
KEYS = st.integers(0, 2**63 - 1)


# Hypothesis does not allow function-scoped fixtures.
@pytest.fixture(params=["compiled", "plain PyTorch"], autouse=True, scope="module")
def loops(request):
    if request.param == "compiled":
        if keys.compiled_keys is None:
            pytest.skip("needs Numba")
        yield
    else:
        with mock.patch.object(keys, "compiled_keys", None):
            yield


@pytest.mark.parametrize("dimension", DIMENSIONS)
def test_every_layout_uses_63_bits(dimension):
    assert sum(KeyLayout.for_dimension(dimension).bits) == 63


@given(data=st.data(), dimension=st.sampled_from(DIMENSIONS))
def test_unpack_inverts_pack_and_keys_sort_lexicographically(data, dimension):
    layout = KeyLayout.for_dimension(dimension)
    row = st.tuples(*(st.integers(low, high) for low, high in layout.limits))
    rows = data.draw(st.lists(row, min_size=1, max_size=20))
    packed = layout.pack(torch.tensor(rows))
    assert layout.unpack(packed).tolist() == [list(r) for r in rows]
    assert [rows[i] for i in torch.argsort(packed, stable=True).tolist()] == sorted(rows)


@pytest.mark.parametrize("dimension", DIMENSIONS)
def test_the_limits_can_be_packed_and_one_step_beyond_is_refused_with_its_axis(dimension):
    layout = KeyLayout.for_dimension(dimension)
    for column, (low, high) in enumerate(layout.limits):
        for inside, outside in ((low, low - 1), (high, high + 1)):
            row = torch.zeros(1, dimension + 1, dtype=torch.long)
            row[0, column] = inside
            assert layout.unpack(layout.pack(row)).equal(row)
            row[0, column] = outside
            name = "batch" if column == 0 else f"axis {column - 1}"
            with pytest.raises(
                CoordinateRangeError, match=f"{name} ranges from .*{low} to {high}"
            ):
                layout.pack(row)


@pytest.mark.parametrize("dimension", DIMENSIONS)
def test_adding_a_delta_shifts_a_coordinate_even_at_the_limit(dimension):
    layout = KeyLayout.for_dimension(dimension)
    row = torch.tensor([[high for _, high in layout.limits]])
    step = layout.margins
    moved = layout.unpack(layout.pack(row) + layout.delta(step))
    assert moved[0, 1:].tolist() == [a + b for a, b in zip(row[0, 1:].tolist(), step, strict=True)]
    assert moved[0, 0] == row[0, 0]


def test_an_offset_beyond_the_margin_is_refused():
    layout = KeyLayout.for_dimension(4)
    with pytest.raises(CoordinateRangeError, match="offset 33 along axis 3 exceeds 32"):
        layout.delta((0, 0, 0, 33))


def test_an_unknown_dimension_is_refused_with_the_valid_ones():
    with pytest.raises(ValueError, match=r"\[1, 2, 3, 4, 5, 6, 7\], not 8"):
        KeyLayout.for_dimension(8)


@pytest.mark.parametrize("stride", [(2, 2, 2, 1), (16, 8, 4, 2), (3, 1, 2, 5)], ids=str)
def test_floor_of_keys_rounds_their_coordinates_down(stride):
    layout = KeyLayout.for_dimension(4)
    coordinates = torch.randint(-80, 80, (500, 5))
    coordinates[:, 0].abs_()
    steps = torch.tensor((1, *stride))
    want = torch.div(coordinates, steps, rounding_mode="floor") * steps
    assert torch.equal(layout.unpack(layout.floor(layout.pack(coordinates), stride)), want)


@given(st.lists(st.integers(0, 9) | KEYS, max_size=60))
def test_groups_have_equal_keys_and_are_sorted(values):
    unique, inverse, first = keys.group(torch.tensor(values, dtype=torch.long))
    assert unique.tolist() == sorted(set(values))
    assert [unique[row] for row in inverse.tolist()] == values
    assert first.tolist() == [values.index(value) for value in unique.tolist()]


@given(
    seen=st.sets(st.integers(0, 30) | KEYS),
    known=st.dictionaries(st.integers(0, 30) | KEYS, st.integers(1, 5)),
    recall=st.integers(1, 6),
    dtype=st.sampled_from([torch.int16, torch.int64]),
)
def test_joined_keys_are_those_of_the_frame_and_the_recent_ones(seen, known, recall, dtype):
    older = {key: age + 1 for key, age in known.items() if age < recall}
    expected = sorted((older | dict.fromkeys(seen, 1)).items())
    new, old = sorted(seen), sorted(known)
    sources = {key: len(new) + i for i, key in enumerate(old)}
    sources |= {key: i for i, key in enumerate(new)}
    joined, ages, rows = keys.join(
        torch.tensor(new, dtype=torch.long),
        torch.tensor(old, dtype=torch.long),
        torch.tensor([known[key] for key in old], dtype=dtype),
        recall,
    )
    assert list(zip(joined.tolist(), ages.tolist(), strict=True)) == expected
    assert rows.tolist() == [sources[key] for key, _ in expected]
    assert ages.dtype == dtype
