# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Integer coordinates packed into one sortable 64-bit key a voxel.

Sorting by key sorts by batch, then by the first axis, and so on: the canonical order of all
sparse tensors, so that results do not depend on the order of the input. Adding an offset to a
coordinate is adding a constant to its key, which makes neighbour search a search in a sorted list.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

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
    """A coordinate lies outside of what a key can hold."""


@dataclass(frozen=True)
class KeyLayout:
    """How many of the 63 usable bits each column of [batch, axis 1, ..., axis D] gets.

    An eighth of each axis' span is kept free at either end: kernel offsets may point there without
    running into the next axis.
    """

    bits: tuple[int, ...]

    @classmethod
    def for_dimension(cls, dimension: int) -> KeyLayout:
        """Return the layout of a dimension: 7 bits of batch and 16, 16, 16, 8 in 4D, say.

        Raises:
            ValueError: no layout for that dimension.
        """
        if dimension not in _BITS:
            raise ValueError(f"dimension must be one of {sorted(_BITS)}, not {dimension}")
        return cls(_BITS[dimension])

    @property
    def dimension(self) -> int:
        """Number of axes, the batch not counted."""
        return len(self.bits) - 1

    @cached_property
    def margins(self) -> tuple[int, ...]:
        """Largest kernel offset along each axis, in voxels of stride 1."""
        return tuple(2 ** (b - 3) for b in self.bits[1:])

    @cached_property
    def limits(self) -> tuple[tuple[int, int], ...]:
        """Least and largest value of each column, both included."""
        axes = tuple(
            (-(2 ** (b - 1)) + m, 2 ** (b - 1) - m - 1)
            for b, m in zip(self.bits[1:], self.margins, strict=True)
        )
        return ((0, 2 ** self.bits[0] - 1), *axes)

    @cached_property
    def _shifts(self) -> tuple[int, ...]:
        return tuple(sum(self.bits[i + 1 :]) for i in range(len(self.bits)))

    def pack(self, coordinates: Tensor) -> Tensor:
        """Keys of coordinates.

        Args:
            coordinates: [N, 1 + D] integers, the batch index first.

        Returns:
            [N] int64.

        Raises:
            CoordinateRangeError: a value is outside of `limits`; the axis is named.
        """
        coordinates = coordinates.long()
        self._check(coordinates)
        keys = coordinates[:, 0] << self._shifts[0]
        for axis in range(1, len(self.bits)):
            keys = keys + ((coordinates[:, axis] + self._origin(axis)) << self._shifts[axis])
        return keys

    def unpack(self, keys: Tensor) -> Tensor:
        """Coordinates [N, 1 + D] int64 of keys [N]; undoes `pack`."""
        columns = [keys >> self._shifts[0]]
        for axis in range(1, len(self.bits)):
            field = (keys >> self._shifts[axis]) & (2 ** self.bits[axis] - 1)
            columns.append(field - self._origin(axis))
        return torch.stack(columns, dim=1)

    def floor(self, keys: Tensor, stride: tuple[int, ...]) -> Tensor:
        """Keys of the coordinates rounded down to multiples of a stride along each axis."""
        if all(step & (step - 1) == 0 for step in stride):
            # Origins are powers of two, so rounding down clears the lowest bits of each field.
            fields = zip(stride, self._shifts[1:], strict=True)
            return keys & ~sum((step - 1) << shift for step, shift in fields)
        steps = torch.tensor((1, *stride), device=keys.device)
        return self.pack(torch.div(self.unpack(keys), steps, rounding_mode="floor") * steps)

    def delta(self, offset: tuple[int, ...]) -> int:
        """Return what to add to a key so that its coordinate moves by `offset` (D integers).

        Raises:
            CoordinateRangeError: the offset is larger than the margin kept free for it.
        """
        for axis, (step, margin) in enumerate(zip(offset, self.margins, strict=True)):
            if abs(step) > margin:
                raise CoordinateRangeError(
                    f"kernel offset {step} along axis {axis} exceeds {margin} voxels"
                )
        return sum(step << shift for step, shift in zip(offset, self._shifts[1:], strict=True))

    def _origin(self, axis: int) -> int:
        return 2 ** (self.bits[axis] - 1)

    def _check(self, coordinates: Tensor) -> None:
        if len(coordinates) == 0:
            return
        low, high = torch.aminmax(coordinates, dim=0)
        for axis, (least, largest) in enumerate(self.limits):
            if low[axis] < least or high[axis] > largest:
                name = "batch" if axis == 0 else f"axis {axis - 1}"
                raise CoordinateRangeError(
                    f"{name} runs from {int(low[axis])} to {int(high[axis])}; "
                    f"{least} to {largest} is possible in {self.dimension}D"
                )
