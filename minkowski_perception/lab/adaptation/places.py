# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What all frames of a recording say about each place, a voxel of the odometry frame.

A place that is far away in one frame is near in another, before or after it. So the mean over the
whole recording is worth more than what one frame says.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

_HALF_RANGE = 15.0
"""Metres at which a frame counts half as much as at the sensor."""
_BITS = 21
_MOST_PENDING = 500_000
"""Rows that are kept before they are added to the sums."""

Keys = npt.NDArray[np.int64]
Values = npt.NDArray[np.float32]


def place_keys(voxels: npt.NDArray[np.int64]) -> Keys:
    """Return one number for each voxel [N, 3] of the odometry frame, within a million voxels."""
    x, y, z = (voxels + (1 << (_BITS - 1))).T
    return np.asarray(x | (y << _BITS) | (z << 2 * _BITS))


class Evidence(NamedTuple):
    """What the frames say about N places.

    Attributes:
        labels: [N] uint8, the class of the largest mean probability.
        confidence: [N] float32, that mean. It is high where each frame is sure of the class, and
            all agree.
        frames: [N] int32, number of frames that say something.
    """

    labels: npt.NDArray[np.uint8]
    confidence: Values
    frames: npt.NDArray[np.int32]


class Places:
    """Weighted mean of class probabilities at each place.

    Near frames count more than far ones: the weight is 1 / (1 + (range / 15 m)^2).

    Args:
        classes: number of classes K.
    """

    def __init__(self, classes: int) -> None:
        self._keys: Keys = np.zeros(0, np.int64)
        self._sums: Values = np.zeros((0, classes + 2), np.float32)
        self._pending: list[tuple[Keys, Values]] = []

    def add(self, keys: Keys, probabilities: Values, ranges: npt.NDArray[np.floating]) -> None:
        """Add what a frame says about places, each once.

        Args:
            keys: [N], see `place_keys`.
            probabilities: [N, K].
            ranges: [N], metres from the sensor.
        """
        weight = 1.0 / (1.0 + (ranges / _HALF_RANGE) ** 2)
        rows = np.empty((len(keys), self._sums.shape[1]), np.float32)
        rows[:, :-2] = probabilities * weight[:, None]
        rows[:, -2] = weight
        rows[:, -1] = 1.0
        self._pending.append((keys, rows))
        if sum(len(each) for each, _ in self._pending) > max(_MOST_PENDING, len(self._keys)):
            self._merge()

    def _merge(self) -> None:
        keys = np.concatenate([self._keys, *(keys for keys, _ in self._pending)])
        sums = np.concatenate([self._sums, *(rows for _, rows in self._pending)])
        self._pending = []
        order = np.argsort(keys, kind="stable")
        keys = keys[order]
        first = np.flatnonzero(np.diff(keys, prepend=keys[:1] - 1))
        if len(keys):
            self._keys, self._sums = keys[first], np.add.reduceat(sums[order], first)

    def evidence(self, keys: Keys) -> Evidence:
        """Return what all frames say about places [N]; confidence 0 where none says anything."""
        if self._pending:
            self._merge()
        if not len(self._keys):
            none = np.zeros(len(keys), np.uint8)
            return Evidence(none, none.astype(np.float32), none.astype(np.int32))
        rows = np.searchsorted(self._keys, keys).clip(max=len(self._keys) - 1)
        known = self._keys[rows] == keys
        sums = self._sums[rows]
        labels = sums[:, :-2].argmax(axis=1)
        best = np.take_along_axis(sums, labels[:, None], axis=1)[:, 0]
        return Evidence(
            labels.astype(np.uint8),
            np.where(known, best / sums[:, -2], 0.0).astype(np.float32),
            np.where(known, sums[:, -1], 0).astype(np.int32),
        )
