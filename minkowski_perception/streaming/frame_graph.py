# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""CUDA graph of a stream's frames: the host launches the kernels of a frame all at once.

With capacities, each frame launches the same kernels of the same shapes, as long as the capacities
stay the same. Its state is kept in the same memory. So the second such frame is recorded, and the
ones after it are replays.
"""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

from minkowski_perception.sparse import CoordinateMap

Result = TypeVar("Result")


@dataclass(frozen=True)
class _Recorded(Generic[Result]):
    """A graph, and the tensors that it reads and writes.

    Attributes:
        graph: of a frame.
        inputs: that it reads.
        result: that it writes.
        state: that it writes, in the order of the kept state.
    """

    graph: torch.cuda.CUDAGraph
    inputs: Sequence[Tensor]
    result: Result
    state: list[Tensor]


class FrameGraph(Generic[Result]):
    """Computes the frames of a stream on CUDA, by a graph where it can.

    The first replay must give the bits of the kernels launched one by one; if it does not, or
    cannot be recorded, there are no graphs from then on, and a warning says so.

    Args:
        enabled: whether there are graphs at all.

    Attributes:
        enabled: whether there still are.
    """

    def __init__(self, enabled: bool) -> None:
        self._key: Hashable = None
        self._kept: list[Tensor] = []
        self._recorded: _Recorded[Result] | None = None
        self.enabled = enabled

    def computed(
        self,
        key: Hashable,
        inputs: Sequence[Tensor],
        kept: Any,
        compute: Callable[[Sequence[Tensor]], tuple[Result, Tensor, Any]],
    ) -> tuple[Result, list[Tensor] | None]:
        """Compute a frame.

        Args:
            key: of all that the frame depends on but the contents of tensors.
            inputs: tensors on the device.
            kept: state on the device, that the frame reads.
            compute: returns, given the inputs, the result of the frame, the tensor that it is in,
                and the state that the next frame is to read.

        Returns:
            the result; after a replay the state that the next frame is to read, as in
            `device_tensors`, otherwise None.
        """
        tensors = device_tensors(kept)
        same = (key, list(map(id, tensors))) == (self._key, list(map(id, self._kept)))
        if not same:
            self._key, self._kept, self._recorded = key, tensors, None
        elif self._recorded is None and self.enabled:
            found, raw, next_kept = compute(inputs)
            state = device_tensors(next_kept)
            if not _alike(state, tensors):  # as after the first frame of a stream
                return found, None
            self._record(inputs, compute, [raw, *state])
        recorded = self._recorded
        if recorded is None:
            return compute(inputs)[0], None
        copy_all(recorded.inputs, inputs)
        recorded.graph.replay()
        return recorded.result, recorded.state

    def _record(
        self,
        inputs: Sequence[Tensor],
        compute: Callable[[Sequence[Tensor]], tuple[Result, Tensor, Any]],
        expected: Sequence[Tensor],
    ) -> None:
        """Record the frame, if it gives the expected results and state."""
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, capture_error_mode="thread_local"):
                result, raw, next_kept = compute(inputs)
            state = device_tensors(next_kept)
            graph.replay()
            right = all(map(_same_bits, expected, [raw, *state]))
            cause = "its results differ"
        except RuntimeError as error:
            right, cause = False, str(error)
        if right:
            self._recorded = _Recorded(graph, inputs, result, state)
        else:
            self.enabled = False
            warnings.warn(f"frames run without a CUDA graph: {cause}", stacklevel=2)


def _alike(some: Sequence[Tensor], others: Sequence[Tensor]) -> bool:
    """Return whether tensors have the shapes and types of others."""
    return [(t.shape, t.dtype) for t in some] == [(t.shape, t.dtype) for t in others]


def _same_bits(one: Tensor, other: Tensor) -> bool:
    """Return whether tensors have the same bits; padding may be NaN, which equals nothing."""
    bits = (each.contiguous().view(-1).view(torch.uint8) for each in (one, other))
    return torch.equal(*bits)


def device_tensors(kept: Any) -> list[Tensor]:
    """Return the tensors of a state that are on CUDA, in a fixed order."""
    found: list[Tensor] = []

    def note(tensor: Tensor) -> Tensor:
        found.append(tensor)
        return tensor

    _mapped(kept, note)
    return found


def in_place(kept: Any, former: Any) -> Any:
    """Return a state in the memory of a former one, if that has tensors of the same shapes."""
    new, old = device_tensors(kept), device_tensors(former)
    if list(map(id, new)) == list(map(id, old)):
        return kept
    if not _alike(new, old):
        return kept
    copy_all(old, new)
    rest = iter(old)
    return _mapped(kept, lambda _: next(rest))


def copy_all(targets: Sequence[Tensor], sources: Sequence[Tensor]) -> None:
    """Copy tensors to others of the same shapes, in one launch for each type."""
    by_type: defaultdict[torch.dtype, tuple[list[Tensor], list[Tensor]]]
    by_type = defaultdict(lambda: ([], []))
    for target, source in zip(targets, sources, strict=True):
        if target is not source:
            by_type[target.dtype][0].append(target)
            by_type[target.dtype][1].append(source)
    for some, others in by_type.values():
        torch._foreach_copy_(some, others)


def _mapped(kept: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """Return a state of dataclasses, dictionaries and tuples with other tensors on CUDA."""
    if isinstance(kept, Tensor):
        return change(kept) if kept.device.type == "cuda" else kept
    if isinstance(kept, CoordinateMap):
        keys = _mapped(kept.keys, change)
        return CoordinateMap(keys, kept.layout, kept.stride, kept.capacities)
    if isinstance(kept, dict):
        return {name: _mapped(part, change) for name, part in kept.items()}
    if isinstance(kept, tuple):
        return tuple(_mapped(part, change) for part in kept)
    if is_dataclass(kept) and not isinstance(kept, type):
        parts = {f.name: _mapped(getattr(kept, f.name), change) for f in fields(kept)}
        return replace(kept, **parts)
    return kept
