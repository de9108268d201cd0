# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Scores of a saved model on held-out data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from minkowski_perception.frame import Frame
from minkowski_perception.lab.training.recipe import Data
from minkowski_perception.lab.training.sources import open_set, simulate
from minkowski_perception.labels import LabelSet
from minkowski_perception.networks.model import load_model
from minkowski_perception.scoring import Scorer
from minkowski_perception.segmenter import Segmenter


@dataclass(frozen=True)
class HeldOutSequences:
    """Sequences of one sensor.

    Attributes:
        name: of the sensor or the data set.
        sequences: of frames.
        full_scale: of intensity, where it is known.
        frames: number of frames from the start of each sequence; None takes all.
    """

    name: str
    sequences: Sequence[Sequence[Frame]]
    full_scale: float | None = None
    frames: int | None = None


def open_held_out(data: Data, labels: LabelSet) -> list[HeldOutSequences]:
    """Open the held-out data of a recipe.

    Raises:
        DatasetError, LabelSetError: as `open_dataset`.
    """
    held_out = []
    if data.held_out_seeds is not None:
        seeds = range(*data.held_out_seeds)
        held_out += [
            HeldOutSequences(sensor, simulate(data, labels, seeds, {sensor: 1.0}))
            for sensor in data.sensors
        ]
    for chosen in data.held_out_sets:
        dataset = open_set(chosen, labels)
        sequences = list(dataset.sequences.values())
        scale = dataset.intensity_full_scale
        held_out.append(HeldOutSequences(chosen.name, sequences, scale, chosen.frames))
    return held_out


def evaluate(
    card: Path,
    held_out: Sequence[HeldOutSequences],
    device: str = "auto",
    frames: int | None = None,
) -> dict[str, Any]:
    """Score a model frame by frame, as it runs on a robot.

    Args:
        card: path of the model's card.
        held_out: data to score it on.
        device: see `choose_device`.
        frames: largest number of frames from the start of each sequence; None takes all.

    Returns:
        `miou` by name, `iou` by class over all of them, and `outputs`: figures of other heads
        that have a metric; rounded for a card.
    """
    model = load_model(card)
    scorer = Scorer(model.label_set, model.label_set)
    for held in held_out:
        scorer.begin(held.name)
        segmenter = Segmenter(
            model, device=device, precision="float32", intensity_full_scale=held.full_scale
        )
        most = min((n for n in (held.frames, frames) if n is not None), default=None)
        for sequence in held.sequences:
            stream = segmenter.another_stream()
            for frame in islice(sequence, most):
                result = stream.segment(frame)
                if frame.labels is not None:
                    scorer.add(frame, result.labels, outputs=result.outputs)
    iou = zip(model.label_set.names, scorer.all["classes"].iou.tolist(), strict=True)
    outputs = {
        name: {
            key: value and round(value, 3)
            for key, value in metric.figures().items()
            if value is None or isinstance(value, int | float)
        }
        for name, metric in scorer.outputs.items()
    }
    return {
        "miou": {
            name: round(confusions["classes"].miou, 3)
            for name, confusions in scorer.by_sequence.items()
        },
        "iou": {name: round(value, 3) for name, value in iou if not np.isnan(value)},
        **({"outputs": outputs} if outputs else {}),
    }
