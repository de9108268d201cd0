# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Running average of class log-probabilities over a voxel and its 26 neighbours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from minkowski_perception.sparse import (
    Capacities,
    CoordinateMap,
    KernelMap,
    KernelRegion,
    KeyLayout,
    RecentVoxels,
    cube,
    pool,
    softmax,
)
from minkowski_perception.sparse.threads import run_on_rows
from minkowski_perception.voxels import VoxelFrame

try:
    from minkowski_perception.streaming import compiled_averaging
except Exception:  # Numba is absent or does not fit NumPy: use PyTorch.
    compiled_averaging = None  # type: ignore[assignment]

_LAYOUT = KeyLayout.for_dimension(3)
_CPU = torch.device("cpu")
_OWN = KernelRegion(((0, 0, 0),))
_NEIGHBOURS = KernelRegion(tuple(filter(any, cube((3, 3, 3)).offsets)))
"""The 26 neighbours of a voxel."""
_COLUMNS = [_LAYOUT.delta(offset) for offset in cube((3, 3, 1)).offsets]
LEAST_PROBABILITY = 1e-3
"""Lower limit of averaged probabilities, so that no single frame can rule a class out."""


@dataclass(frozen=True)
class _Past:
    """Sums of recent voxels.

    Attributes:
        voxels: V of them, with ages int16.
        origin: [3] int64 on the CPU, the voxel that their coordinates are relative to.
        sums: [V, K + 1] float16, when the voxel was last seen: weighted log-probabilities of the
            classes, and the weight.
    """

    voxels: RecentVoxels
    origin: Tensor
    sums: Tensor

    def rebased(self, origin: Tensor) -> _Past:
        """Return the same relative to another origin, without voxels out of the range of keys."""
        if torch.equal(origin, self.origin):
            return self
        voxels, rows = self.voxels.shifted((self.origin - origin).tolist())
        return _Past(voxels, origin, self.sums.index_select(0, rows))

    def updated(self, seen: CoordinateMap, sums: Tensor, horizon: int) -> _Past:
        """Return the sums after the next frame.

        Args:
            seen: M voxels of the frame.
            sums: [M, K + 1] of these voxels.
            horizon: frames after which an unseen voxel is dropped.
        """
        voxels, rows = self.voxels.updated(seen, horizon, "average")
        kept = torch.cat([sums.half(), self.sums]).index_select(0, rows)
        return _Past(voxels, self.origin, kept)


