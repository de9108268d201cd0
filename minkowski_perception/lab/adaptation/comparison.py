# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Comparison of a model before and after its adaptation, on frames that are held out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from minkowski_perception.frame import Frame
from minkowski_perception.lab.adaptation.observation import Teacher, voxel_keys
from minkowski_perception.labels import UNLABELLED
from minkowski_perception.networks.model import Model

# Largest changes that are not worse: neighbouring frames and few classes make figures noisy.
_DISAGREEMENT = 1.1
_AGREEMENT = 0.01
_ENTROPY = 1.1
_SIMULATION = 0.02
_VANISHES, _RARE = 0.1, 0.002
"""A class of at least the second share of the points vanishes below the first share of that."""
_EXPLODES, _COMMON = 3.0, 0.01
"""A class explodes above so many times its share, if it then has the second share."""


@dataclass(frozen=True)
class Figures:
    """What a model says of held-out frames, without averaging over frames.

    Attributes:
        disagreement: share of the voxels that two neighbouring frames saw and labelled
            differently; None if they share no voxel.
        agreement: share of the points with a pseudo label that have that label.
        entropy: mean of the class probabilities over the voxels, nats.
        classes: share of each class among the labels, by name.
        simulation: mIoU on simulated drives of a like sensor; None without simulation.
    """

    disagreement: float | None
    agreement: float | None
    entropy: float
    classes: Mapping[str, float]
    simulation: float | None

    def to_dict(self) -> dict[str, Any]:
        """Return the figures by name, rounded for a card."""
        return {
            "disagreement": _rounded(self.disagreement),
            "agreement": _rounded(self.agreement),
            "entropy": _rounded(self.entropy),
            "simulation": _rounded(self.simulation),
            "classes": {name: round(share, 5) for name, share in self.classes.items()},
        }


def measure(
    model: Model,
    sequences: Mapping[str, Sequence[Frame]],
    device: str,
    simulation: float | None,
) -> Figures:
    """Return the figures of a model.

    Args:
        model: labels the frames.
        sequences: held-out frames with poses, pseudo labels, and intensity from 0 to 1.
        device: see `choose_device`.
        simulation: its score on simulated drives.
    """
    teacher = Teacher(
        model,
        device=device,
        precision="float32",
        averaging=1,
        deskew=False,
        intensity_full_scale=1.0,
    )
    counts = np.zeros(UNLABELLED + 1, np.int64)
    differ = pairs = right = known = voxels = 0
    entropy = 0.0
    total = sum(map(len, sequences.values()))
    with tqdm(desc="comparing on held-out frames", total=total, unit="frame") as bar:
        for frames in sequences.values():
            stream = teacher.another_stream()
            assert isinstance(stream, Teacher)
            before: tuple[Any, Any] | None = None
            for frame in frames:
                labels = stream.segment(frame).labels
                counts += np.bincount(labels, minlength=UNLABELLED + 1)
                if frame.labels is not None:
                    taught = frame.labels != UNLABELLED
                    known += int(taught.sum())
                    right += int((labels == frame.labels)[taught].sum())
                found = stream.found
                entropy += float(torch.special.entr(found.values).sum())
                voxels += len(found.values)
                now = voxel_keys(found), found.values.argmax(dim=1).numpy()
                if before is not None:
                    _, i, j = np.intersect1d(
                        before[0], now[0], assume_unique=True, return_indices=True
                    )
                    pairs += len(i)
                    differ += int((before[1][i] != now[1][j]).sum())
                before = now
                bar.update()
    named = counts[: len(model.label_set)] / max(counts.sum(), 1)
    return Figures(
        differ / pairs if pairs else None,
        right / known if known else None,
        entropy / max(voxels, 1),
        dict(zip(model.label_set.names, named.tolist(), strict=True)),
        simulation,
    )


def worse(before: Figures, after: Figures) -> list[str]:
    """Return in what a model got worse, a sentence each; none if it did not."""
    found = []
    if _above(after.disagreement, before.disagreement, _DISAGREEMENT):
        found.append(
            f"neighbouring frames disagree more: {after.disagreement:.4f} of the voxels, "
            f"{before.disagreement:.4f} before"
        )
    if _below(after.agreement, before.agreement, _AGREEMENT):
        found.append(
            f"labels agree less with the mean over time: {after.agreement:.4f} of the points, "
            f"{before.agreement:.4f} before"
        )
    if _above(after.entropy, before.entropy, _ENTROPY):
        found.append(
            f"the model is less sure: entropy {after.entropy:.4f}, {before.entropy:.4f} before"
        )
    if _below(after.simulation, before.simulation, _SIMULATION):
        found.append(
            f"it forgot what it had learnt: mIoU {after.simulation:.3f} on simulated drives, "
            f"{before.simulation:.3f} before"
        )
    return [*found, *_changed_classes(before.classes, after.classes)]


def table(before: Figures, after: Figures) -> str:
    """Return the figures side by side, a line each; of classes those that changed most."""
    rows = [
        (name, getattr(before, name), getattr(after, name))
        for name in ("disagreement", "agreement", "entropy", "simulation")
    ]
    changes = {name: after.classes[name] - share for name, share in before.classes.items()}
    most = sorted(changes, key=lambda name: -abs(changes[name]))[:5]
    rows += [(f"share of {name}", before.classes[name], after.classes[name]) for name in most]
    lines = [f"{name:26s} {_shown(old):>9s} {_shown(new):>9s}" for name, old, new in rows]
    return "\n".join([f"{'held-out frames':26s} {'before':>9s} {'after':>9s}", *lines])


def _changed_classes(before: Mapping[str, float], after: Mapping[str, float]) -> Iterable[str]:
    for name, share in before.items():
        now = after[name]
        words = f"{now:.2%} of the points, {share:.2%} before"
        if share >= _RARE and now < _VANISHES * share:
            yield f"class {name} vanishes: {words}"
        if now >= _COMMON and now > _EXPLODES * share:
            yield f"class {name} explodes: {words}"


def _above(after: float | None, before: float | None, factor: float) -> bool:
    return after is not None and before is not None and after > factor * before


def _below(after: float | None, before: float | None, slack: float) -> bool:
    return after is not None and before is not None and after < before - slack


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
