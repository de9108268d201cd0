# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Truth and scores of the output "moving": the probability that a point moves.

The definitions are those of SemanticKITTI's evaluators: IoU of moving points (Chen et al. 2021,
`evaluate_mos.py`), and mIoU over the 25 classes of its multi-scan task (`semantic-kitti-all.yaml`
of https://github.com/PRBonn/semantic-kitti-api).
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from minkowski_perception.frame import Frame
from minkowski_perception.labels import UNLABELLED, LabelSet
from minkowski_perception.metrics import ConfusionMatrix, none_if_nan, true_labels

MOVING = "moving"
"""Name of the head, its output and its field."""

_STEPS = 64
"""Bins of a histogram per unit of the logit."""
_MIDDLE = 16 * _STEPS
"""Bin of probability 0.5; logits beyond -16 and 16 count as these."""
_BINS = 2 * _MIDDLE + 1


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
    """Scores of moving points: IoU, precision, recall, average precision, by class and range.

    Points without a value (NaN: motion was unknown) or without known truth do not count.

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
        self._counts = np.zeros((len(label_set) + 1, len(self._ranges) - 1, 2, _BINS), np.int64)
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
        cells = np.ravel_multi_index(
            (
                np.minimum(classes, len(self._label_set)),
                np.searchsorted(self._ranges[1:-1], distances, side="right"),
                moves,
                _bins(values[counted]),
            ),
            self._counts.shape,
        )
        found = np.bincount(cells, minlength=self._counts.size)
        self._counts += found.reshape(self._counts.shape)
        if self._divided:
            self.multi_scan.update(
                self._by_motion(classes, moves == 1),
                self._by_motion(labels[counted].astype(np.int64), calls_moving(values[counted])),
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
        found["by_range"] = [
            {"from": float(near), "to": none_if_infinite(far), **motion_figures(of_range)}
            for (near, far), of_range in zip(
                pairwise(self._ranges), self._counts.sum(axis=0), strict=True
            )
        ]
        return found

    def _by_motion(
        self, labels: npt.NDArray[np.int64], moves: npt.NDArray[np.bool_]
    ) -> npt.NDArray[np.int64]:
        """Return labels [N] in the classes of the multi-scan task."""
        table = np.arange(UNLABELLED + 1)
        for i, name in enumerate(self._divided):
            table[self._label_set.names.index(name)] = len(self._label_set) + i
        # What is no label must not become that of a moving class.
        labels = np.where(labels < len(self._label_set), labels, UNLABELLED)
        return np.where(moves, table[labels], labels)


def none_if_infinite(value: float) -> float | None:
    """Return the value, or None if it is infinite, which JSON cannot hold."""
    return None if np.isinf(value) else float(value)


def _bins(values: npt.NDArray[np.floating]) -> npt.NDArray[np.int64]:
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
        "iou": _ratio(hits, moving + false) if moving else None,
        "precision": _ratio(hits, hits + false),
        "recall": _ratio(hits, moving),
        "average_precision": _average_precision(counts),
        "false_positive_share": _ratio(false, still),
    }


def _ratio(part: np.int64, whole: np.int64) -> float | None:
    return float(part / whole) if whole else None


def _average_precision(counts: npt.NDArray[np.int64]) -> float | None:
    """Return the mean of the precision over the moving points, ranked by probability.

    Points of a bin share their rank.
    """
    still, moving = counts[:, ::-1]
    if not moving.any():
        return None
    hits = moving.cumsum()
    precision = hits / np.maximum(hits + still.cumsum(), 1)
    return float(precision @ moving / hits[-1])