class TemporalAverage:
    """Weighted geometric mean of class probabilities over recent frames and neighbouring voxels.

    Voxels are fixed in the odometry frame, so averages stay correct while the sensor moves. Each
    voxel has a weighted sum of its log-probabilities. When a voxel is seen, its new sum is that of
    the current frame, plus its old sum, plus the mean of the old sums of its 26 neighbours with
    the weight of one frame or less: points that are noisy or sparse fall into a neighbouring voxel
    in the next frame. Sums lose 1 / length of their weight in each frame. A voxel that was not
    seen for more than twice the length is dropped.

    Args:
        length: frames, 1 or more, in which the weight of a sum falls to about a third.
        device: of the probabilities and the sums.

    Attributes:
        kept: sums of recent voxels; None before the first frame.
    """

    def __init__(self, length: int, device: torch.device = _CPU) -> None:
        self.length = length
        self._device = device
        self.kept: _Past | None = None
        self._new: _Past | None = None
        self._origin = torch.zeros(3, dtype=torch.int64)

    def __call__(self, voxels: VoxelFrame, probabilities: Tensor) -> Tensor:
        """Return the averaged class probabilities of a frame, [M, K] float32.

        Args:
            voxels: M voxels of a frame that is later than that of the last call.
            probabilities: [M, K] float32, class probabilities of this frame.
        """
        self.begin(voxels.origin)
        averaged = self.averaged(voxels.quantization.keys, probabilities)
        self.keep(self.next)
        return averaged

    def begin(self, origin: Tensor | None) -> None:
        """Start a frame; discard one that was started but not kept.

        Args:
            origin: [3] int64 on the CPU, the voxel that its coordinates are relative to; None for
                a frame that is not averaged.
        """
        self._new = None
        if origin is not None:
            self._origin = origin
            self.kept = None if self.kept is None else self.kept.rebased(origin)

    def averaged(
        self, keys: Tensor, probabilities: Tensor, capacities: Capacities | None = None
    ) -> Tensor:
        """Return the averaged class probabilities of the frame; it is remembered by `keep`.

        Args:
            keys: [M] int64, of the frame's voxels.
            probabilities: [M, K] float32, class probabilities of this frame.
            capacities: of a frame whose keys end with padding; None without padding.
        """
        seen = CoordinateMap(keys, _LAYOUT, (1, 1, 1), capacities)
        if self.kept is None:
            recent = RecentVoxels.of(seen, torch.int16)
            sums = F.pad(_logarithm(probabilities), (0, 1), value=1)
            self._new = _Past(recent, self._origin, sums.half())
            return probabilities
        past = self.kept
        if capacities is not None and keys.device.type == "cuda":
            from minkowski_perception.streaming import average_kernel

            kernel_map = KernelMap(past.voxels.map, seen, average_kernel.REGION)
            sums, averages = average_kernel.averaged(
                probabilities, kernel_map, past.sums, past.voxels.age, self.length,
                LEAST_PROBABILITY,
            )  # fmt: skip
        else:
            fading = (1 - 1 / self.length) ** past.voxels.age
            sums = _sums(_logarithm(probabilities), seen, past, fading)
            averages = softmax(sums[:, :-1] / sums[:, -1:])
        self._new = past.updated(seen, sums, 2 * self.length)
        return averages

    @property
    def next(self) -> _Past | None:
        """What is remembered after the frame, as `kept`."""
        return self.kept if self._new is None else self._new

    def keep(self, kept: _Past | None) -> None:
        """Finish the frame: remember this from now on."""
        self.kept, self._new = kept, None

    def clear(self) -> None:
        """Drop all past frames."""
        self.kept = self._new = None

    @property
    def nbytes(self) -> int:
        """Size of the state in bytes."""
        past = self.kept
        if past is None:
            return 0
        tensors = past.voxels.map.keys, past.origin, past.voxels.age, past.sums
        return sum(tensor.nbytes for tensor in tensors)

    def state(self) -> dict[str, Tensor]:
        """Return the state as tensors by name; empty before the first frame."""
        if self.kept is None:
            return {}
        rows = slice(self.kept.voxels.map.count)
        return {
            "voxels": self.kept.voxels.map.keys[rows],
            "origin": self.kept.origin,
            "age": self.kept.voxels.age[rows],
            "sums": self.kept.sums[rows],
        }

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Replace the state by one that `state` returned.

        Raises:
            ValueError: the tensors have other names, or do not fit each other.
        """
        self.clear()
        if not state:
            return
        if state.keys() != {"voxels", "origin", "age", "sums"}:
            names = ", ".join(sorted(state))
            raise ValueError(
                f"the state of an average has voxels, origin, age and sums, not {names}"
            )
        keys, age, sums = (state[name].to(self._device) for name in ("voxels", "age", "sums"))
        if not len(keys) == len(age) == len(sums) or (keys[1:] <= keys[:-1]).any():
            raise ValueError("voxels must be ascending, with an age and sums each")
        voxels = RecentVoxels(CoordinateMap(keys, _LAYOUT, (1, 1, 1)), age)
        self.kept = _Past(voxels, state["origin"].cpu(), sums)


def _logarithm(probabilities: Tensor) -> Tensor:
    """Return the logarithm of limited probabilities [M, K]; on the CPU, on all threads."""
    if probabilities.device.type != "cpu":
        return torch.log(probabilities.clamp(min=LEAST_PROBABILITY))
    result = torch.empty_like(probabilities)
    run_on_rows(
        lambda rows: torch.log(probabilities[rows].clamp(min=LEAST_PROBABILITY), out=result[rows]),
        len(result),
    )
    return result


def _sums(now: Tensor, seen: CoordinateMap, past: _Past, fading: Tensor) -> Tensor:
    """Return the sums [M, K + 1] of a frame's voxels.

    Args:
        now: [M, K], log-probabilities of the frame.
        seen: its voxels.
        past: V voxels of earlier frames.
        fading: [V], factor on each of their sums.
    """
    voxels = past.voxels.map
    if compiled_averaging is not None and now.device.type == "cpu" and seen.capacities is None:
        return compiled_averaging.sums(now, seen.keys, voxels.keys, past.sums, fading, _COLUMNS)
    return sums_with_past(now, seen, voxels, past.sums * fading[:, None])


def sums_with_past(
    now: Tensor, seen: CoordinateMap, voxels: CoordinateMap, faded: Tensor
) -> Tensor:
    """Return the sums [M, K + 1] of a frame's voxels, differentiable.

    Args:
        now: [M, K], log-probabilities of the frame.
        seen: its voxels.
        voxels: V voxels of earlier frames.
        faded: [V, K + 1], their sums, faded.
    """
    own, neighbours = (
        pool(faded, KernelMap(voxels, seen, region), "sum") for region in (_OWN, _NEIGHBOURS)
    )
    return F.pad(now, (0, 1), value=1) + own + neighbours / neighbours[:, -1:].clamp(min=1)
