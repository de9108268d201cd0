# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Kernel maps: the pairs of input and output voxels for each offset of a kernel."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from minkowski_perception.sparse.coordinates import CoordinateMap, scaled
from minkowski_perception.sparse.keys import KeyLayout
from minkowski_perception.sparse.regions import KernelRegion

try:
    from minkowski_perception.sparse.matching import match
except Exception:  # Numba is absent or does not fit NumPy: search with PyTorch.
    match = None  # type: ignore[assignment]


@dataclass(frozen=True)
class Pairs:
    """Pairs of input and output rows, in runs of one offset each.

    Attributes:
        inputs: [P] int32, input rows; ascending within a run.
        outputs: [P] int32, output rows; ascending and unique within a run.
        starts: R + 1 indices; run r has the pairs from starts[r] to starts[r + 1].
        offsets: R indices of the runs' offsets; None if run k has offset k, for all offsets.
    """

    inputs: Tensor
    outputs: Tensor
    starts: tuple[int, ...]
    offsets: tuple[int, ...] | None = None

    @property
    def run_offsets(self) -> Sequence[int]:
        """Index of each run's offset."""
        return range(len(self.starts) - 1) if self.offsets is None else self.offsets

    def swapped(self) -> Pairs:
        """Return the pairs with inputs and outputs swapped.

        If a run has an input row more than once, the result has further runs.
        """
        inputs, outputs = self.outputs, self.inputs
        index = torch.arange(len(outputs), device=outputs.device)
        starts = torch.tensor(self.starts, device=outputs.device)
        is_new = torch.ones(len(outputs) + 1, dtype=torch.bool, device=outputs.device)
        is_new[1:-1] = outputs[1:] != outputs[:-1]
        is_new[starts] = True
        is_new = is_new[:-1]
        if is_new.all():
            return Pairs(inputs, outputs, self.starts, self.offsets)
        occurrence = index - torch.where(is_new, index, 0).cummax(dim=0).values
        rounds = [(occurrence == i).nonzero()[:, 0] for i in range(int(occurrence.max()) + 1)]
        ends = [0]
        for rows in rounds:
            ends += (ends[-1] + torch.searchsorted(rows, starts[1:])).tolist()
        rows = torch.cat(rounds)
        return Pairs(
            inputs.index_select(0, rows),
            outputs.index_select(0, rows),
            tuple(ends),
            tuple(self.run_offsets) * len(rounds),
        )


class Search(NamedTuple):
    """Input rows that a kernel map looks up in one sorted list of keys.

    Attributes:
        keys: [N] int64, ascending.
        deltas: difference between the keys of input and output, for each offset.
        first_row: row of the first key among the kernel map's inputs.
    """

    keys: Tensor
    deltas: tuple[int, ...]
    first_row: int


