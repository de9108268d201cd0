# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Losses on the logits of voxels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from minkowski_perception.labels import UNLABELLED


@dataclass(frozen=True)
class Loss:
    """What is minimised.

    Attributes:
        cross_entropy: weight of the cross entropy.
        lovasz: weight of the Lovasz softmax loss.
        class_weights: in the cross entropy: "inverse_root" lifts rare classes as `class_weights`
            does, "none" counts all points alike.
        label_smoothing: share of the truth that the cross entropy spreads over all classes.
        point_power: a voxel counts as its number of points to this power: 0 counts voxels alike,
            1 points. Scores count points, most of which lie in few voxels near the sensor.
    """

    cross_entropy: float = 1.0
    lovasz: float = 1.0
    class_weights: Literal["inverse_root", "none"] = "inverse_root"
    label_smoothing: float = 0.0
    point_power: float = 0.0

    def __post_init__(self) -> None:
        """Check the weights.

        Raises:
            ValueError: one is negative, or nothing is minimised; points count otherwise than
                with a power of 0 to 1.
        """
        weights = (self.cross_entropy, self.lovasz, self.label_smoothing)
        if min(weights) < 0.0 or self.cross_entropy + self.lovasz == 0.0:
            raise ValueError("weights must not be negative, and one must be positive")
        if not 0.0 <= self.point_power <= 1.0:
            raise ValueError(f"point_power must be 0 to 1, not {self.point_power}")

    def __call__(
        self,
        logits: Tensor,
        labels: Tensor,
        weights: Tensor | None = None,
        points: Tensor | None = None,
    ) -> Tensor:
        """Loss of voxels; `UNLABELLED` does not count.

        Args:
            logits: [N, K].
            labels: [N] int64 ids.
            weights: [K] of the classes, or None.
            points: [N] in each voxel; None for one.

        Returns:
            A scalar; zero where no label counts.
        """
        if not (labels != UNLABELLED).any():
            return logits.sum() * 0.0
        mass = torch.ones_like(logits[:, 0])
        if points is not None and self.point_power:
            mass = points.to(logits.dtype) ** self.point_power
        total = logits.new_zeros(())
        if self.cross_entropy:
            each = F.cross_entropy(
                logits,
                labels,
                weights,
                ignore_index=UNLABELLED,
                label_smoothing=self.label_smoothing,
                reduction="none",
            )
            counted = mass * (labels != UNLABELLED)
            if weights is not None:
                counted = counted * weights[labels.clamp(max=len(weights) - 1)]
            total = total + self.cross_entropy * (mass * each).sum() / counted.sum()
        if self.lovasz:
            total = total + self.lovasz * lovasz_softmax(logits, labels, UNLABELLED, mass)
        return total


def lovasz_softmax(
    logits: Tensor, labels: Tensor, ignore: int = 255, mass: Tensor | None = None
) -> Tensor:
    """Surrogate of the mean intersection over union (Berman et al. 2018, classes present).

    Args:
        logits: [N, K].
        labels: [N] int64 ids.
        ignore: id that does not count.
        mass: [N], as how many each counts; None for one.

    Returns:
        A scalar; zero where no label counts.
    """
    counted = labels != ignore
    probability = F.softmax(logits[counted], dim=1)
    labels = labels[counted]
    mass = torch.ones_like(probability[:, 0]) if mass is None else mass[counted]
    losses = []
    for k in torch.unique(labels).tolist():
        truth = labels == k
        errors = (truth.to(probability.dtype) - probability[:, k]).abs()
        # Behind the last of the class's own errors the gradient is zero: most need no sorting.
        matter = errors >= errors[truth].min()
        errors, order = torch.sort(errors[matter], descending=True)
        known, amount = truth[matter][order], mass[matter][order]
        losses.append(errors @ _jaccard_gradient(amount * known, amount * ~known))
    return torch.stack(losses).mean() if losses else logits.sum() * 0.0


def _jaccard_gradient(own: Tensor, other: Tensor) -> Tensor:
    """Gradient of the Lovasz extension of the Jaccard loss, errors sorted from large to small.

    Args:
        own: [N], as how many each counts that is of the class; 0 for others.
        other: likewise, of those that are not.
    """
    hits = own.sum() - own.cumsum(0)
    union = own.sum() + other.cumsum(0)
    jaccard = 1.0 - hits / union
    return torch.cat([jaccard[:1], jaccard[1:] - jaccard[:-1]])


def class_shares(labels: npt.NDArray[np.integer], classes: int) -> npt.NDArray[np.float64]:
    """[K]: each class's share of the labels that count."""
    counts = np.bincount(labels[labels != UNLABELLED], minlength=classes)[:classes]
    return np.asarray(counts / max(counts.sum(), 1))


def class_weights(share: npt.NDArray[np.float64]) -> Tensor:
    """[K] float32: one over the square root of each class's share, mean 1 over the points.

    The square root lifts rare classes without drowning the common ones.
    """
    weights = 1.0 / np.sqrt(share + 1e-4)
    return torch.tensor(weights / ((share * weights).sum() or 1.0), dtype=torch.float32)
