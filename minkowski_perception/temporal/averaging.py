# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Temporal averaging: what was said of a place, or beside it, counts in what is said now."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from minkowski_perception.sparse import CoordinateMap, KernelMap, KeyLayout, cross, cube
from minkowski_perception.voxels import VoxelFrame

_LAYOUT = KeyLayout.for_dimension(3)
_SAME_PLACE = cube((1, 1, 1))
_FACES = cross((3, 3, 3))
_BESIDE = 0.5
"""Weight of a frame that saw no more of a place than what is beside it."""


@dataclass(frozen=True)
class _Said:
    """What was said of a frame.

    Attributes:
        places: M voxels.
        origin: [3] int64, the voxel that they are relative to.
        values: [M, K + 1] float32: probabilities of the classes, and 1, which adds up to weights.
    """

    places: CoordinateMap
    origin: Tensor
    values: Tensor

    def seen_from(self, origin: Tensor) -> _Said:
        """Return the same relative to another origin."""
        if torch.equal(origin, self.origin):
            return self
        return _Said(_map(self.coordinates + self.origin - origin), origin, self.values)

    @property
    def coordinates(self) -> Tensor:
        """[M, 3] int64 of the voxels."""
        return self.places.coordinates[:, 1:]

    @property
    def nbytes(self) -> int:
        """Bytes that are kept."""
        return self.places.keys.nbytes + self.origin.nbytes + self.values.nbytes


class TemporalAverage:
    """Mean of each voxel's class probabilities over the last frames that saw something there.

    Voxels lie in the odometry frame, so a place keeps its voxel while the sensor moves. A frame
    that it was not occupied in speaks through the voxels that it shares a face with, by the mean
    of those that were, and counts half: what is noisy or thinly seen comes to a voxel of its own
    in each frame.

    Args:
        length: frames to look at, this one among them, 1 or more.
    """

    def __init__(self, length: int) -> None:
        self._past: deque[_Said] = deque(maxlen=length - 1)

    @property
    def length(self) -> int:
        """Frames that it looks at, the newest among them."""
        assert self._past.maxlen is not None
        return self._past.maxlen + 1

    def __call__(self, voxels: VoxelFrame, probabilities: Tensor) -> Tensor:
        """Average what a network says of a frame with what it said of those before.

        Args:
            voxels: M, later than those of the last call.
            probabilities: [M, K] float32 of the classes in each of them.

        Returns:
            [M, K] float32.
        """
        now = _Said(_map(voxels.coordinates), voxels.origin, F.pad(probabilities, (0, 1), value=1))
        total = now.values.clone()
        self._past = deque((s.seen_from(now.origin) for s in self._past), self._past.maxlen)
        for before in self._past:
            pairs = KernelMap(before.places, now.places, _SAME_PLACE).pairs
            total.index_add_(0, pairs.outputs, before.values.index_select(0, pairs.inputs))
            unseen = torch.ones(len(total), dtype=torch.bool)
            unseen[pairs.outputs] = False
            rows = unseen.nonzero()[:, 0]
            pairs = KernelMap(before.places, now.places.subset(rows), _FACES).pairs
            weights = _BESIDE / torch.bincount(pairs.outputs, minlength=len(rows))
            beside = before.values.index_select(0, pairs.inputs)
            total.index_add_(0, rows[pairs.outputs], beside * weights[pairs.outputs, None])
        self._past.append(now)
        return total[:, :-1] / total[:, -1:]

    def clear(self) -> None:
        """Forget all frames."""
        self._past.clear()

    @property
    def nbytes(self) -> int:
        """Bytes of the frames that are kept."""
        return sum(said.nbytes for said in self._past)

    def state(self) -> dict[str, Tensor]:
        """All that is kept, as tensors by name."""
        state: dict[str, Tensor] = {}
        for i, said in enumerate(self._past):
            state |= {
                f"{i}.places": said.coordinates,
                f"{i}.origin": said.origin,
                f"{i}.said": said.values,
            }
        return state

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Keep what `state` gave, and nothing else."""
        self.clear()
        for i in range(len(state) // 3):
            places = _map(state[f"{i}.places"])
            self._past.append(_Said(places, state[f"{i}.origin"], state[f"{i}.said"]))


def _map(places: Tensor) -> CoordinateMap:
    """Voxels [M, 3] in canonical order, each once, to look others up among."""
    return CoordinateMap(_LAYOUT.pack(F.pad(places, (1, 0))), _LAYOUT, (1, 1, 1))
