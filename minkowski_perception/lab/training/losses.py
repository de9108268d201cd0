# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Losses on the logits of voxels: of the classes, and of other heads by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from minkowski_perception.labels import UNLABELLED
from minkowski_perception.moving import MOVING
from minkowski_perception.networks.heads import CLASSES
from minkowski_perception.registry import Registry
from minkowski_perception.schema import unknown_at

HeadLoss = Callable[[Tensor, Tensor, Tensor], Tensor]
"""From logits [N, C], true ids [N] int64 and weights [N] of N > 0 voxels to a scalar.

Only voxels of known truth are given.
"""

LOSSES: Registry[HeadLoss] = Registry("loss")
"""Losses of the heads other than the classes, by name of the head."""


def loss(head: str) -> Callable[[HeadLoss], HeadLoss]:
    """Return a decorator that registers a function as the loss of a head."""
    return LOSSES.register(head)


@dataclass(frozen=True)
class Loss:
    """Weighted sum of the losses of all heads; the class loss has two parts.

    Attributes:
        cross_entropy: weight of the cross entropy.
        lovasz: weight of the Lovasz softmax loss.
        class_weights: in the cross entropy: "inverse_root" lifts rare classes as `class_weights`
            does, "none" gives all classes the same weight.
        label_smoothing: share of the truth that the cross entropy spreads over all classes.
        point_power: a voxel's weight is its number of points to this power: 0 weights voxels
            equally, 1 points. Scores count points, most of which lie in few voxels near the
            sensor.
        first_frames: factor on the weight of the voxels of each clip's first frame, which has no
            past: a network that runs on streams rarely meets such frames.
        averaged: share of the class loss that is computed on logits averaged over the frames of a
            clip (`averaged_logits`), from which labels are chosen at run time.
        refined: share of the class loss of single frames that is computed on the CRF's scores,
            where a CRF is trained with the network; the rest is on the network's own logits.
        heads: weights of the losses of other heads, by name; 1 where not given.
    """

    cross_entropy: float = 1.0
    lovasz: float = 1.0
    class_weights: Literal["inverse_root", "none"] = "inverse_root"
    label_smoothing: float = 0.0
    point_power: float = 0.0
    first_frames: float = 1.0
    averaged: float = 0.0
    refined: float = 0.8
    heads: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check the weights.

        Raises:
            ValueError: one is negative, those of the class loss are all zero, the power or the
                share `averaged` is not 0 to 1, or `first_frames` or `refined` is not above 0 and
                at most 1.
        """
        weights = (self.cross_entropy, self.lovasz, self.label_smoothing, *self.heads.values())
        if min(weights) < 0.0 or self.cross_entropy + self.lovasz == 0.0:
            raise ValueError("weights must not be negative, and one must be positive")
        for name in ("point_power", "averaged"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"{name} must be 0 to 1, not {getattr(self, name)}")
        for name in ("first_frames", "refined"):
            if not 0.0 < getattr(self, name) <= 1.0:
                raise ValueError(
                    f"{name} must be above 0 and at most 1, not {getattr(self, name)}"
                )

    def __call__(
        self,
        logits: Tensor,
        labels: Tensor,
        weights: Tensor | None = None,
        points: Tensor | None = None,
        first: Tensor | None = None,
    ) -> Tensor:
        """Return the class loss of voxels, a scalar; 0 without labelled voxels.

        Args:
            logits: [N, K].
            labels: [N] int64 ids; `UNLABELLED` does not count.
            weights: [K] of the classes, or None.
            points: [N] number of points in each voxel; None for one.
            first: [N] bool, which voxels belong to the first frame of a clip; None for none.
        """
        if not (labels != UNLABELLED).any():
            return logits.sum() * 0.0
        mass = self._mass(logits, points, first)
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

    def _mass(self, logits: Tensor, points: Tensor | None, first: Tensor | None) -> Tensor:
        """Return the weight of each voxel, [N]."""
        mass = torch.ones_like(logits[:, 0])
        if points is not None and self.point_power:
            mass = points.to(logits.dtype) ** self.point_power
        if first is not None and self.first_frames != 1.0:
            mass = torch.where(first, self.first_frames * mass, mass)
        return mass

    def check_heads(self, heads: Mapping[str, int]) -> None:
        """Check that the heads of a network have losses, and that `heads` names them alone.

        Raises:
            SchemaError: a head has no loss, or a weight no head; the valid ones are listed.
        """
        others = {name: channels for name, channels in heads.items() if name != CLASSES}
        for name in others:
            LOSSES[name]
        for name in self.heads:
            if name not in others:
                raise unknown_at(f"loss.heads.{name}", "head", name, others)

    def total(
        self,
        logits: Mapping[str, Tensor],
        labels: Tensor,
        truth: Mapping[str, Tensor],
        weights: Tensor | None = None,
        points: Tensor | None = None,
        first: Tensor | None = None,
        averaged: Tensor | None = None,
        refined: Tensor | None = None,
    ) -> Tensor:
        """Return the weighted sum of the losses of all heads, a scalar.

        Args:
            logits: [N, C] by head.
            labels: see `__call__`.
            truth: [N] int64 true ids of each head but the classes; `UNLABELLED` does not count.
            weights: see `__call__`.
            points: see `__call__`.
            first: see `__call__`.
            averaged: [N, K], averaged logits of the classes; None for those of single frames.
            refined: [N, K], class logits of single frames, refined by a CRF; None without one.

        Voxels weigh in the other heads' losses as in the cross entropy of the classes.
        """
        total = self(logits[CLASSES], labels, weights, points, first)
        if refined is not None:
            of_crf = self(refined, labels, weights, points, first)
            total = torch.lerp(total, of_crf, self.refined)
        if averaged is not None:
            of_average = self(averaged, labels, weights, points, first)
            total = torch.lerp(total, of_average, self.averaged)
        mass = self._mass(logits[CLASSES], points, first)
        if weights is not None:
            mass = mass * F.pad(weights, (0, 1), value=1.0)[labels.clamp(max=len(weights))]
        for name, ids in truth.items():
            known = ids != UNLABELLED
            # Without known truth the loss is 0, but still a function of the head's weights.
            of_head = (
                LOSSES[name](logits[name][known], ids[known], mass[known])
                if known.any()
                else logits[name].sum() * 0.0
            )
            total = total + self.heads.get(name, 1.0) * of_head
        return total


_MOVING_WEIGHT = 4.0
"""Weight of a moving voxel in the loss: about the square root of the odds of being still."""


@loss(MOVING)
def moving_loss(logits: Tensor, ids: Tensor, weights: Tensor) -> Tensor:
    """Return the weighted mean cross entropy of moving and still, with more weight on moving.

    The weight W alone would shift the best logit by log W. The loss therefore adds log W to the
    logits; its minimum is then at the true probability, which outputs can state as it is.
    """
    more = logits.new_tensor(_MOVING_WEIGHT)
    losses = F.binary_cross_entropy_with_logits(
        logits[:, 0] + more.log(), ids.to(logits.dtype), pos_weight=more, reduction="none"
    )
    return (weights * losses).sum() / weights.sum()


def lovasz_softmax(
    logits: Tensor, labels: Tensor, ignore: int = 255, mass: Tensor | None = None
) -> Tensor:
    """Return a surrogate of the mean IoU (Berman et al. 2018, classes present), a scalar.

    Args:
        logits: [N, K].
        labels: [N] int64 ids.
        ignore: id that does not count; without others the result is 0.
        mass: [N] weights; None for 1.
    """
    counted = labels != ignore
    if not counted.any():
        return logits.sum() * 0.0
    mass = torch.ones_like(logits[:, 0]) if mass is None else mass
    if not counted.all():
        rows = counted.nonzero()[:, 0]
        logits, labels, mass = (values.index_select(0, rows) for values in (logits, labels, mass))
    probability = F.softmax(logits, dim=1)
    # The loss is linear in the errors once they are sorted, and so in the probabilities.
    slopes, constant = _lovasz_slopes(probability.detach(), labels, mass)
    return (probability * slopes).sum() + constant


def _lovasz_slopes(probability: Tensor, labels: Tensor, mass: Tensor) -> tuple[Tensor, Tensor]:
    """Return the derivatives [N, K] of the Lovasz softmax loss, and its value less their product.

    Args:
        probability: [N, K], without gradients.
        labels: [N] int64 ids.
        mass: [N] weights.
    """
    columns = probability.T.contiguous()
    slopes = torch.zeros_like(columns)
    constant = mass.new_zeros(())
    classes = torch.unique(labels).tolist()
    for k in classes:
        truth = labels == k
        errors = torch.where(truth, 1.0 - columns[k], columns[k])
        # Errors below the smallest one of the class itself have gradient 0: they need no sorting.
        rows = (errors >= errors[truth].min()).nonzero()[:, 0]
        rows = rows.index_select(0, _descending(errors.index_select(0, rows)))
        known, amount = truth.index_select(0, rows), mass.index_select(0, rows)
        slope = _jaccard_gradient(amount * known, amount * ~known)
        slopes[k].index_copy_(0, rows, torch.where(known, -slope, slope))
        constant += (slope * known).sum()
    return slopes.T / len(classes), constant / len(classes)


def _descending(values: Tensor) -> Tensor:
    """Return the order [N] that sorts values [N] from large to small."""
    if values.device.type == "cpu":  # NumPy sorts with vector instructions.
        return torch.from_numpy(np.argsort(-values.numpy()))
    return torch.argsort(values, descending=True)


def _jaccard_gradient(own: Tensor, other: Tensor) -> Tensor:
    """Return the gradient [N] of the Lovasz extension of the Jaccard loss.

    Args:
        own: [N] weights of the voxels of the class, errors sorted from large to small; 0 for
            others.
        other: [N] weights of the voxels of other classes; 0 for those of the class.
    """
    hits = own.sum() - own.cumsum(0)
    union = own.sum() + other.cumsum(0)
    jaccard = 1.0 - hits / union
    return torch.cat([jaccard[:1], jaccard[1:] - jaccard[:-1]])


def class_shares(labels: npt.NDArray[np.integer], classes: int) -> npt.NDArray[np.float64]:
    """Return each class's share of the labels, [K]; `UNLABELLED` does not count."""
    counts = np.bincount(labels[labels != UNLABELLED], minlength=classes)[:classes]
    return np.asarray(counts / max(counts.sum(), 1))


def class_weights(share: npt.NDArray[np.float64]) -> Tensor:
    """Return class weights [K] float32: inverse square roots of shares, with mean 1 over points.

    The square root lifts rare classes without making common ones negligible.
    """
    weights = 1.0 / np.sqrt(share + 1e-4)
    return torch.tensor(weights / ((share * weights).sum() or 1.0), dtype=torch.float32)
