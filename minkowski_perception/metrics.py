# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""How well labels agree with the truth: confusion, intersection over union, accuracy."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


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
