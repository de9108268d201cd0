# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Temporal averaging: what was said of a place, and beside it, counts in what is said now."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from minkowski_perception.sparse import CoordinateMap, KernelMap, KeyLayout, RecentVoxels, cross
from minkowski_perception.voxels import VoxelFrame

_LAYOUT = KeyLayout.for_dimension(3)
_AROUND = cross((3, 3, 3))
"""A place, and after it those that it shares a face with."""
_BESIDE = 0.5
"""Weight of what was said of a place beside, next to what was said of the place itself."""


@dataclass(frozen=True)
class _Past:
    """What was said of the places that are remembered.

    Attributes:
        places: P voxels, their ages int16.
        origin: [3] int64, the voxel that they are relative to.
        sums: [P, K + 1] float16: of the classes' probabilities, and of their weights, when it was
            seen.
    """

    places: RecentVoxels
    origin: Tensor
    sums: Tensor

    def seen_from(self, origin: Tensor) -> _Past:
        """Return the same relative to another origin; places out of a key's range are left out."""
        if torch.equal(origin, self.origin):
            return self
        places, rows = self.places.shifted(self.origin - origin)
        return _Past(places, origin, self.sums.index_select(0, rows))

    def followed_by(self, places: CoordinateMap, sums: Tensor, horizon: int) -> _Past:
        """Return what is remembered after another frame.

        Args:
            places: M voxels of the frame.
            sums: [M, K + 1] of them.
            horizon: frames after which a place that was not seen is forgotten.
        """
        both, rows = self.places.followed_by(places, horizon)
        said = torch.cat([sums.half(), self.sums]).index_select(0, rows)
        return _Past(both, self.origin, said)


class TemporalAverage:
    """Mean of each voxel's class probabilities over the frames that saw it, new ones most.

    Voxels lie in the odometry frame, so a place keeps its voxel while the sensor moves. Each place
    has a sum of what was said of it, in which a frame counts (1 - 1 / length)^k when it is k
    frames old. Half of the sums of the places that share a face with it counts too: what is
    noisy or thinly seen comes to a voxel beside in the next frame. A place is forgotten when more
    than twice the length has gone by since it was seen.

    Args:
        length: frames, 1 or more: the most that the weights of one place add up to.
    """

    def __init__(self, length: int) -> None:
        self.length = length
        self._past: _Past | None = None

    def __call__(self, voxels: VoxelFrame, probabilities: Tensor) -> Tensor:
        """Average what a network says of a frame with what it said of those before.

        Args:
            voxels: M, later than those of the last call.
            probabilities: [M, K] float32 of the classes in each of them.

        Returns:
            [M, K] float32.
        """
        places = _map(voxels.coordinates)
        now = F.pad(probabilities, (0, 1), value=1)
        if self._past is None:
            seen = RecentVoxels.of(places, torch.int16)
            self._past = _Past(seen, voxels.origin, now.half())
            return probabilities
        past = self._past.seen_from(voxels.origin)
        pairs = KernelMap(past.places.map, places, _AROUND).pairs
        own = pairs.starts[1]
        weights = (1 - 1 / self.length) ** past.places.age[pairs.inputs]
        weights[own:] *= _BESIDE
        said = past.sums.index_select(0, pairs.inputs) * weights[:, None]
        rows = pairs.outputs.long()  # by which PyTorch adds up in a third of the time
        sums = now.index_add(0, rows[:own], said[:own])
        total = sums.index_add(0, rows[own:], said[own:])
        self._past = past.followed_by(places, sums, 2 * self.length)
        return total[:, :-1] / total[:, -1:]

    def clear(self) -> None:
        """Forget all frames."""
        self._past = None

    @property
    def nbytes(self) -> int:
        """Bytes that are kept."""
        return sum(tensor.nbytes for tensor in self.state().values())

    def state(self) -> dict[str, Tensor]:
        """All that is kept, as tensors by name."""
        if self._past is None:
            return {}
        return {
            "places": self._past.places.map.keys,
            "origin": self._past.origin,
            "age": self._past.places.age,
            "sums": self._past.sums,
        }

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Keep what `state` gave, and nothing else.

        Raises:
            ValueError: it is not what `state` gives.
        """
        self.clear()
        if not state:
            return
        if state.keys() != {"places", "origin", "age", "sums"}:
            names = ", ".join(sorted(state))
            raise ValueError(f"an average's state has places, origin, age and sums, not {names}")
        places = CoordinateMap(state["places"], _LAYOUT, (1, 1, 1))
        recent = RecentVoxels(places, state["age"])
        self._past = _Past(recent, state["origin"], state["sums"])


def _map(places: Tensor) -> CoordinateMap:
    """Voxels [M, 3] in canonical order, each once, to look others up among."""
    return CoordinateMap(_LAYOUT.pack(F.pad(places, (1, 0))), _LAYOUT, (1, 1, 1))
