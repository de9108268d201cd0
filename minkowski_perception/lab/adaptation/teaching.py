# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Second pass: frames get their pseudo labels, as a data set that a recipe can name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from minkowski_perception.lab.adaptation.errors import AdaptationError
from minkowski_perception.lab.adaptation.observation import Seen, Stretch
from minkowski_perception.lab.adaptation.places import Places
from minkowski_perception.lab.adaptation.pseudo_labels import (
    Choice,
    Labels,
    Thresholds,
    passing,
    sort_out,
)
from minkowski_perception.lab.datasets.stored import read_frame, write_frame, write_label_set
from minkowski_perception.labels import UNLABELLED, LabelSet

TRAIN, HELD_OUT = "train", "held_out"
"""Splits of the data set."""
_LEAST_FRAMES = 2
"""Frames of the shortest stretch that is used."""


@dataclass(frozen=True)
class Taught:
    """What was taught.

    Attributes:
        frames: number of the frames that are trained on.
        held_out: number of those that are not.
        share: of the voxels of the frames that are trained on, those with a pseudo label.
        classes: share of each class among these, by name.
    """

    frames: int
    held_out: int
    share: float
    classes: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers by name."""
        return asdict(self)


def teach(stretches: Sequence[Stretch], label_set: LabelSet, choice: Choice, root: Path) -> Taught:
    """Write the frames with pseudo labels to a root, see `lab.datasets.stored`.

    The files of the frames move there.

    Args:
        stretches: of all recordings; those that are too short are left out.
        label_set: of the model.
        choice: which voxels teach.
        root: of the data set.

    Raises:
        AdaptationError: all stretches are too short, or no voxel teaches.
    """
    used = [each for each in stretches if len(each.frames) >= _LEAST_FRAMES]
    if {each.held_out for each in used} != {False, True}:
        found = ", ".join(f"{each.name}: {len(each.frames)} frames" for each in stretches)
        raise AdaptationError(
            "the recordings are too short: to train and to compare, frames with motion and "
            f"without a break are needed; found {found or 'none'}"
        )
    thresholds = Thresholds(len(label_set), choice)
    for stretch in used:
        if not stretch.held_out:
            for seen in stretch.frames:
                labels, confidence = _candidates(seen, stretch.places, label_set, choice)
                thresholds.add(labels, confidence, seen.labels)
    least = thresholds.of_classes()
    write_label_set(root, label_set)
    counts = {split: np.zeros(UNLABELLED + 1, np.int64) for split in (False, True)}
    frames = {False: 0, True: 0}
    rows = [(stretch, seen) for stretch in used for seen in stretch.frames]
    for stretch, seen in tqdm(rows, "pseudo labels", unit="frame"):
        labels, confidence = _candidates(seen, stretch.places, label_set, choice)
        labels = sort_out(labels, confidence, least)
        counts[stretch.held_out] += np.bincount(labels, minlength=UNLABELLED + 1)
        frames[stretch.held_out] += 1
        frame = replace(read_frame(seen.file), labels=labels[seen.voxel_of])
        split = HELD_OUT if stretch.held_out else TRAIN
        write_frame(root / split / stretch.name / seen.file.name, frame)
        seen.file.unlink()
    known = counts[False][: len(label_set)]
    if not known.any():
        raise AdaptationError(
            "no place of the recordings is confident and consistent enough to teach: the model "
            "does not know such a scene, or the poses are wrong; look at the labels of "
            "`minkowski-perception label`, or begin with another --model"
        )
    shares = dict(zip(label_set.names, (known / known.sum()).round(4).tolist(), strict=True))
    share = float(known.sum() / counts[False].sum())
    return Taught(frames[False], frames[True], round(share, 4), shares)


def _candidates(
    seen: Seen, places: Places, label_set: LabelSet, choice: Choice
) -> tuple[Labels, np.ndarray]:
    """Return what places teach the voxels [M] of a frame, and their confidence [M]."""
    evidence = places.evidence(seen.keys)
    unsuited = (evidence.frames < choice.frames) | passing(
        seen.labels, evidence.labels, seen.sure, label_set
    )
    if seen.moves is not None:
        unsuited |= seen.moves
    labels = np.where(unsuited, UNLABELLED, evidence.labels).astype(np.uint8)
    return labels, evidence.confidence
