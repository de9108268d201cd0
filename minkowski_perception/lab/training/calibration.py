# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Calibration of a network's outputs after a training, folded into the weights of its heads.

The probability of moving gets a factor and an offset on its logit, fitted on held-out data (Platt
1999). The logits of the classes lose a share of what the weights of the loss added (`adjust`).
Inference does not change.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy.optimize import minimize
from scipy.special import expit

from minkowski_perception.frame import Frame
from minkowski_perception.lab.training.validation import HeldOutSequences
from minkowski_perception.moving import (
    LOGITS,
    MOVING,
    MovingScores,
    calibration_error,
    probability_bins,
)
from minkowski_perception.networks import Network
from minkowski_perception.networks.model import Model, load_model, save_model
from minkowski_perception.segmenter import Segmenter


class GuessingSegmenter(Segmenter):
    """A segmenter that gives the value of a head that needs motion for single frames too.

    A 3D network never knows motion. So its probability of moving is not published, but it is
    compared with that of causal networks.
    """

    def _knows_motion(self, frame: Frame) -> bool:
        return frame.pose is not None


@dataclass(frozen=True)
class Scaling:
    """Change of a logit: `factor` times the logit, plus `offset`."""

    factor: float
    offset: float

    def counts(self, counts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return the counts [2, B] of `MovingScores.histogram` with changed probabilities."""
        bins = probability_bins(expit(self.factor * LOGITS + self.offset))
        rows = [np.bincount(bins, weights=row, minlength=counts.shape[1]) for row in counts]
        return np.stack(rows).astype(np.int64)


def fit(counts: npt.NDArray[np.int64]) -> Scaling | None:
    """Return the scaling that makes the truth most likely.

    Args:
        counts: [2, B] still and moving points by bin of probability, see `MovingScores.histogram`.

    Returns:
        The scaling; None if there are no still or no moving points, or if the moving ones do not
        have the larger logits.
    """
    still, moving = counts.sum(axis=1)
    if not (still and moving):
        return None
    # Platt's targets: with 0 and 1, separable points would make the factor infinite.
    low, high = 1.0 / (still + 2.0), (moving + 1.0) / (moving + 2.0)
    points = counts.sum(axis=0)
    wanted = counts[0] * low + counts[1] * high
    total = points.sum()

    def loss(values: npt.NDArray[np.float64]) -> tuple[float, npt.NDArray[np.float64]]:
        logits = values[0] * LOGITS + values[1]
        each = points * np.logaddexp(0.0, logits) - wanted * logits
        slope = points * expit(logits) - wanted
        return each.sum() / total, np.array([slope @ LOGITS, slope.sum()]) / total

    factor, offset = minimize(loss, np.array([1.0, 0.0]), jac=True, method="BFGS").x
    return Scaling(float(factor), float(offset)) if factor > 0.0 else None


def fold(network: Network, head: str, scaling: Scaling) -> None:
    """Apply a scaling to the weights of a head of one logit."""
    weights = dict(network.heads[head].named_parameters())
    with torch.no_grad():
        for value in weights.values():
            value.mul_(scaling.factor)
        weights["bias"].add_(scaling.offset)


def adjust(network: Network, class_weights: torch.Tensor, share: float) -> None:
    """Subtract a share of the log weights of the classes in the loss from their logits.

    Cross entropy with weights w has its minimum at the logits log p + log w, so the network
    predicts rare classes, whose weights are high, too often. A share of 1 undoes that (logit
    adjustment, Menon et al. 2021).

    Args:
        network: the bias of its class layer is changed.
        class_weights: [K], more than 0.
        share: 0 to 1.
    """
    bias = network.get_submodule(network.class_layer).get_parameter("bias")
    with torch.no_grad():
        bias.sub_(share * class_weights.log().to(bias).view_as(bias))


def calibrate(
    model: Model, held_out: Sequence[HeldOutSequences], device: str = "auto"
) -> dict[str, Any] | None:
    """Calibrate the head "moving" of a model, frame by frame as it runs on a robot.

    Args:
        model: its network is changed.
        held_out: data to fit on, of which the first frame of each sequence does not count.
        device: see `choose_device`.

    Returns:
        Factor, offset, and expected calibration error before and after, for a card; None if the
        model has no such head or the data no motion.
    """
    if MOVING not in model.network.heads:
        return None
    scores = MovingScores(model.label_set)
    for held in held_out:
        segmenter = GuessingSegmenter(
            model,
            device=device,
            precision="float32",
            crf=False,
            averaging=1,
            intensity_full_scale=held.full_scale,
        )
        for sequence in held.sequences:
            stream = segmenter.another_stream()
            for number, frame in enumerate(islice(sequence, held.frames)):
                found = stream.segment(frame)
                if number and frame.labels is not None:
                    scores.update(frame, found.outputs[MOVING], found.labels)
    scaling = fit(scores.histogram)
    if scaling is None:
        return None
    fold(model.network, MOVING, scaling)
    after = scaling.counts(scores.histogram)
    return {
        "factor": round(scaling.factor, 4),
        "offset": round(scaling.offset, 4),
        "error_before": round(float(calibration_error(scores.histogram)), 5),
        "error_after": round(float(calibration_error(after)), 5),
    }


def calibrate_saved(
    card: Path, held_out: Sequence[HeldOutSequences], device: str = "auto"
) -> dict[str, Any] | None:
    """Calibrate a model in its files, and add the figures to its card.

    Args:
        card: path of the model's card.
        held_out: see `calibrate`; `validation.open_held_out` opens that of a recipe.
        device: see `choose_device`.

    Returns:
        The figures; None if there was nothing to calibrate, and the files are as before.

    Raises:
        ModelError: the model cannot be loaded.
    """
    model = load_model(card)
    found = calibrate(model, held_out, device)
    if found is not None:
        figures = {**(model.card.get("figures") or {}), "calibration": {MOVING: found}}
        save_model(
            card.with_suffix(""), model.network, {**model.card, "figures": figures}, crf=model.crf
        )
    return found
