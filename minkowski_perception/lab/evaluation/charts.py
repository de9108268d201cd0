# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Picture of an evaluation: confusion, calibration and mIoU by range."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from minkowski_perception.metrics import Calibration, ConfusionMatrix
from minkowski_perception.pictures import new_figure, save_figure
from minkowski_perception.scoring import Scorer, View

_COLOURS = {"classes": "#2a78b8", "groups": "#e08a2c"}
_GREY = "#b0b4ba"


def save_overview(path: Path, scorer: Scorer, title: str) -> None:
    """Write a PNG: confusion in each view, reliability, and mIoU by range.

    Args:
        path: of the file; missing folders are created.
        scorer: scores to draw.
        title: of the picture.

    Raises:
        MissingPackageError: Matplotlib is absent.
    """
    figure = new_figure(15.0, 9.0)
    figure.suptitle(title, fontsize=11)
    large, small = figure.subfigures(1, 2, width_ratios=[9, 5])
    _draw_confusion(large.subplots(), scorer.all["classes"], scorer.views["classes"], "classes")
    panels = list(small.subplots(len(scorer.views) + 1, 1))
    if "groups" in scorer.views:
        _draw_confusion(panels.pop(0), scorer.all["groups"], scorer.views["groups"], "groups")
    _draw_reliability(panels[0], scorer.calibration)
    _draw_ranges(panels[1], scorer)
    save_figure(figure, path)


def _draw_confusion(axes: Any, matrix: ConfusionMatrix, view: View, name: str) -> None:
    """Draw the shares of each true class by predicted class; unused classes are left out."""
    counts = matrix.counts
    rows = np.flatnonzero(counts.any(axis=1))
    columns = np.union1d(rows, np.flatnonzero(counts.any(axis=0)))
    shares = 100 * counts[rows] / counts[rows].sum(axis=1, keepdims=True)
    shares = shares[:, columns]
    axes.imshow(shares, cmap="Blues", vmin=0.0, vmax=100.0, aspect="auto")
    names = [*view.label_set.names, "no class"]
    axes.set_xticks(
        range(len(columns)),
        [names[i] for i in columns],
        rotation=60,
        ha="right",
        rotation_mode="anchor",
    )
    axes.set_yticks(range(len(rows)), [names[i] for i in rows])
    size = 8 if len(rows) <= 20 else 5
    axes.tick_params(labelsize=size, length=0)
    for (row, column), share in np.ndenumerate(shares):
        if share >= 0.5:
            colour = "white" if share > 60 else "black"
            axes.text(
                column, row, f"{share:.0f}", ha="center", va="center", color=colour, fontsize=size
            )
    title = f"{name}, mIoU {matrix.miou:.3f}: % of the truth (row) by label (column)"
    axes.set_title(title, fontsize=9, loc="left")


def _draw_reliability(axes: Any, calibration: Calibration) -> None:
    """Draw accuracy by confidence, with the share of labels in each bin behind it."""
    centres = (calibration.edges[1:] + calibration.edges[:-1]) / 2
    width = centres[1] - centres[0]
    total = max(calibration.points.sum(), 1)
    axes.bar(centres, calibration.points / total, width, color=_GREY, alpha=0.5, label="labels")
    filled = calibration.points > 0
    accuracy = calibration.correct[filled] / calibration.points[filled]
    confidence = calibration.confidence[filled] / calibration.points[filled]
    axes.plot([0, 1], [0, 1], "--", color="black", lw=1, label="calibrated")
    axes.plot(confidence, accuracy, "o-", color=_COLOURS["classes"], ms=4, label="accuracy")
    axes.set(xlim=(0, 1), ylim=(0, 1))
    axes.set_xlabel("confidence", fontsize=8)
    error = 100 * calibration.expected_error
    axes.set_title(
        f"reliability; expected calibration error {error:.1f} %", fontsize=9, loc="left"
    )
    _finish(axes)


def _draw_ranges(axes: Any, scorer: Scorer) -> None:
    """Draw mIoU by range in each view, with the share of points in each bin behind it."""
    points = np.array([confusions["classes"].points for confusions in scorer.by_range])
    bars = np.arange(len(points))
    axes.bar(bars, points / max(points.sum(), 1), 0.9, color=_GREY, alpha=0.5, label="points")
    for name in scorer.views:
        miou = [confusions[name].miou for confusions in scorer.by_range]
        label = "mIoU" if name == "classes" else "mIoU of groups"
        axes.plot(bars, miou, "o-", color=_COLOURS[name], ms=4, label=label)
    bins = pairwise(scorer.ranges)
    names = [f"{near:g}+" if np.isinf(far) else f"{near:g}-{far:g}" for near, far in bins]
    axes.set_xticks(bars, names)
    axes.set_ylim(0, 1)
    axes.set_xlabel("metres from the sensor", fontsize=8)
    axes.set_title("by range", fontsize=9, loc="left")
    _finish(axes)


def _finish(axes: Any) -> None:
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, frameon=False)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
