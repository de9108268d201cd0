# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Clips for training: taken from sequences, augmented and voxelized."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset

from minkowski_perception.frame import Frame
from minkowski_perception.lab.training.clip_size import ClipSize
from minkowski_perception.lab.training.composition import Augment
from minkowski_perception.lab.training.history import History, PastFrame
from minkowski_perception.lab.training.sources import Source
from minkowski_perception.labels import UNLABELLED
from minkowski_perception.networks.blocks import SPATIAL_DIMENSION
from minkowski_perception.networks.heads import CLASSES, HEADS
from minkowski_perception.sparse import Quantization
from minkowski_perception.streaming.residuals import RangeHistory
from minkowski_perception.voxels import VoxelFrame, VoxelInput, stack_in_time, voxelize

_ATTEMPTS = 10
"""Attempts to replace a clip of which the augmentation left no point."""


class Sample(NamedTuple):
    """Voxels of a clip, or of a batch of clips.

    Attributes:
        coordinates: [N, 5] int64 [clip, x, y, z, t].
        features: [N, C] float32.
        labels: [N] int64.
        points: [N] int64, number of points in each voxel.
        posed: [N] bool, whether the pose of each voxel's frame is known.
        truth: [N] int64 true ids of each head but the classes, 255 where unknown.
    """

    coordinates: Tensor
    features: Tensor
    labels: Tensor
    points: Tensor
    posed: Tensor
    truth: dict[str, Tensor]

    def map(self, change: Callable[[Tensor], Tensor]) -> Sample:
        """Return a sample with all tensors changed by a function."""
        return Sample(
            change(self.coordinates),
            change(self.features),
            change(self.labels),
            change(self.points),
            change(self.posed),
            {name: change(ids) for name, ids in self.truth.items()},
        )


