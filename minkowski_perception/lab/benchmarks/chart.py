# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Charts: times of the engines, flicker over time, cost of windows, gains of time."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from minkowski_perception.lab.benchmarks.temporal import FLAT, INCREMENTAL, windowed
from minkowski_perception.pictures import new_figure, save_figure

_OURS, _OTHERS = "#2a78b8", "#b0b4ba"
_BAR = 0.26  # inches
_GAP = 0.75


def save_chart(path: Path, report: Mapping[str, Any]) -> None:
    """Write a PNG: time of each contender by network, on the first scan of each network.

    Args:
        path: of the file.
        report: from `engines.report`.

    Raises:
        MissingPackageError: Matplotlib is absent.
    """
    first = {race["network"]: race for race in reversed(report["races"])}
    races = [first[name] for name in dict.fromkeys(race["network"] for race in report["races"])]
    bars = [len(race["contenders"]) for race in races]
    height = _BAR * sum(bars) + _GAP * (len(races) + 1)
    figure = new_figure(8.0, height)
    figure.suptitle(
        f"Milliseconds per pass, kernel maps included; ours in blue\n{report['machine']}",
        fontsize=9,
    )
    grid = figure.subplots(len(races), 1, squeeze=False, height_ratios=bars)
    for axes, race in zip(grid[:, 0], races, strict=True):
        _draw(axes, race)
    save_figure(figure, path)


def save_flicker(path: Path, report: Mapping[str, Any]) -> None:
    """Write a PNG: the share of changed labels by frame, for each case and model.

    Each model has two lines, to stay legible: without and, dashed, with CRF and averaging.

    Args:
        path: of the file.
        report: from `ablation.report`, with the machine.

    Raises:
        MissingPackageError: Matplotlib is absent.
    """
    cases = report["cases"]
    figure = new_figure(11.0, 0.6 + 3.0 * ((len(cases) + 1) // 2))
    figure.suptitle("Flicker: still points whose label changed since the last frame", fontsize=10)
    panels = figure.subplots((len(cases) + 1) // 2, 2, squeeze=False, sharex=True).flat
    for (case, rows), axes in zip(cases.items(), panels, strict=False):
        # The plain row of a model comes first, the one with CRF and averaging last.
        last = {name.partition(" + ")[0]: name for name in rows}
        for i, names in enumerate(last.items()):
            for name, style in zip(names, ("-", "--"), strict=True):
                # The first frame has no flicker.
                shares = [100 * s for s in rows[name]["flicker_by_frame"] if s is not None]
                frames = range(1, len(shares) + 1)
                axes.plot(frames, shares, style, label=name, color=f"C{i}", lw=1.4)
        axes.set_title(case, fontsize=9, loc="left")
        axes.set_ylim(bottom=0.0)
        axes.set_ylabel("% changed", fontsize=8)
        axes.set_xlabel("frame", fontsize=8)
        axes.xaxis.get_major_locator().set_params(integer=True)
        _style(axes)
    for unused in panels:
        unused.set_visible(False)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right", fontsize=8, frameon=False)
    save_figure(figure, path)


_GAINS = {
    "all": "all points",
    "first_seen": "first seen",
    "newly_seen": "newly seen",
    "moving": "moving",
    "parked": "parked",
    "beyond_30m": "beyond 30 m",
    "miou25": "25 classes",
    "moving_ap": "AP of moving",
}
"""Names in the chart of gains by metric."""


def save_gains(path: Path, report: Mapping[str, Any]) -> None:
    """Write a PNG: gains of the row that matters most over its twin, with their intervals.

    Args:
        path: of the file.
        report: from `time.report`.

    Raises:
        MissingPackageError: Matplotlib is absent.
    """
    gains = report["gains"]
    figure = new_figure(9.0, 4.0)
    figure.suptitle(
        f"{report['row']} over {report['twin']}: percentage points, 95 % intervals", fontsize=10
    )
    axes = figure.subplots()
    wide = 0.8 / len(gains)
    for i, (condition, of_metrics) in enumerate(gains.items()):
        shown = [(at, of_metrics[m]) for at, m in enumerate(_GAINS) if of_metrics[m] is not None]
        values = [gain["value"] for _, gain in shown]
        errors = [
            [max(gain["value"] - gain["low"], 0.0) for _, gain in shown],
            [max(gain["high"] - gain["value"], 0.0) for _, gain in shown],
        ]
        places = [at + (i - (len(gains) - 1) / 2) * wide for at, _ in shown]
        label = condition.replace("_", " ")
        axes.bar(places, values, wide, yerr=errors, label=label, capsize=2, color=f"C{i}")
    axes.axhline(0.0, color="black", lw=0.8)
    axes.set_xticks(range(len(_GAINS)), list(_GAINS.values()), fontsize=8)
    axes.legend(fontsize=8, frameon=False)
    _style(axes, grid="y")
    save_figure(figure, path)


def save_costs(path: Path, report: Mapping[str, Any]) -> None:
    """Write a PNG: milliseconds per frame by the length of the window.

    Args:
        path: of the file.
        report: from `temporal.report`, with the machine and the stream.

    Raises:
        MissingPackageError: Matplotlib is absent.
    """
    times = {name: row["network"] for name, row in report["milliseconds"].items()}
    windows = {int(t): times[windowed(int(t))] for t in report["window_over_incremental"]}
    figure = new_figure(7.0, 4.0)
    figure.suptitle(f"A frame of {report['stream']}\n{report['machine']}", fontsize=9)
    axes = figure.subplots()
    axes.plot(*zip(*windows.items(), strict=True), "o-", color=_OTHERS, label="4D, windowed")
    for name, colour, style in ((INCREMENTAL, _OURS, "-"), (FLAT, "black", "--")):
        axes.axhline(times[name], color=colour, linestyle=style, label=name)
    axes.set_xlabel("frames in the window", fontsize=8)
    axes.set_ylabel("ms of the network", fontsize=8)
    axes.set_xlim(0.5, max(windows) + 0.5)
    axes.set_ylim(bottom=0.0)
    axes.legend(fontsize=8, frameon=False)
    _style(axes)
    save_figure(figure, path)


def _style(axes: Any, grid: str = "both") -> None:
    """Set the look that the charts with a grid share.

    Args:
        axes: to change.
        grid: "x", "y" or "both", the axis that the lines of the grid mark.
    """
    axes.tick_params(labelsize=8)
    axes.grid(axis=grid, alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)


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
