# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The race of the engines as a picture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

_OURS, _OTHERS = "#2a78b8", "#b0b4ba"
_BAR = 0.26  # inches
_GAP = 0.75


def save_chart(path: Path, report: Mapping[str, Any]) -> None:
    """Write a PNG: the time of each contender, network by network, on the first scan of each.

    Args:
        path: where to write.
        report: of `engines.report`.

    Raises:
        ImportError: Matplotlib is absent.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("pictures are drawn with Matplotlib: pip install matplotlib") from error

    first = {race["network"]: race for race in reversed(report["races"])}
    races = [first[name] for name in dict.fromkeys(race["network"] for race in report["races"])]
    bars = [len(race["contenders"]) for race in races]
    height = _BAR * sum(bars) + _GAP * (len(races) + 1)
    figure = Figure(figsize=(8.0, height), dpi=110, layout="constrained")
    figure.suptitle(
        f"Milliseconds a pass, kernel maps included; ours in blue\n{report['machine']}", fontsize=9
    )
    grid = figure.subplots(len(races), 1, squeeze=False, height_ratios=bars)
    for axes, race in zip(grid[:, 0], races, strict=True):
        _draw(axes, race)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def _draw(axes: Any, race: Mapping[str, Any]) -> None:
    contenders = sorted(race["contenders"].items(), key=lambda item: -item[1]["median"])
    times = [1e3 * figures["median"] for _, figures in contenders]
    colours = [_OURS if figures["ours"] else _OTHERS for _, figures in contenders]
    bars = axes.barh([name for name, _ in contenders], times, color=colours)
    axes.bar_label(bars, [f"{time:,.0f}" for time in times], padding=3, fontsize=8)
    title = f"{race['network']}, {race['voxels']:,} voxels: {Path(race['scan']).name}"
    axes.set_title(title, fontsize=9, loc="left")
    axes.margins(x=0.12)
    axes.tick_params(labelsize=8, length=0)
    axes.xaxis.set_visible(False)
    for side in ("top", "right", "bottom"):
        axes.spines[side].set_visible(False)