class ClipDataset(Dataset[Sample]):
    """Clips of a training; item i depends on the seed and i alone.

    Args:
        sources: of the clips.
        size: number of frames of the clips.
        spec: voxels and features of the network.
        augment: augmentation of the clips.
        seed: of all random numbers.
        length: number of clips.
        max_voxels: largest number of voxels of a clip; larger clips are sampled at random.
        voxel_labels: see `Data`.
        heads: heads other than the classes whose truth the samples carry.
        history: number of frames before a clip that its residuals can look back to.
        without_history: share of clips without such frames.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        size: ClipSize,
        spec: VoxelInput,
        augment: Augment,
        seed: int,
        length: int,
        max_voxels: int | None = None,
        voxel_labels: Literal["first", "agreed"] = "first",
        heads: Collection[str] = (),
        history: int = 0,
        without_history: float = 0.0,
    ) -> None:
        self._sources = sources
        self._size = size
        self._spec = spec
        self._augment = augment
        self._seed = seed
        self._length = length
        self._max_voxels = max_voxels
        self._heads = heads
        self._history = History(history, spec.residuals) if history else None
        self._without_history = without_history
        self._voxel_labels = _agreed if voxel_labels == "agreed" else Quantization.reduce

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> Sample:
        rng = np.random.default_rng((self._seed, index))
        source = self._source(rng)
        history = self._history
        if history is not None and rng.random() < self._without_history:
            history = None
        another = partial(source.clip, rng, self._size, history=history)
        varied = self._augment(source.clip(rng, self._size, index, history), rng, another)
        for _ in range(_ATTEMPTS):
            if any(len(frame) for frame in varied if not isinstance(frame, PastFrame)):
                break
            varied = self._augment(another(), rng, another)
        ranges = RangeHistory(self._spec.residuals)
        clip, frames, compared = [], [], []
        for frame in varied:
            if isinstance(frame, PastFrame):
                ranges.remember(frame)
                continue
            voxels = voxelize(frame, self._spec, frame.intensity)
            clip.append(frame)
            frames.append(ranges.extended(voxels, frame))
            compared.append(ranges.compared)
        coordinates, features = stack_in_time(frames)
        labels, *others = (
            self._truth(name, clip, frames, compared) for name in (CLASSES, *self._heads)
        )
        points = torch.cat([voxels.quantization.counts() for voxels in frames])
        posed = torch.cat(
            [
                torch.full((len(voxels.coordinates),), frame.pose is not None)
                for frame, voxels in zip(clip, frames, strict=True)
            ]
        )
        truth = dict(zip(self._heads, others, strict=True))
        sample = Sample(coordinates, features, labels, points, posed, truth)
        if self._max_voxels is not None and len(labels) > self._max_voxels:
            drawn = rng.choice(len(labels), self._max_voxels, replace=False)
            kept = torch.from_numpy(np.sort(drawn))
            return sample.map(lambda column: column[kept])
        return sample

    def _truth(
        self,
        head: str,
        clip: Sequence[Frame],
        frames: Sequence[VoxelFrame],
        compared: Sequence[bool],
    ) -> Tensor:
        """Return a head's true ids of the voxels of all frames, [N] int64.

        They are unknown in frames in which `Segmenter` would give no value, see `Head`.

        Args:
            head: its name.
            clip: the frames.
            frames: their voxels.
            compared: whether each frame has residuals to a frame before it.
        """
        truth = []
        has_past = False
        for frame, voxels, by_ranges in zip(clip, frames, compared, strict=True):
            known = (has_past or by_ranges) and frame.pose is not None
            ids = HEADS[head].truth(frame) if known or not HEADS[head].needs_motion else None
            truth.append(self._voxel_labels(voxels.quantization, _ids(ids, voxels)))
            has_past = has_past or len(voxels.coordinates) > 0
        return torch.cat(truth)

    def _source(self, rng: np.random.Generator) -> Source:
        if len(self._sources) == 1:
            return self._sources[0]
        shares = np.array([source.share for source in self._sources])
        return self._sources[int(rng.choice(len(shares), p=shares / shares.sum()))]


def _ids(truth: npt.NDArray[Any] | None, voxels: VoxelFrame) -> Tensor:
    """Return the true ids of the points that are in a voxel, [N] int64."""
    if truth is None:
        return torch.full((int(voxels.valid.sum()),), UNLABELLED)
    return torch.from_numpy(truth[voxels.valid].astype(np.int64))


def _agreed(voxels: Quantization, labels: Tensor) -> Tensor:
    """Return the label that all points of a voxel share, or `UNLABELLED`, for each voxel [M]."""
    first = voxels.reduce(labels)
    differs = torch.zeros(len(first), dtype=torch.bool)
    differs[voxels.inverse[labels != voxels.slice(first)]] = True
    return first.masked_fill(differs, UNLABELLED)


def coordinates_in(dimension: int, coordinates: Tensor) -> Tensor:
    """Return the coordinates of clips for a network in 3D or 4D, [N, 1 + dimension].

    In 3D every frame is a batch entry of its own.

    Args:
        dimension: of the network.
        coordinates: [N, 5] int64 [batch, x, y, z, t].
    """
    if dimension == SPATIAL_DIMENSION + 1:
        return coordinates
    length = int(coordinates[:, -1].max()) + 1 if len(coordinates) else 1
    alone = coordinates[:, :-1].clone()
    alone[:, 0] = coordinates[:, 0] * length + coordinates[:, -1]
    return alone


def collate(samples: Sequence[Sample]) -> Sample:
    """Join clips into a batch, with the index of the clip in the first column of coordinates."""
    coordinates = [sample.coordinates.clone() for sample in samples]
    for clip, voxels in enumerate(coordinates):
        voxels[:, 0] = clip
    return Sample(
        torch.cat(coordinates),
        torch.cat([sample.features for sample in samples]),
        torch.cat([sample.labels for sample in samples]),
        torch.cat([sample.points for sample in samples]),
        torch.cat([sample.posed for sample in samples]),
        {name: torch.cat([sample.truth[name] for sample in samples]) for name in samples[0].truth},
    )