class KernelMap:
    """Neighbours in `source` of each voxel of `target`; searched at first use.

    Offset k pairs target voxel u with source voxel u + offset_k * dilation * source.stride.

    Args:
        source: input voxels.
        target: output voxels.
        region: the kernel's offsets.
        dilation: factor on the offsets.
        forward: the map whose transpose this is; None if it is not a transpose.
    """

    def __init__(
        self,
        source: CoordinateMap,
        target: CoordinateMap,
        region: KernelRegion,
        dilation: int = 1,
        forward: KernelMap | None = None,
    ) -> None:
        self.source = source
        self.target = target
        self.region = region
        self.dilation = dilation
        self.forward = forward

    def __len__(self) -> int:
        return len(self.region)

    def __iter__(self) -> Iterator[tuple[int, Tensor, Tensor]]:
        """Yield (offset index, input rows, output rows) of each run that has pairs."""
        pairs = self.pairs
        # Without own offsets there is one run for each offset of the region, and no other number.
        offsets = range(len(self)) if pairs.offsets is None else pairs.offsets
        for k, (start, end) in zip(offsets, pairwise(pairs.starts), strict=True):
            if end > start:
                yield k, pairs.inputs[start:end], pairs.outputs[start:end]

    def transposed(self) -> KernelMap:
        """Return the map of the transposed convolution: inputs and outputs swapped."""
        return KernelMap(self.target, self.source, self.region, self.dilation, forward=self)

    @cached_property
    def centre(self) -> int | None:
        """Index of the zero offset if source and target are the same map; None otherwise."""
        if self.source is not self.target:
            return None
        return next((k for k, o in enumerate(self.region.offsets) if not any(o)), None)

    @cached_property
    def deltas(self) -> tuple[int, ...]:
        """Difference between the keys of input and output voxel, for each offset.

        Raises:
            CoordinateRangeError: an offset is larger than the key layout allows.
        """
        if self.forward is not None:
            return tuple(-delta for delta in self.forward.deltas)
        step = tuple(s * self.dilation for s in self.source.stride)
        return _deltas(self.source.layout, self.region, step)

    @cached_property
    def pairs(self) -> Pairs:
        """All pairs of input and output rows.

        Raises:
            CoordinateRangeError: an offset is larger than the key layout allows.
        """
        if self.forward is not None:
            return self.forward._swapped_pairs
        if self.centre is not None and len(self) == 1:
            rows = torch.arange(
                len(self.source), dtype=torch.int32, device=self.source.keys.device
            )
            return Pairs(rows, rows, (0, len(rows)))
        # If source and target are the same map, the opposite offset has the same pairs, swapped.
        mirrored = self._mirrored() if self.source is self.target else {}
        searched = [k for k in range(len(self)) if k not in mirrored]
        found = dict(zip(searched, self._search(searched), strict=True))
        for k, twin in mirrored.items():
            found[k] = found[twin][::-1]
        inputs, outputs = zip(*(found[k] for k in range(len(self))), strict=True)
        starts = [0]
        for rows in inputs:
            starts.append(starts[-1] + len(rows))
        return Pairs(torch.cat(inputs), torch.cat(outputs), tuple(starts))

    @cached_property
    def _swapped_pairs(self) -> Pairs:
        pairs = self.pairs
        if self.repeats_inputs:
            return pairs.swapped()
        return Pairs(pairs.outputs, pairs.inputs, pairs.starts, pairs.offsets)

    @property
    def repeats_inputs(self) -> bool:
        """Whether an offset may pair an input row with more than one output row."""
        return False

    def neighbours(self) -> Iterator[Tensor]:
        """Look up the input row of each output row at each offset, -1 if there is none.

        Yields:
            [k, N] int64, in the order of the offsets; K offsets in total.

        Raises:
            CoordinateRangeError: an offset is larger than the key layout allows.
        """
        return self._look_up(self.deltas)

    def rows(self) -> Tensor:
        """Return all `neighbours`, [K, N] int32; a device is not waited for."""
        return torch.cat([some.int() for some in self.neighbours()])

    @property
    def searches(self) -> tuple[Search, ...] | None:
        """One or two lookups that together are `neighbours`; None if that takes more than those.

        Raises:
            CoordinateRangeError: an offset is larger than the key layout allows.
        """
        return (Search(self.source.keys, self.deltas, 0),)

    @property
    def _reach(self) -> int:
        """Largest distance below a key at which a source key still pairs; see `match`."""
        return 0

    def _look_up(self, deltas: Sequence[int]) -> Iterator[Tensor]:
        """See `neighbours`; only for some key differences."""
        return self.source.neighbours(self.target.keys, deltas)

    def _mirrored(self) -> Mapping[int, int]:
        """Index of the opposite offset, for the second offset of each opposite pair."""
        return _opposites(self.region)

    def _search(self, offsets: Sequence[int]) -> list[tuple[Tensor, Tensor]]:
        """Find the input and output rows of some offsets, in few calls."""
        deltas = [self.deltas[k] for k in offsets]
        keys = self.target.keys
        if match is not None and keys.device.type == "cpu":
            return match(self.source.keys, keys, deltas, self._reach)
        found: list[tuple[Tensor, Tensor]] = []
        for rows in self._look_up(deltas):
            offset, outputs = torch.nonzero(rows >= 0, as_tuple=True)
            counts = torch.bincount(offset, minlength=len(rows)).tolist()
            inputs = rows[offset, outputs].int()
            found += zip(inputs.split(counts), outputs.int().split(counts), strict=True)
        return found


def mask_words(rows: Tensor) -> Tensor:
    """Return bits that say at which offsets each output has an input, [N] int32.

    Args:
        rows: [K, N] int32 input rows, -1 for none, of at most 32 offsets; bit k is offset k.
    """
    bits = torch.arange(len(rows), dtype=torch.int32, device=rows.device)
    return ((rows >= 0).int() << bits[:, None]).sum(dim=0, dtype=torch.int32)


@cache
def _deltas(layout: KeyLayout, region: KernelRegion, step: tuple[int, ...]) -> tuple[int, ...]:
    """Return the key differences of a region's offsets, scaled by a step."""
    return tuple(layout.delta(scaled(offset, step)) for offset in region.offsets)


@cache
def _opposites(region: KernelRegion) -> Mapping[int, int]:
    """Return the index of the opposite offset, for the second offset of each opposite pair."""
    position = {offset: k for k, offset in enumerate(region.offsets)}
    twins = {k: position.get(tuple(-step for step in offset), k) for offset, k in position.items()}
    return {k: twin for k, twin in twins.items() if twin < k}
