# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""95 % intervals by the bootstrap: frames, sequences or drives are drawn with replacement.

An interval holds 95 % of the values of the draws (Efron and Tibshirani 1993, percentile method).
Neighbouring frames of a drive resemble each other, so intervals over frames are too narrow for
another drive; those over sequences are not, but need several sequences.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from minkowski_perception.lab.evaluation.evaluation import FrameConfusions

DRAWS = 1000
"""Draws of the bootstrap."""
_ENDS = (2.5, 97.5)  # percentiles

Values = npt.NDArray[np.float64]
Interval = tuple[float, float]


def miou_draws(frames: Sequence[FrameConfusions], view: str, over: str) -> Values | None:
    """Return the mIoU of each draw [DRAWS]; None if there is one frame or sequence.

    Draws depend on the numbers of frames and sequences alone, so two models on the same frames
    have the same draws.

    Args:
        frames: confusion of each frame.
        view: name of the label set to compare in.
        over: "frames" or "sequences", which are drawn.
    """
    counts = np.stack([frame.counts[view] for frame in frames]).astype(np.float64)
    if over == "sequences":
        names = np.array([frame.sequence for frame in frames])
        counts = np.stack([counts[names == name].sum(axis=0) for name in dict.fromkeys(names)])
    units = len(counts)
    if units == 1:
        return None
    totals = draws_of(units) @ counts.reshape(units, -1)
    return miou_of(totals.reshape(DRAWS, *counts.shape[1:]))


def draws_of(units: int, count: int = DRAWS, rng: np.random.Generator | None = None) -> Values:
    """Return how often each of some units counts in each draw, [count, units].

    Args:
        units: number of units, each of which counts once on average.
        count: number of draws.
        rng: random numbers; None for the same ones in each call.
    """
    rng = np.random.default_rng(0) if rng is None else rng
    chosen = rng.integers(units, size=(count, units))
    return np.stack([np.bincount(each, minlength=units) for each in chosen]).astype(np.float64)


def interval(values: Values | None) -> Interval | None:
    """Return the ends of the 95 % interval of drawn values; None without values."""
    if values is None or np.isnan(values).all():
        return None
    low, high = np.nanpercentile(values, _ENDS)
    return float(low), float(high)


def miou_intervals(frames: Sequence[FrameConfusions], view: str) -> dict[str, Interval | None]:
    """Return the intervals of mIoU over frames and over sequences."""
    return {over: interval(miou_draws(frames, view, over)) for over in ("frames", "sequences")}


def miou_difference(
    first: Sequence[FrameConfusions], second: Sequence[FrameConfusions], view: str
) -> dict[str, Interval | None]:
    """Return the paired intervals of what a second model gains, over frames and sequences.

    Args:
        first: confusions of one model.
        second: those of another one on the same frames.
        view: name of the label set to compare in.
    """
    found: dict[str, Interval | None] = {}
    for over in ("frames", "sequences"):
        before, after = miou_draws(first, view, over), miou_draws(second, view, over)
        found[over] = None if before is None or after is None else interval(after - before)
    return found


def miou_of(counts: npt.NDArray[Any]) -> Values:
    """Return the mIoU [...] over the classes in the truth of confusions [..., K, K + 1]."""
    hits = np.diagonal(counts, axis1=-2, axis2=-1)
    truth, predicted = counts.sum(axis=-1), counts.sum(axis=-2)[..., :-1]
    iou = hits / np.maximum(truth + predicted - hits, 1.0)
    present = truth > 0
    classes = present.sum(axis=-1)
    return np.where(classes > 0, (iou * present).sum(axis=-1) / np.maximum(classes, 1), np.nan)
