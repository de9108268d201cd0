# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Temporal averaging: what was said of a place, and around it, counts in what is said now."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from minkowski_perception.sparse import (
    CoordinateMap,
    KernelMap,
    KernelRegion,
    KeyLayout,
    RecentVoxels,
    cube,
    pool,
)
from minkowski_perception.voxels import VoxelFrame

_LAYOUT = KeyLayout.for_dimension(3)
_HERE = KernelRegion(((0, 0, 0),))
_AROUND = KernelRegion(tuple(filter(any, cube((3, 3, 3)).offsets)))
"""The 26 places that touch one."""
_LEAST = 1e-3
"""Probability below which none is told from another: no frame alone can rule a class out."""


@dataclass(frozen=True)
class _Past:
    """What was said of the places that are remembered.

    Attributes:
        places: P voxels, their ages int16.
        origin: [3] int64, the voxel that they are relative to.
        sums: [P, K + 1] float16: of the logarithms of the classes' probabilities, and of their
            weights, when it was seen.
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
        both, rows = self.places.updated(places, horizon)
        said = torch.cat([sums.half(), self.sums]).index_select(0, rows)
        return _Past(both, self.origin, said)


class TemporalAverage:
    """Geometric mean of each voxel's class probabilities and those before it, there and around.

    Voxels lie in the odometry frame, so a place keeps its voxel while the sensor moves. Each place
    has a sum of what was said of it. When it is seen again, what is said now is added to it, and
    the mean of the sums around it, of the 26 places that touch it, as if they were one frame: what
    is noisy or thinly seen comes to a voxel beside in the next frame. Sums lose 1 / length of
    their weight in each frame. A place is forgotten when more than twice the length has gone by
    since it was seen.

    Args:
        length: frames, 1 or more, in which a sum's weight falls to about a third.
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
        now = F.pad(probabilities.clamp(min=_LEAST).log(), (0, 1), value=1)
        if self._past is None:
            seen = RecentVoxels.of(places, torch.int16)
            self._past = _Past(seen, voxels.origin, now.half())
            return probabilities
        past = self._past.seen_from(voxels.origin)
        faded = past.sums * ((1 - 1 / self.length) ** past.places.age)[:, None]
        here, around = (
            pool(faded, KernelMap(past.places.map, places, region), "sum")
            for region in (_HERE, _AROUND)
        )
        sums = now + here + around / around[:, -1:].clamp(min=1)
        self._past = past.followed_by(places, sums, 2 * self.length)
        return torch.softmax(sums[:, :-1] / sums[:, -1:], dim=1)

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
