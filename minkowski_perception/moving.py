# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Truth and scores of the output "moving": the probability that a point moves.

The definitions are those of SemanticKITTI's evaluators: IoU of moving points (Chen et al. 2021,
`evaluate_mos.py`), and mIoU over the 25 classes of its multi-scan task (`semantic-kitti-all.yaml`
of https://github.com/PRBonn/semantic-kitti-api).
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from minkowski_perception.frame import Frame
from minkowski_perception.labels import UNLABELLED, LabelSet
from minkowski_perception.metrics import ConfusionMatrix, none_if_nan, true_labels
from minkowski_perception.objects import MovingObjects

MOVING = "moving"
"""Name of the head, its output and its field."""

_STEPS = 64
"""Bins of a histogram per unit of the logit."""
_MIDDLE = 16 * _STEPS
"""Bin of probability 0.5; logits beyond -16 and 16 count as these."""
BINS = 2 * _MIDDLE + 1
"""Bins of probability, see `probability_bins`."""
LOGITS = (np.arange(BINS) - _MIDDLE - 0.5) / _STEPS
"""Logit in the middle of each bin."""
_PROBABILITIES = 1.0 / (1.0 + np.exp(-LOGITS))
"""Probability in the middle of each bin."""
_CALIBRATED = 15
"""Bins of the calibration error, evenly spaced in probability."""

SPEEDS = (0.0, 1.5, 4.0, 10.0, np.inf)
"""Edges of the bins of speed, m/s: a slow walk, a run or a bicycle, a car in a street, faster."""


def true_motion(frame: Frame) -> npt.NDArray[np.uint8] | None:
    """Return whether points truly move, [N]: 1, 0, or 255 where unknown; None without truth.

    Of points without a measurement or, in a frame with labels, without a label it is unknown.
    """
    if frame.moving is None:
        return None
    known = frame.valid if frame.labels is None else true_labels(frame) != UNLABELLED
    return np.where(known, frame.moving, UNLABELLED).astype(np.uint8)


def calls_moving(values: npt.NDArray[np.floating]) -> npt.NDArray[np.bool_]:
    """Return which points [N] move by their values: a probability above 0.5; NaN does not."""
    return np.asarray(values > 0.5)


def moving_share(values: npt.NDArray[np.floating]) -> float:
    """Return the share of the points with a value that move; NaN if no point has a value."""
    known = np.count_nonzero(~np.isnan(values))
    return np.count_nonzero(calls_moving(values)) / known if known else float("nan")


class MovingScores:
    """Scores of moving points: IoU, precision, recall, average precision, calibration error.

    They are given by class, range and speed. Points without a value (NaN: motion was unknown) or
    without known truth do not count.

    Args:
        label_set: of the frames' labels.
        ranges: edges of the bins of range in metres, from 0 to infinity.

    Attributes:
        multi_scan: confusion in the classes of the multi-scan task, which tell moving from still.
    """

    def __init__(self, label_set: LabelSet, ranges: npt.ArrayLike = (0.0, np.inf)) -> None:
        self._label_set = label_set
        self._ranges = np.asarray(ranges)
        # Points by true class (the last row: none), bin of range, truth and bin of probability.
        self._counts = np.zeros((len(label_set) + 1, len(self._ranges) - 1, 2, BINS), np.int64)
        # Moving points by bin of speed and of probability; those of unknown speed do not count.
        self._by_speed = np.zeros((len(SPEEDS) - 1, BINS), np.int64)
        self._objects = MovingObjects()
        self._without_value = 0
        self._divided = label_set.divided_by_motion
        self.multi_scan = ConfusionMatrix(len(label_set) + len(self._divided))

    def update(
        self, frame: Frame, values: npt.NDArray[np.floating], labels: npt.NDArray[np.integer]
    ) -> None:
        """Count a frame of N points.

        Args:
            frame: with true labels; without `moving` nothing is counted.
            values: [N] probability of moving; NaN where unknown.
            labels: [N] predicted labels in the classes of the frame's labels.
        """
        truth = true_motion(frame)
        if truth is None:
            return
        known = truth != UNLABELLED
        counted = known & ~np.isnan(values)
        self._without_value += int(np.count_nonzero(known & ~counted))
        moves = truth[counted].astype(np.int64)
        classes = true_labels(frame)[counted].astype(np.int64)
        distances = np.linalg.norm(frame.points[counted], axis=1)
        bins = probability_bins(values[counted])
        cells = np.ravel_multi_index(
            (
                np.minimum(classes, len(self._label_set)),
                np.searchsorted(self._ranges[1:-1], distances, side="right"),
                moves,
                bins,
            ),
            self._counts.shape,
        )
        found = np.bincount(cells, minlength=self._counts.size)
        self._counts += found.reshape(self._counts.shape)
        if frame.pose is not None:
            speeds = self._objects.update(frame)[1][counted]
            fast = ~np.isnan(speeds) & (moves == 1)
            np.add.at(self._by_speed, (speed_bins(speeds[fast]), bins[fast]), 1)
        if self._divided:
            self.multi_scan.update(
                labels_by_motion(self._label_set, classes, moves == 1),
                labels_by_motion(self._label_set, labels[counted], calls_moving(values[counted])),
            )

    @property
    def histogram(self) -> npt.NDArray[np.int64]:
        """Numbers of points [2, B]: still and moving ones, by bin of probability."""
        return np.asarray(self._counts.sum(axis=(0, 1)))

    def figures(self) -> dict[str, Any]:
        """Return the figures by name (docs/evaluation.md); None where nothing was counted."""
        names = self._label_set.names
        points = int(self._counts.sum())
        by_class = {
            name: motion_figures(of_class)
            for name, of_class in zip(names, self._counts.sum(axis=1), strict=False)
            if of_class[1].any() or of_class[:, _MIDDLE + 1 :].any()
        }
        found = motion_figures(self.histogram)
        known = points + self._without_value
        found["coverage"] = points / known if known else None
        if self._divided:
            matrix = self.multi_scan
            moving = (f"moving-{name}" for name in self._divided)
            iou = zip([*names, *moving], map(none_if_nan, matrix.iou), strict=True)
            found[f"miou{len(matrix)}"] = none_if_nan(matrix.miou)
            found[f"iou{len(matrix)}"] = dict(iou)
        found["by_class"] = by_class
        found["by_range"] = figures_by_bin(self._ranges, self._counts.sum(axis=0))
        still = self.histogram[0]
        found["by_speed"] = figures_by_bin(SPEEDS, [np.stack([still, b]) for b in self._by_speed])
        return found


def labels_by_motion(
    label_set: LabelSet, labels: npt.NDArray[np.integer], moves: npt.NDArray[np.bool_]
) -> npt.NDArray[np.uint8]:
    """Return labels [N] in the classes of the multi-scan task: the set's, then the moving ones.

    Args:
        label_set: of the labels.
        labels: [N]; any id outside 0 to K - 1 becomes 255.
        moves: [N], which points move.
    """
    table = np.full((2, UNLABELLED + 1), UNLABELLED, np.uint8)
    table[:, : len(label_set)] = np.arange(len(label_set))
    for i, name in enumerate(label_set.divided_by_motion):
        table[1, label_set.names.index(name)] = len(label_set) + i
    return np.asarray(table[moves.astype(np.intp), labels])


def speed_bins(speeds: npt.NDArray[np.floating]) -> npt.NDArray[np.intp]:
    """Return the bin of `SPEEDS` of each speed [N]."""
    return np.searchsorted(SPEEDS[1:-1], speeds, side="right")


def figures_by_bin(
    edges: npt.ArrayLike, counts: Iterable[npt.NDArray[np.int64]]
) -> list[dict[str, Any]]:
    """Return the figures of bins of range or speed, each with its edges.

    Args:
        edges: [E + 1] of the bins; infinity becomes None.
        counts: [2, B] of each bin, see `MovingScores.histogram`.
    """
    return [
        {"from": float(low), "to": none_if_infinite(high), **motion_figures(of_bin)}
        for (low, high), of_bin in zip(pairwise(np.asarray(edges)), counts, strict=True)
    ]


def none_if_infinite(value: float) -> float | None:
    """Return the value, or None if it is infinite, which JSON cannot hold."""
    return None if np.isinf(value) else float(value)


def probability_bins(values: npt.NDArray[np.floating]) -> npt.NDArray[np.int64]:
    """Return the bins of probabilities: those above 0.5, and no others, are behind the middle."""
    exact = values.astype(np.float64)
    with np.errstate(divide="ignore"):
        logits = np.log(exact) - np.log1p(-exact)
    steps = np.ceil(_STEPS * logits).clip(-_MIDDLE, _MIDDLE)
    return np.asarray(steps.astype(np.int64) + _MIDDLE)


def motion_figures(counts: npt.NDArray[np.int64]) -> dict[str, Any]:
    """Return figures of numbers of points [2, B], see `MovingScores.histogram`."""
    (still, moving), (false, hits) = counts.sum(axis=1), counts[:, _MIDDLE + 1 :].sum(axis=1)
    return {
        "points": int(still + moving),
        "moving_points": int(moving),
        "iou": none_if_nan(float(moving_iou(counts))),
        "precision": _ratio(hits, hits + false),
        "recall": _ratio(hits, moving),
        "average_precision": none_if_nan(float(average_precision(counts))),
        "false_positive_share": _ratio(false, still),
        "calibration_error": none_if_nan(float(calibration_error(counts))),
    }


def _ratio(part: np.int64, whole: np.int64) -> float | None:
    return float(part / whole) if whole else None


Figures = npt.NDArray[np.float64]


def moving_iou(counts: npt.NDArray[np.number]) -> Figures:
    """Return the IoU of moving points [...] of counts [..., 2, B]; NaN without such points."""
    moving = counts[..., 1, :].sum(axis=-1)
    hits, false = counts[..., 1, _MIDDLE + 1 :].sum(-1), counts[..., 0, _MIDDLE + 1 :].sum(-1)
    return np.where(moving > 0, hits / np.maximum(moving + false, 1), np.nan)


def average_precision(counts: npt.NDArray[np.number]) -> Figures:
    """Return the mean of the precision over the moving points, ranked by probability, [...].

    Points of a bin share their rank. NaN without moving points.

    Args:
        counts: [..., 2, B], see `MovingScores.histogram`.
    """
    still, moving = counts[..., 0, ::-1], counts[..., 1, ::-1]
    hits = moving.cumsum(axis=-1)
    precision = hits / np.maximum(hits + still.cumsum(axis=-1), 1)
    total = hits[..., -1]
    weighted = (precision * moving).sum(axis=-1)
    return np.where(total > 0, weighted / np.maximum(total, 1), np.nan)


def calibration_error(counts: npt.NDArray[np.number]) -> Figures:
    """Return the expected calibration error of probabilities, in 15 bins, [...].

    This is |share of moving points - mean probability| of each bin, averaged over the points; NaN
    without points. A point counts with the middle of its bin of `counts`, at most 0.002 from its
    probability.

    Args:
        counts: [..., 2, B], see `MovingScores.histogram`.
    """
    bins = np.minimum((_PROBABILITIES * _CALIBRATED).astype(np.intp), _CALIBRATED - 1)
    in_bin = np.eye(_CALIBRATED)[bins]
    points = counts.sum(axis=-2)
    difference = (counts[..., 1, :] - points * _PROBABILITIES) @ in_bin
    total = points.sum(axis=-1)
    error = np.abs(difference).sum(axis=-1)
    return np.where(total > 0, error / np.maximum(total, 1), np.nan)
