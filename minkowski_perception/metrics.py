# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Metrics of labels: confusion with the truth, calibration, flicker from frame to frame."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from minkowski_perception.frame import Frame
from minkowski_perception.labels import UNLABELLED, LabelSet


class ConfusionMatrix:
    """Counts of points by true class and predicted class.

    A point without a true class (any id outside 0 to K - 1, such as 255) does not count. A point
    that has a true class and is predicted as no class is a miss of that class.

    Attributes:
        counts: [K, K + 1] int64, true class by predicted class; the last column counts points
            that are predicted as no class.
    """

    def __init__(self, num_classes: int) -> None:
        self.counts = np.zeros((num_classes, num_classes + 1), dtype=np.int64)

    def __len__(self) -> int:
        return len(self.counts)

    def update(self, truth: npt.NDArray[np.integer], prediction: npt.NDArray[np.integer]) -> None:
        """Count the points of one cloud.

        Args:
            truth: [N] ids.
            prediction: [N] ids.

        Raises:
            ValueError: truth and prediction differ in shape.
        """
        if truth.shape != prediction.shape:
            raise ValueError(
                f"truth and prediction differ in shape: {list(truth.shape)}, "
                f"{list(prediction.shape)}"
            )
        counted = (truth >= 0) & (truth < len(self))
        rows = truth[counted].astype(np.int64)
        columns = prediction[counted].astype(np.int64)
        columns[(columns < 0) | (columns >= len(self))] = len(self)
        cells = np.bincount(rows * (len(self) + 1) + columns, minlength=self.counts.size)
        self.counts += cells.reshape(self.counts.shape)

    @property
    def points(self) -> int:
        """Number of points with a true class."""
        return int(self.counts.sum())

    @property
    def iou(self) -> npt.NDArray[np.float64]:
        """[K] intersection over union of each class; NaN for classes absent from the truth."""
        hits = np.diagonal(self.counts)
        of_class = self.counts.sum(axis=1)
        union = of_class + self.counts.sum(axis=0)[: len(self)] - hits
        return np.where(of_class > 0, hits / np.maximum(union, 1), np.nan)

    @property
    def recall(self) -> npt.NDArray[np.float64]:
        """[K] share of the points of each true class that are predicted as it, or NaN."""
        of_class = self.counts.sum(axis=1)
        hits = np.diagonal(self.counts)
        return np.where(of_class > 0, hits / np.maximum(of_class, 1), np.nan)

    @property
    def precision(self) -> npt.NDArray[np.float64]:
        """[K] share of the points predicted as each class that are of it, or NaN."""
        predicted = self.counts.sum(axis=0)[: len(self)]
        hits = np.diagonal(self.counts)
        return np.where(predicted > 0, hits / np.maximum(predicted, 1), np.nan)

    @property
    def miou(self) -> float:
        """Mean of `iou` over the classes present in the truth; NaN if there are none."""
        iou = self.iou
        present = ~np.isnan(iou)
        return float(iou[present].mean()) if present.any() else float("nan")

    @property
    def absent(self) -> npt.NDArray[np.int64]:
        """[K] number of points predicted as each class that is absent from the truth, else 0."""
        predicted = self.counts.sum(axis=0)[: len(self)]
        return np.where(self.counts.sum(axis=1) > 0, 0, predicted)

    @property
    def miou_with_predicted(self) -> float:
        """Mean of the IoU over classes in truth or prediction; absent classes count as 0."""
        iou = self.iou
        counted = ~np.isnan(iou) | (self.absent > 0)
        return float(np.nan_to_num(iou[counted]).mean()) if self.points else float("nan")

    @property
    def miou_of_all(self) -> float:
        """Mean of the IoU over all classes, absent ones as 0: SemanticKITTI's own definition."""
        return float(np.nan_to_num(self.iou).mean()) if self.points else float("nan")

    @property
    def accuracy(self) -> float:
        """Share of the points with a true class that are predicted as it; NaN without any."""
        return float(np.trace(self.counts) / self.points) if self.points else float("nan")


