# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Pseudo labels: what the places of a recording teach its frames.

Only confident and consistent places teach. The least confidence is chosen for each class, as in
class-balanced self-training (Zou et al. 2018), so that rare classes, of which a network is less
sure, do not vanish.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from minkowski_perception.labels import UNLABELLED, LabelSet

_BINS = 1000
"""Bins of confidence in which voxels are counted."""

Labels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Choice:
    """Which voxels teach.

    Attributes:
        share: of the voxels of each class that would teach if confidence had no limits.
        least: confidence below which no voxel teaches.
        enough: confidence above which each voxel teaches, whatever the share.
        frames: number of frames that must have seen a place.
        growth: largest factor by which the share of a class among the voxels may grow from what
            single frames say to what teaches.
    """

    share: float = 0.7
    least: float = 0.8
    enough: float = 0.95
    frames: int = 2
    growth: float = 2.0


def passing(
    own: Labels, of_place: Labels, sure: npt.NDArray[np.bool_], label_set: LabelSet
) -> npt.NDArray[np.bool_]:
    """Return at which voxels [N] something seems to pass; the mean over time says nothing of it.

    There the frame alone is sure of its label, and one of both labels is of a class that can move
    and the other is not.

    Args:
        own: [N], what the frame alone says.
        of_place: [N], what all frames say.
        sure: [N], whether the frame is sure.
        label_set: of the labels.
    """
    movable = np.zeros(UNLABELLED + 1, np.bool_)
    movable[label_set.movable_ids] = True
    return np.asarray(sure & (movable[own] != movable[of_place]))


def sort_out(
    labels: Labels, confidence: npt.NDArray[np.floating], least: npt.NDArray[np.floating]
) -> Labels:
    """Return labels [N], 255 where the confidence [N] is less than its class needs, `least`."""
    limits = np.append(least, np.zeros(UNLABELLED + 1 - len(least)))
    return np.where(confidence < limits[labels], UNLABELLED, labels).astype(np.uint8)


class Thresholds:
    """Least confidence of each class.

    Voxels of all frames are counted first, then `of_classes` has the limits.

    Args:
        classes: number of classes.
        choice: which voxels teach.
    """

    def __init__(self, classes: int, choice: Choice) -> None:
        self._choice = choice
        self._counts = np.zeros((classes, _BINS), np.int64)
        self._own = np.zeros(classes, np.int64)

    def add(self, labels: Labels, confidence: npt.NDArray[np.floating], own: Labels) -> None:
        """Count the voxels of a frame.

        Args:
            labels: [N], of the places; 255 does not count.
            confidence: [N], of the places.
            own: [N], what the frame alone says.
        """
        known = labels != UNLABELLED
        exact = confidence[known].astype(np.float64)  # else a limit may be above its own voxel
        bins = np.minimum((exact * _BINS).astype(np.int64), _BINS - 1)
        np.add.at(self._counts, (labels[known], bins), 1)
        self._own += np.bincount(own, minlength=len(self._own))[: len(self._own)]

    def of_classes(self) -> npt.NDArray[np.float64]:
        """Return the least confidence of each class, [K]; above 1 for a class without voxels."""
        choice = self._choice
        above = self._counts[:, ::-1].cumsum(axis=1)[:, ::-1]  # with at least this confidence
        total = above[:, 0]
        first = (above >= choice.share * total[:, None]).sum(axis=1) - 1
        bins = first.clip(round(choice.least * _BINS), round(choice.enough * _BINS))
        chosen = above[np.arange(len(above)), bins]
        most = choice.growth * self._own / max(self._own.sum(), 1) * chosen.sum()
        for k in np.flatnonzero(chosen > most):  # the most confident voxels stay
            bins[k] = min(int((above[k] > most[k]).sum()), _BINS - 1)
        return np.where(total > 0, bins / _BINS, 2.0)
