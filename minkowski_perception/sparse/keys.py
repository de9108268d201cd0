# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Packing of integer coordinates into sortable 64-bit keys, one per voxel.

Sorting by key sorts by batch, then by the first axis, and so on. This is the canonical order of
all sparse tensors, so results do not depend on the order of the input. Adding an offset to a
coordinate adds a constant to its key, so neighbour search is a search in a sorted list.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import torch
from torch import Tensor

from minkowski_perception.sparse.capacity import GROWING, PADDING, Capacities

try:
    from minkowski_perception.sparse import compiled_keys
except Exception:  # Numba is absent or does not fit NumPy: use PyTorch.
    compiled_keys = None  # type: ignore[assignment]

_BITS = {
    1: (20, 43),
    2: (15, 24, 24),
    3: (12, 17, 17, 17),
    4: (7, 16, 16, 16, 8),
    5: (6, 14, 14, 14, 7, 8),
    6: (3, 14, 14, 14, 6, 6, 6),
    7: (3, 12, 12, 12, 6, 6, 6, 6),
}


class CoordinateRangeError(ValueError):
    """A coordinate is outside the range of the keys."""


@dataclass(frozen=True)
class KeyLayout:
    """Number of bits, 63 in total, of each column of [batch, axis 1, ..., axis D].

    One eighth of each axis' range is reserved at either end, so that kernel offsets do not
    overflow into the next axis.
    """

    bits: tuple[int, ...]

    @classmethod
    def for_dimension(cls, dimension: int) -> KeyLayout:
        """Return the layout for a dimension; in 4D, 7 bits for the batch and 16, 16, 16, 8.

        Raises:
            ValueError: there is no layout for this dimension.
        """
        if dimension not in _BITS:
            raise ValueError(f"dimension must be one of {sorted(_BITS)}, not {dimension}")
        return cls(_BITS[dimension])

    @property
    def dimension(self) -> int:
        """Number of axes, without the batch."""
        return len(self.bits) - 1

    @cached_property
    def margins(self) -> tuple[int, ...]:
        """Largest kernel offset along each axis, in voxels of stride 1."""
        return tuple(2 ** (b - 3) for b in self.bits[1:])

    @cached_property
    def limits(self) -> tuple[tuple[int, int], ...]:
        """Smallest and largest value of each column, inclusive."""
        axes = tuple(
            (-(2 ** (b - 1)) + m, 2 ** (b - 1) - m - 1)
            for b, m in zip(self.bits[1:], self.margins, strict=True)
        )
        return ((0, 2 ** self.bits[0] - 1), *axes)

    @cached_property
    def _shifts(self) -> tuple[int, ...]:
        return tuple(sum(self.bits[i + 1 :]) for i in range(len(self.bits)))

    @cached_property
    def _origins(self) -> tuple[int, ...]:
        """Offset of each column, so that the fields of a key are not negative."""
        return (0, *(1 << (bits - 1) for bits in self.bits[1:]))

    def pack(self, coordinates: Tensor, capacities: Capacities | None = None) -> Tensor:
        """Return the keys of coordinates.

        Args:
            coordinates: [N, 1 + D] integers, the batch index first.
            capacities: of a frame; rows of batch -1 are padding, and the range is checked at the
                end of the frame. None without padding.

        Returns:
            [N] int64.

        Raises:
            CoordinateRangeError: a value is outside `limits`; the message names the axis.
        """
        coordinates = coordinates.long()
        if capacities is not None:
            keys = self.packed(coordinates).masked_fill_(coordinates[:, 0] < 0, PADDING)
            capacities.check(torch.stack(torch.aminmax(coordinates, dim=0)), self._check_padded)
            return keys
        if len(coordinates) == 0:
            return coordinates.new_zeros(0)
        if compiled_keys is not None and coordinates.device.type == "cpu":
            keys, *ends = compiled_keys.pack(coordinates, self._origins, self._shifts)
            low, high = (end.tolist() for end in ends)
        else:
            keys = self.packed(coordinates)
            # One copy, as each makes the host wait for the device.
            low, high = torch.stack(torch.aminmax(coordinates, dim=0)).tolist()
        self._check(low, high)
        return keys

    def packed(self, coordinates: Tensor) -> Tensor:
        """Return the keys of coordinates [N, 1 + D] int64 that are known to be in range."""
        if compiled_keys is not None and coordinates.device.type == "cpu" and len(coordinates):
            return compiled_keys.pack(coordinates, self._origins, self._shifts)[0]
        on_key = on_device((*self._origins, *self._shifts), coordinates.device)
        origins, shifts = on_key.chunk(2)
        return ((coordinates + origins) << shifts).sum(dim=1)

    def unpack(self, keys: Tensor) -> Tensor:
        """Return the coordinates [N, 1 + D] int64 of keys [N]; the inverse of `pack`."""
        fields = zip(self.bits, self._origins, self._shifts, strict=True)
        return torch.stack(
            [(keys >> shift & (1 << bits) - 1) - origin for bits, origin, shift in fields], dim=1
        )

    def floor(self, keys: Tensor, stride: tuple[int, ...]) -> Tensor:
        """Return the keys of the coordinates, rounded down to multiples of a stride."""
        if all(step & (step - 1) == 0 for step in stride):
            # Origins are powers of two, so rounding down clears the low bits of each field.
            fields = zip(stride, self._shifts[1:], strict=True)
            return keys & ~sum((step - 1) << shift for step, shift in fields)
        steps = on_device((1, *stride), keys.device)
        return self.packed(torch.div(self.unpack(keys), steps, rounding_mode="floor") * steps)

    def delta(self, offset: tuple[int, ...]) -> int:
        """Return the key difference that shifts a coordinate by `offset` (D integers).

        Raises:
            CoordinateRangeError: the offset exceeds `margins`.
        """
        for axis, (step, margin) in enumerate(zip(offset, self.margins, strict=True)):
            if abs(step) > margin:
                raise CoordinateRangeError(
                    f"kernel offset {step} along axis {axis} exceeds {margin} voxels"
                )
        return sum(step << shift for step, shift in zip(offset, self._shifts[1:], strict=True))

    def _check_padded(self, ends: list[int]) -> None:
        """Check the smallest values of the columns, then the largest; batch -1 is padding."""
        low, high = ends[: len(self.bits)], ends[len(self.bits) :]
        self._check([max(low[0], 0), *low[1:]], [max(high[0], 0), *high[1:]])

    def _check(self, low: Sequence[int], high: Sequence[int]) -> None:
        """Check the smallest and the largest value of each column."""
        for axis, (least, largest) in enumerate(self.limits):
            if low[axis] < least or high[axis] > largest:
                name = "batch" if axis == 0 else f"axis {axis - 1}"
                raise CoordinateRangeError(
                    f"{name} ranges from {low[axis]} to {high[axis]}; "
                    f"valid in {self.dimension}D: {least} to {largest}"
                )