class Calibration:
    """Accuracy of labels by their confidence.

    Attributes:
        edges: [B + 1] edges of the bins of confidence, evenly spaced from 0 to 1.
        points: [B] int64, labels whose confidence is in the bin; the last bin includes 1.
        confidence: [B] float64, sum of their confidences.
        correct: [B] int64, how many of them are correct.
    """

    def __init__(self, bins: int = 15) -> None:
        self.edges = np.linspace(0.0, 1.0, bins + 1)
        self.points = np.zeros(bins, dtype=np.int64)
        self.confidence = np.zeros(bins)
        self.correct = np.zeros(bins, dtype=np.int64)

    def __add__(self, other: Calibration) -> Calibration:
        total = Calibration(len(self.points))
        total.points = self.points + other.points
        total.confidence = self.confidence + other.confidence
        total.correct = self.correct + other.correct
        return total

    def update(self, confidence: npt.NDArray[np.floating], correct: npt.NDArray[np.bool_]) -> None:
        """Count labels by their confidence [N], 0 to 1, and whether they are correct [N]."""
        bins = len(self.points)
        # In double precision, so that a value on an edge falls into the bin above it.
        values = confidence.astype(np.float64)
        index = np.searchsorted(self.edges[1:-1], values, side="right")
        self.points += np.bincount(index, minlength=bins)
        self.confidence += np.bincount(index, values, minlength=bins)
        self.correct += np.bincount(index[correct], minlength=bins)

    @property
    def expected_error(self) -> float:
        """Expected calibration error (Guo et al. 2017); NaN if nothing was counted.

        This is |accuracy - mean confidence| of each bin, averaged over the points.
        """
        total = self.points.sum()
        error = np.abs(self.correct - self.confidence).sum()
        return float(error / total) if total else float("nan")


class Flicker:
    """Share of still points whose label changes from one frame to the next.

    Attributes:
        compared: number of pairs of points that two frames measured at the same place.
        changed: number of those pairs whose labels differ.
    """

    def __init__(self, compared: int = 0, changed: int = 0) -> None:
        self.compared = compared
        self.changed = changed

    def __add__(self, other: Flicker) -> Flicker:
        return Flicker(self.compared + other.compared, self.changed + other.changed)

    def update(self, before: npt.NDArray[np.integer], now: npt.NDArray[np.integer]) -> None:
        """Compare the labels [P] of P pairs in a frame and in the next one."""
        self.compared += len(now)
        self.changed += int(np.count_nonzero(before != now))

    @property
    def share(self) -> float:
        """Share of the pairs whose labels differ; NaN if there are none."""
        return self.changed / self.compared if self.compared else float("nan")


def true_labels(frame: Frame) -> npt.NDArray[np.uint8]:
    """Return a frame's true labels [N], 255 for points without a measurement or a label."""
    assert frame.labels is not None
    labelled = frame.valid & (frame.labels >= 0) & (frame.labels < UNLABELLED)
    return np.where(labelled, frame.labels, UNLABELLED).astype(np.uint8)


def still_points(
    labels: npt.NDArray[np.integer], moving: npt.NDArray[np.bool_] | None, label_set: LabelSet
) -> npt.NDArray[np.bool_]:
    """Return which points [N] are known to stand still.

    Args:
        labels: [N] true labels; a point without a class is not known to stand still.
        moving: [N] which points truly move. If None, points of all classes that can move
            (`LabelSet.movable`) are taken to move.
        label_set: set of the labels.
    """
    moves = np.isin(labels, label_set.movable_ids) if moving is None else moving
    return np.asarray((labels < len(label_set)) & ~moves)


def pair_still_points(
    before: Frame,
    now: Frame,
    still_before: npt.NDArray[np.bool_],
    still_now: npt.NDArray[np.bool_],
    radius: float = 0.1,
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Pair the points that two frames measured at the same place.

    Each still point of `now` is paired with its nearest still point of `before` in the odometry
    frame, if that is within the radius and both have the same true label.

    Args:
        before: N points with labels.
        now: M points with labels, of a later frame.
        still_before: [N] which points stand still.
        still_now: [M] which points stand still.
        radius: largest distance of a pair, metres.

    Returns:
        Rows [P] of `before` and rows [P] of `now`.
    """
    rows_before, rows_now = np.flatnonzero(still_before), np.flatnonzero(still_now)
    if not len(rows_before) or not len(rows_now):
        return rows_before[:0], rows_now[:0]
    tree = cKDTree(before.odometry_points[rows_before])
    distance, nearest = tree.query(
        now.odometry_points[rows_now], distance_upper_bound=np.nextafter(radius, np.inf)
    )
    near = np.isfinite(distance)
    rows_before, rows_now = rows_before[nearest[near]], rows_now[near]
    assert before.labels is not None
    assert now.labels is not None
    same = before.labels[rows_before] == now.labels[rows_now]
    return rows_before[same], rows_now[same]


def none_if_nan(value: float) -> float | None:
    """Return the value, or None if it is NaN, which JSON cannot hold."""
    return None if np.isnan(value) else float(value)
