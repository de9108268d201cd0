# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Heads by name: per-voxel outputs of a network, from logits to fields of a cloud.

A new output registers in a module that is imported before its model is built or loaded:

    @head("ground", truth=lambda frame: frame.labels == 0)
    def ground(logits: Tensor) -> Tensor:
        return torch.sigmoid(logits[:, 0])

Its loss registers under the same name with `lab.training.losses.loss`, its metric with
`scoring.output_metric`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor

from minkowski_perception.frame import Frame
from minkowski_perception.labels import LabelSet
from minkowski_perception.moving import MOVING, true_motion
from minkowski_perception.registry import Registry
from minkowski_perception.sparse import softmax

CLASSES = "classes"
"""The head that every network has: class logits, which become labels and confidences."""

_RESERVED = ("x", "y", "z", "label", "confidence", "rgb")

Output = Callable[[Tensor], Tensor]
"""From logits [M, C] float32 to values [M] of voxels; [M, K] probabilities for `CLASSES`."""

Truth = Callable[[Frame], "npt.NDArray[Any] | None"]
"""From a frame to the true ids [N] of its points, integers with 255 where unknown or booleans.

None for a frame without truth.
"""


@dataclass(frozen=True)
class Head:
    """A per-voxel output.

    Attributes:
        output: from logits to values. float32 values become a FLOAT32 field, NaN for points
            without a value; integers a field of their type, its largest value for such points.
        channels: number of logits for a label set.
        truth: reads the true ids from a frame, for training.
        needs_motion: whether values are missing for frames without a pose or an earlier frame,
            and training leaves such frames out.
    """

    output: Output
    channels: Callable[[LabelSet], int]
    truth: Truth
    needs_motion: bool = False


HEADS: Registry[Head] = Registry("head")


def head(
    name: str,
    *,
    truth: Truth,
    channels: int | Callable[[LabelSet], int] = 1,
    needs_motion: bool = False,
) -> Callable[[Output], Output]:
    """Return a decorator that registers an output function as a head.

    Args:
        name: of the head, its weights and its field in clouds.
        truth: see `Head`.
        channels: number of logits, or a function of the label set that returns it.
        needs_motion: see `Head`.

    Raises:
        ValueError: the name is taken, is no identifier, or is that of another field.
    """
    if not name.isidentifier() or name in _RESERVED:
        raise ValueError(
            f"a head's name must be an identifier and none of {', '.join(_RESERVED)}, not {name!r}"
        )
    count = channels if callable(channels) else lambda _: channels

    def enter(output: Output) -> Output:
        HEADS.register(name)(Head(output, count, truth, needs_motion))
        return output

    return enter


def missing_value(dtype: torch.dtype) -> float:
    """Return what a point without a value gets: NaN, or the largest integer of the type."""
    return float("nan") if dtype.is_floating_point else torch.iinfo(dtype).max


@head(CLASSES, truth=attrgetter("labels"), channels=len)
def class_probabilities(logits: Tensor) -> Tensor:
    """Return the probabilities [M, K] of the classes."""
    return softmax(logits)


@head(MOVING, truth=true_motion, needs_motion=True)
def moving_probability(logits: Tensor) -> Tensor:
    """Return the probability [M] that a voxel moves."""
    return torch.sigmoid(logits[:, 0])
