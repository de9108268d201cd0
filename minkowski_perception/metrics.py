# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""How well labels agree with the truth, with how sure they are said, and from frame to frame."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from minkowski_perception.frame import Frame
from minkowski_perception.labels import LabelSet


class ConfusionMatrix:
    """Counts of points by true class and predicted class.

    Points without a true class (any id that is none of the K, such as 255) do not count. A point
    that has a true class and is predicted as none of the K is a miss of that class.

    Attributes:
        counts: [K, K + 1] int64, row by true class, column by predicted class; the last column
            is for points predicted as no class.
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
            ValueError: the two differ in shape.
        """
        if truth.shape != prediction.shape:
            raise ValueError(
                f"truth and prediction differ in shape: {list(truth.shape)}, "
                f"{list(prediction.shape)}"
            )
        known = (truth >= 0) & (truth < len(self))
        rows = truth[known].astype(np.int64)
        columns = prediction[known].astype(np.int64)
        columns[(columns < 0) | (columns >= len(self))] = len(self)
        cells = np.bincount(rows * (len(self) + 1) + columns, minlength=self.counts.size)
        self.counts += cells.reshape(self.counts.shape)

    @property
    def iou(self) -> npt.NDArray[np.float64]:
        """[K] intersection over union of each class; NaN for classes absent from the truth."""
        hits = np.diagonal(self.counts)
        of_class = self.counts.sum(axis=1)
        union = of_class + self.counts.sum(axis=0)[: len(self)] - hits
        return np.where(of_class > 0, hits / np.maximum(union, 1), np.nan)

    @property
    def recall(self) -> npt.NDArray[np.float64]:
        """[K] share of the points of each class that got it; NaN where there are none."""
        of_class = self.counts.sum(axis=1)
        hits = np.diagonal(self.counts)
        return np.where(of_class > 0, hits / np.maximum(of_class, 1), np.nan)

    @property
    def precision(self) -> npt.NDArray[np.float64]:
        """[K] share of the points taken for each class that are of it; NaN where none are."""
        said = self.counts.sum(axis=0)[: len(self)]
        return np.where(said > 0, np.diagonal(self.counts) / np.maximum(said, 1), np.nan)

    @property
    def miou(self) -> float:
        """Mean of `iou` over the classes present in the truth; NaN where there is none."""
        iou = self.iou
        present = ~np.isnan(iou)
        return float(iou[present].mean()) if present.any() else float("nan")

    @property
    def accuracy(self) -> float:
        """Share of the points with a true class that got it; NaN where there is none."""
        total = self.counts.sum()
        return float(np.trace(self.counts) / total) if total else float("nan")


class Calibration:
    """How often labels are right, against how sure they are said.

    Attributes:
        edges: [B + 1] of the bins that confidence is sorted into, evenly from 0 to 1.
        points: [B] int64, labels said with a confidence in the bin; the last bin holds 1 too.
        confidence: [B] float64, sum of those confidences.
        right: [B] int64, how many of the labels were right.
    """

    def __init__(self, bins: int = 15) -> None:
        self.edges = np.linspace(0.0, 1.0, bins + 1)
        self.points = np.zeros(bins, dtype=np.int64)
        self.confidence = np.zeros(bins)
        self.right = np.zeros(bins, dtype=np.int64)

    def update(self, confidence: npt.NDArray[np.floating], right: npt.NDArray[np.bool_]) -> None:
        """Enter labels [N] by how sure they were said, 0 to 1, and whether they were right."""
        bins = len(self.points)
        # In double precision, that a value on an edge is in the bin above it, as the edges say.
        sure = confidence.astype(np.float64)
        place = np.searchsorted(self.edges[1:-1], sure, side="right")
        self.points += np.bincount(place, minlength=bins)
        self.confidence += np.bincount(place, sure, minlength=bins)
        self.right += np.bincount(place[right], minlength=bins)

    @property
    def expected_error(self) -> float:
        """Expected calibration error (Guo et al. 2017): |right - confidence|, mean over points.

        The difference is that of the means of each bin. NaN where nothing was entered.
        """
        total = self.points.sum()
        return float(np.abs(self.right - self.confidence).sum() / total) if total else float("nan")


class Flicker:
    """How often the labels of what stands still change from frame to frame.

    Attributes:
        compared: pairs of points that were of the same place in two frames.
        changed: those of them whose labels differed.
    """

    def __init__(self) -> None:
        self.compared = 0
        self.changed = 0

    def update(self, before: npt.NDArray[np.integer], now: npt.NDArray[np.integer]) -> None:
        """Compare the labels [P] of the same places in a frame and the next one."""
        self.compared += len(now)
        self.changed += int(np.count_nonzero(before != now))

    @property
    def share(self) -> float:
        """Share of the places whose label changed; NaN where there is none."""
        return self.changed / self.compared if self.compared else float("nan")


def standing_still(
    labels: npt.NDArray[np.integer], moving: npt.NDArray[np.bool_] | None, label_set: LabelSet
) -> npt.NDArray[np.bool_]:
    """Tell the points [N] of which it is known that they stand still.

    Args:
        labels: [N] true labels; a point without one may be anything.
        moving: [N] what truly moves; None where nobody tells: then no class that can move stands
            still.
        label_set: of the labels.
    """
    moves = np.isin(labels, label_set.movable_ids) if moving is None else moving
    return np.asarray((labels < len(label_set)) & ~moves)


def same_places(
    before: Frame,
    now: Frame,
    still_before: npt.NDArray[np.bool_],
    still_now: npt.NDArray[np.bool_],
    radius: float = 0.1,
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Pair the points of two frames that measured the same place.

    A still point of `now` pairs with the still point of `before` that is nearest to it in the
    odometry frame, if that is near enough and truly of the same class.

    Args:
        before: N frame with labels.
        now: M frame with labels, later than it.
        still_before: [N] which points stand still.
        still_now: [M] which points stand still.
        radius: metres that the two may be apart.

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