@lru_cache(maxsize=1024)
def on_device(
    values: tuple[float, ...], device: torch.device, dtype: torch.dtype = torch.int64
) -> Tensor:
    """Return numbers as a tensor [N], not to be changed; they are copied to a device once."""
    return torch.tensor(values, dtype=dtype, device=device)


def group(
    keys: Tensor, capacities: Capacities | None = None, name: Hashable = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Group equal keys.

    Args:
        keys: [N] int64, in any order.
        capacities: of a frame, for keys with padding, which is the last group; None without.
        name: of the capacity of the groups.

    Returns:
        the M different keys, ascending; [N] int64, the row of each key among them; [M] int64, the
        lowest index of each.
    """
    if capacities is None and compiled_keys is not None and keys.device.type == "cpu":
        return compiled_keys.group(keys)
    ordered, order, inverse, starts = runs(keys, capacities, name)
    return ordered.index_select(0, starts), inverse, order.index_select(0, starts)


def runs(
    keys: Tensor, capacities: Capacities | None = None, name: Hashable = None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Sort keys, and find the runs of equal ones; arguments are those of `group`.

    Returns:
        [N] int64, the keys, ascending; [N] int64, the index of each, of equal ones the lowest
        first; [N] int64, the run of each key in the given order; [M] int64, the place of the first
        key of each run.
    """
    ordered, order = torch.sort(keys, stable=True)
    if capacities is not None and keys.device.type == "cuda":
        from minkowski_perception.sparse import run_kernels

        flags, numbers = run_kernels.begins_of(ordered)
        size = capacities.expect(name, numbers[-1:], len(keys))
        return ordered, order, *run_kernels.runs_of(order, flags, numbers, size)
    begins = torch.ones_like(keys, dtype=torch.bool)
    begins[1:] = ordered[1:] != ordered[:-1]
    inverse = torch.empty_like(order)
    inverse[order] = torch.cumsum(begins, dim=0) - 1
    if capacities is None:
        starts = begins.nonzero()[:, 0]  # once, as it makes the host wait for the device
    else:
        starts = capacities.select(name, begins)
        inverse.clamp_(max=len(starts) - 1)  # above it only where the capacity is too small
    return ordered, order, inverse, starts


def join(
    seen: Tensor,
    known: Tensor,
    ages: Tensor,
    recall: int,
    capacities: Capacities | None = None,
    name: Hashable = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Join the keys of a frame with those of earlier frames, which become one frame older.

    Args:
        seen: [M] int64 keys of the frame, ascending and unique.
        known: [N] int64 keys of earlier frames, likewise.
        ages: [N] integers, frames since these were last seen.
        recall: age above which keys are dropped.
        capacities: of a frame, for keys with padding; None without.
        name: of the capacity of the result.

    Returns:
        the keys, ascending and unique; their ages, 1 for those of the frame; int64, the source of
        each: below M a row of `seen`, from M on a row of `known`.
    """
    if capacities is None and compiled_keys is not None and seen.device.type == "cpu":
        return compiled_keys.join(seen, known, ages, recall)
    # The sort is stable: a key of the frame comes before the same key of an earlier one.
    keys, order = torch.sort(torch.cat([seen, known]), stable=True)
    ages = torch.cat([ages.new_ones(len(seen)), ages + 1]).index_select(0, order)
    lasts = ages <= recall
    lasts[1:] &= keys[1:] != keys[:-1]
    rows = lasts.nonzero()[:, 0] if capacities is None else capacities.select(name, lasts, GROWING)
    return keys.index_select(0, rows), ages.index_select(0, rows), order.index_select(0, rows)
