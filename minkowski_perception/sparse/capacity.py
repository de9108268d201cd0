# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Capacities: how a GPU computes a frame without the host waiting for numbers of voxels.

The host must know the size of a tensor when it launches a kernel, but only the GPU knows how many
voxels there are. So each list of voxels has a capacity instead. Rows beyond the count are padding:

- their keys are `PADDING`, which sorts last, and the last row of each list is padding;
- their coordinates, where there are any, are zeros with batch -1;
- their features mean nothing, and no other row reads them.

The host learns the counts at the end of the frame, with its results. If one was above its
capacity, the frame is computed again with a larger one, and the state is as before it.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from functools import partial
from itertools import accumulate, pairwise
from math import prod
from typing import NamedTuple

import torch
from torch import Tensor

PADDING = torch.iinfo(torch.int64).max
"""Key of the rows beyond the count."""

_SPARE = 1.25
"""Capacity over the count that it was chosen for."""

GROWING = 2.0
"""The same for lists that grow from frame to frame, such as those of remembered voxels."""

_FULL = 0.97
"""Share of a capacity above which it grows, before a count exceeds it."""

_GRAIN = 256
"""Capacities are multiples of it."""


class CapacityError(Exception):
    """A count was above its capacity; the frame has to be computed again."""


class Packed(NamedTuple):
    """Results of a frame in one tensor on the device.

    Attributes:
        raw: [bytes] uint8, the numbers to be checked and the results.
        order: in which these are there.
        shapes: shape and type of the numbers and of each result.
        lengths: how many of the numbers belong to each check.
        accept: the checks.
    """

    raw: Tensor
    order: tuple[int, ...]
    shapes: tuple[tuple[torch.Size, torch.dtype], ...]
    lengths: tuple[int, ...]
    accept: tuple[Callable[[list[int]], None], ...]

    def unpacked(self, raw: Tensor) -> list[Tensor]:
        """Return the numbers and the results from a copy of `raw` on the host."""
        copies = [raw] * len(self.shapes)
        start = 0
        for i in self.order:
            shape, dtype = self.shapes[i]
            end = start + prod(shape) * dtype.itemsize
            copies[i] = raw[start:end].view(dtype).view(shape)
            start = end
        return copies


class Capacities:
    """The capacities of a stream, by name, and what is to be checked at the end of a frame."""

    def __init__(self) -> None:
        self._sizes: dict[Hashable, int] = {}
        self._checks: list[tuple[Tensor, Callable[[list[int]], None]]] = []
        self._pinned = torch.empty(0, dtype=torch.uint8)

    @property
    def sizes(self) -> dict[Hashable, int]:
        """The capacities by name."""
        return dict(self._sizes)

    def begin(self) -> None:
        """Start a frame."""
        self._checks.clear()

    def reserve(self, name: Hashable, count: int) -> int:
        """Return a capacity for a list whose count is known, with room for padding."""
        self._adapt(name, count + 1)
        return self._sizes[name]

    def select(self, name: Hashable, mask: Tensor, spare: float = _SPARE) -> Tensor:
        """Return the rows at which a mask is set; then, up to the capacity, the last row.

        Args:
            name: of the resulting list.
            mask: [N] bool, set for one row of padding.
            spare: capacity over the count that it is chosen for.

        Returns:
            [capacity] int64.
        """
        return rows_of(mask, self.expect(name, mask.sum()[None], len(mask), spare))

    def expect(self, name: Hashable, count: Tensor, most: int, spare: float = _SPARE) -> int:
        """Return the capacity of a list, and let its count be checked at the end of the frame.

        Args:
            name: of the list.
            count: [1] integer.
            most: its capacity while none is known: rows that it has at most.
            spare: capacity over the count that it is chosen for.
        """
        size = self._sizes.get(name, most)
        self.check(count, partial(self._fit, name, size, spare))
        return size

    def check(self, numbers: Tensor, accept: Callable[[list[int]], None]) -> None:
        """Let a function check integers [...] when the host knows them; it raises an error."""
        self._checks.append((numbers.flatten(), accept))

    def packed(self, tensors: Sequence[Tensor]) -> Packed:
        """Return results of a frame in one tensor, with all numbers that are to be checked."""
        numbers = torch.cat([numbers for numbers, _ in self._checks])
        lengths = tuple(len(numbers) for numbers, _ in self._checks)
        accept = tuple(accept for _, accept in self._checks)
        everything = [numbers, *tensors]
        order = sorted(range(len(everything)), key=lambda i: -everything[i].itemsize)  # aligned
        raw = torch.cat([everything[i].contiguous().view(-1).view(torch.uint8) for i in order])
        shapes = tuple((each.shape, each.dtype) for each in everything)
        return Packed(raw, tuple(order), shapes, lengths, accept)

    def fetched(self, packed: Packed) -> list[Tensor]:
        """Return results on the host, and check the numbers.

        It is the end of a frame and the only time at which the host waits.

        Raises:
            CapacityError: a count was above its capacity. All capacities are now as large as may
                be needed, and those of the frame after it fit again.
        """
        numbers, *results = packed.unpacked(self._on_host(packed.raw))
        values: list[int] = numbers.tolist()
        too_small = None
        ends = pairwise(accumulate(packed.lengths, initial=0))
        for (start, end), accept in zip(ends, packed.accept, strict=True):
            try:
                accept(values[start:end])
            except CapacityError as error:
                too_small = error
        if too_small is not None:
            self._sizes.clear()  # counts that rest on a list which was cut off are too low
            raise too_small
        return results

    def _on_host(self, raw: Tensor) -> Tensor:
        """Return bytes on the host, by way of pinned memory, which the device writes fastest."""
        if raw.device.type == "cpu":
            return raw
        if len(self._pinned) < len(raw):
            self._pinned = torch.empty(len(raw), dtype=torch.uint8).pin_memory()
        pinned = self._pinned[: len(raw)]
        pinned.copy_(raw, non_blocking=True)
        torch.cuda.current_stream(raw.device).synchronize()
        return pinned.clone()

    def _fit(self, name: Hashable, size: int, spare: float, counts: list[int]) -> None:
        self._adapt(name, counts[0], spare)
        if counts[0] > size:
            raise CapacityError(f"{counts[0]} rows of {name} in a capacity of {size}")

    def _adapt(self, name: Hashable, count: int, spare: float = _SPARE) -> None:
        """Choose another capacity where the present one is nearly full, or twice too large."""
        wanted = -(-int(spare * count) // _GRAIN) * _GRAIN
        size = self._sizes.get(name, 0)
        if count > _FULL * size or size > 2 * wanted:
            self._sizes[name] = wanted


def rows_of(mask: Tensor, size: int) -> Tensor:
    """Return the rows [size] at which a mask is set, then its last row."""
    return torch.nonzero_static(mask, size=size, fill_value=len(mask) - 1)[:, 0]
