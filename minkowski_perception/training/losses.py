# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Losses on the logits of voxels."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from minkowski_perception.labels import UNLABELLED


def lovasz_softmax(logits: Tensor, labels: Tensor, ignore: int = 255) -> Tensor:
    """Surrogate of the mean intersection over union (Berman et al. 2018, classes present).

    Args:
        logits: [N, K].
        labels: [N] int64 ids.
        ignore: id that does not count.

    Returns:
        A scalar; zero where no label counts.
    """
    counted = labels != ignore
    probability = F.softmax(logits[counted], dim=1)
    labels = labels[counted]
    losses = []
    for k in torch.unique(labels).tolist():
        truth = labels == k
        errors = (truth.to(probability.dtype) - probability[:, k]).abs()
        # Behind the last of the class's own errors the gradient is zero: most need no sorting.
        matter = errors >= errors[truth].min()
        errors, order = torch.sort(errors[matter], descending=True)
        losses.append(errors @ _jaccard_gradient(truth[matter][order].to(errors.dtype)))
    return torch.stack(losses).mean() if losses else logits.sum() * 0.0


def _jaccard_gradient(truth: Tensor) -> Tensor:
    """Gradient of the Lovasz extension of the Jaccard loss, errors sorted from large to small."""
    hits = truth.sum() - truth.cumsum(0)
    union = truth.sum() + (1.0 - truth).cumsum(0)
    jaccard = 1.0 - hits / union
    return torch.cat([jaccard[:1], jaccard[1:] - jaccard[:-1]])


def segmentation_loss(
    logits: Tensor, labels: Tensor, class_weights: Tensor | None = None, ignore: int = 255
) -> Tensor:
    """Cross entropy plus the Lovasz softmax loss; shapes as in `lovasz_softmax`."""
    cross_entropy = F.cross_entropy(logits, labels, class_weights, ignore_index=ignore)
    return cross_entropy + lovasz_softmax(logits, labels, ignore)


def class_weights(labels: npt.NDArray[np.integer], classes: int) -> Tensor:
    """[K] float32: one over the square root of each class's share, mean 1 over the points.

    The square root lifts rare classes without drowning the common ones.
    """
    counts = np.bincount(labels[labels != UNLABELLED], minlength=classes)[:classes]
    share = counts / max(counts.sum(), 1)
    weights = 1.0 / np.sqrt(share + 1e-4)
    return torch.tensor(weights / (share * weights).sum(), dtype=torch.float32)
