# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Differentiable running average of class log-probabilities over the frames of clips."""

from __future__ import annotations

from collections.abc import Sequence
from math import log

import torch
import torch.nn.functional as F
from torch import Tensor

from minkowski_perception.settings import Settings
from minkowski_perception.sparse import CoordinateMap, KeyLayout, RecentVoxels
from minkowski_perception.streaming.averaging import LEAST_PROBABILITY, sums_with_past

_LAYOUT = KeyLayout.for_dimension(3)


def averaged_logits(
    logits: Tensor, coordinates: Tensor, posed: Tensor, length: int = Settings.averaging
) -> Tensor:
    """Return the class logits after the average of `TemporalAverage` over each clip, [N, K].

    A clip's first frame and frames without a pose keep their own logits. Gradients reach all
    earlier frames of a clip. Sums fade once for each frame of the clip, whatever its stride: at
    run time they fade at each received frame, and a clip of stride 3 imitates a stream of a third
    of the rate. Gradients are 0 where a probability is below `LEAST_PROBABILITY`: the average uses
    the limit instead.

    Args:
        logits: [N, K] floats, class logits of each frame.
        coordinates: [N, 5] int64 [clip, x, y, z, t], unique, in any order.
        posed: [N] bool, whether the pose of each voxel's frame is known.
        length: see `TemporalAverage`.
    """
    keys = _LAYOUT.pack(F.pad(coordinates[:, 1:4], (1, 0)))
    scores = logits.log_softmax(dim=1).clamp(min=log(LEAST_PROBABILITY))
    # Voxels by clip, time and key.
    order = keys.argsort()
    for column in (4, 0):
        order = order[coordinates[order, column].argsort(stable=True)]
    order = order[posed[order]]
    rows: list[Tensor] = []
    means: list[Tensor] = []
    for clip in _split(order, coordinates[:, 0]):
        frames = _split(clip, coordinates[:, 4])
        rows += frames[1:]
        means += _means(scores, keys, frames, length)
    return logits.index_copy(0, torch.cat(rows), torch.cat(means)) if rows else logits


def _means(scores: Tensor, keys: Tensor, frames: Sequence[Tensor], length: int) -> list[Tensor]:
    """Return the averaged log-probabilities of each frame but the first, [M, K].

    Args:
        scores: [N, K], log-probabilities.
        keys: [N] int64, keys of the voxels.
        frames: rows of the voxels of each frame, by key.
        length: see `TemporalAverage`.
    """
    seen = [CoordinateMap(keys[rows], _LAYOUT, (1, 1, 1)) for rows in frames]
    recent = RecentVoxels.of(seen[0])
    sums = F.pad(scores[frames[0]], (0, 1), value=1.0)
    means = []
    for rows, voxels in zip(frames[1:], seen[1:], strict=True):
        fading = (1 - 1 / length) ** recent.age.to(sums.dtype)
        new = sums_with_past(scores[rows], voxels, recent.map, sums * fading[:, None])
        means.append(new[:, :-1] / new[:, -1:])
        recent, sources = recent.updated(voxels, 2 * length)
        sums = torch.cat([new, sums]).index_select(0, sources)
    return means


def _split(rows: Tensor, values: Tensor) -> Sequence[Tensor]:
    """Return the rows in groups of equal values; these ascend."""
    _, counts = torch.unique_consecutive(values[rows], return_counts=True)
    groups: Sequence[Tensor] = rows.split(counts.tolist())
    return groups
