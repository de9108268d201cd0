# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Pictures of labelled clouds, as a camera would see them and from above; figures to draw on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from minkowski_perception.frame import Frame
from minkowski_perception.labels import UNLABELLED, LabelSet

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BACKGROUND = "#0d1017"
FOREGROUND = "#c9d1d9"

_WIDTH, _HEIGHT = 16.0, 10.0  # inches
_DPI = 100
_ASPECT = 1.8  # width by height of each of the four panels
_FIELD_OF_VIEW = np.radians(72.0)  # of the camera, across
_LEGEND_COLUMNS = 10


@dataclass(frozen=True)
class _View:
    """Points on a panel, in the order in which they are drawn.

    Attributes:
        rows: [M] which points are on it.
        positions: [M, 2] across and up, in units of half the panel's width from its centre.
        sizes: [M] areas in square points (1/72 inch).
    """

    rows: npt.NDArray[np.intp]
    positions: npt.NDArray[np.float64]
    sizes: npt.NDArray[np.float64]


def new_figure(width: float, height: float, **style: Any) -> Any:
    """Return an empty Matplotlib figure of so many inches, which lays itself out by default.

    Raises:
        ImportError: Matplotlib is absent.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("pictures are drawn with Matplotlib: pip install matplotlib") from error
    return Figure(figsize=(width, height), **{"dpi": 110, "layout": "constrained", **style})


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure; folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def save_comparison(
    path: Path,
    frame: Frame,
    labels: npt.NDArray[np.uint8],
    label_set: LabelSet,
    title: str = "",
    truth: npt.NDArray[np.uint8] | None = None,
) -> None:
    """Write a PNG: a camera-like view and a view from above, labels on the right.

    On the left is the truth, or else the input in its own colours where it carries any, or else
    coloured by height. The camera hangs above and behind the sensor and looks along +x, or where
    much more of the cloud lies.

    Args:
        path: where to write.
        frame: N points; those that are not finite are left out.
        labels: [N] uint8.
        label_set: names and colours of the labels.
        title: one line above.
        truth: [N] uint8 true labels.

    Raises:
        ImportError: Matplotlib is absent.
    """
    figure = new_figure(_WIDTH, _HEIGHT, dpi=_DPI, layout=None, facecolor=BACKGROUND)
    points = _facing_forward(_upright(frame.points[frame.valid].astype(np.float64)))
    shown = labels[frame.valid]
    columns = {"labels": label_set.palette[shown] / 255.0}
    if truth is not None:
        columns = {"truth": label_set.palette[truth[frame.valid]] / 255.0, **columns}
        shown = np.concatenate([shown, truth[frame.valid]])
    elif frame.colour is not None:
        columns = {"input": frame.colour[frame.valid] / 255.0, **columns}
    else:
        columns = {"input": _height_colours(points), **columns}

    figure.text(0.01, 0.965, title, color=FOREGROUND, fontsize=14)
    for row, view in enumerate((_camera_view(points), _view_from_above(points))):
        for column, (name, colours) in enumerate(columns.items()):
            _draw(figure, row, column, view, colours, name if row == 0 else "")
    _draw_legend(figure, shown, label_set)
    save_figure(figure, path)


def _upright(points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Turn a cloud in a camera's optical frame (z forward, y down) to x forward, z up.

    Such a cloud is told by its shape: nearly all of it lies in a cone around +z, where no LiDAR
    looks.
    """
    in_cone = points[:, 2] > np.linalg.norm(points[:, :2], axis=1)
    if len(points) and in_cone.mean() > 0.9:
        return points[:, [2, 0, 1]] * [1.0, -1.0, -1.0]
    return points


def _facing_forward(points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Turn a cloud about z so that what the sensor looks at lies along +x.

    +x stays where it is unless another direction, in steps of 45 degrees, has twice the points.
    """
    headings = np.radians(np.arange(0.0, 360.0, 45.0))
    azimuth = np.arctan2(points[:, 1], points[:, 0])
    seen = [int((np.cos(azimuth - h) > np.cos(_FIELD_OF_VIEW / 2)).sum()) for h in headings]
    best = int(np.argmax(seen))
    if seen[best] <= 2 * seen[0]:
        return points
    cosine, sine = np.cos(headings[best]), np.sin(headings[best])
    turn = np.array([[cosine, sine, 0.0], [-sine, cosine, 0.0], [0.0, 0.0, 1.0]])
    return points @ turn.T


def _height_colours(points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """[N, 4] colours by height, from the lowest to the highest, stray points aside."""
    from matplotlib import colormaps

    if not len(points):
        return np.empty((0, 4))
    low, high = np.percentile(points[:, 2], [2, 98])
    share = (points[:, 2] - low) / max(high - low, 1e-6)
    return np.asarray(colormaps["viridis"](0.3 + 0.7 * share.clip(0.0, 1.0)))


def _camera_view(points: npt.NDArray[np.float64]) -> _View:
    """Through a pinhole above and behind the sensor, far points first."""
    distance = np.linalg.norm(points, axis=1)
    scale = float(np.median(distance)) if len(points) else 1.0
    # As far behind as the cloud reaches around: a sensor that looks ahead only is its own camera.
    behind = 1.6 * float((points[:, 0] < 0.0).mean()) if len(points) else 0.0
    pitch = np.radians(17.0)
    rays = points - scale * np.array([-behind, 0.0, 0.5])
    depth = np.cos(pitch) * rays[:, 0] - np.sin(pitch) * rays[:, 2]
    up = np.sin(pitch) * rays[:, 0] + np.cos(pitch) * rays[:, 2]
    rows = np.flatnonzero(depth > 0.15 * scale)
    rows = rows[np.argsort(-depth[rows])]
    across = np.stack([-rays[rows, 1], up[rows]], axis=1)
    positions = across / depth[rows, None] / np.tan(_FIELD_OF_VIEW / 2)
    sizes = _point_size(len(points)) * (2.0 * scale / depth[rows]).clip(0.5, 2.5) ** 2
    return _on_panel(rows, positions, sizes)


def _view_from_above(points: npt.NDArray[np.float64]) -> _View:
    """Along -z, +x to the right, low points first."""
    rows = np.argsort(points[:, 2])
    if not len(points):
        return _View(rows, points[:, :2], np.empty(0))
    low, high = np.percentile(points[:, :2], [4, 96], axis=0)
    half_width = 0.55 * max(high[0] - low[0], _ASPECT * (high[1] - low[1]), 1e-6)
    positions = (points[rows, :2] - (low + high) / 2) / half_width
    return _on_panel(rows, positions, np.full(len(rows), 0.8 * _point_size(len(points))))


def _point_size(count: int) -> float:
    """Area in square points that lets a cloud of so many points cover its surfaces."""
    return float(np.clip(9e4 / max(count, 1), 0.9, 6.0))


def _on_panel(
    rows: npt.NDArray[np.intp], positions: npt.NDArray[np.float64], sizes: npt.NDArray[np.float64]
) -> _View:
    inside = (np.abs(positions) < [1.0, 1.0 / _ASPECT]).all(axis=1)
    return _View(rows[inside], positions[inside], sizes[inside])


def _draw(
    figure: Figure,
    row: int,
    column: int,
    view: _View,
    colours: npt.NDArray[np.float64],
    name: str,
) -> None:
    width = 0.485
    height = width * _WIDTH / _ASPECT / _HEIGHT
    left = 0.01 + column * (width + 0.01)
    bottom = 0.945 - (row + 1) * height - row * 0.01
    axes = figure.add_axes((left, bottom, width, height), facecolor="#12161f")
    axes.set(xlim=(-1, 1), ylim=(-1 / _ASPECT, 1 / _ASPECT), xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set_color("#232a36")
    axes.scatter(
        view.positions[:, 0],
        view.positions[:, 1],
        s=view.sizes,
        c=colours[view.rows],
        marker="o",
        linewidths=0,
    )
    axes.text(0.012, 0.97, name, color=FOREGROUND, fontsize=12, va="top", transform=axes.transAxes)


def _draw_legend(figure: Figure, labels: npt.NDArray[np.uint8], label_set: LabelSet) -> None:
    from matplotlib.patches import Patch

    counts = np.bincount(labels, minlength=256)
    names = {**dict(enumerate(label_set.names)), UNLABELLED: "unlabelled"}
    patches = [
        Patch(color=label_set.palette[label] / 255.0, label=names[label])
        for label in np.argsort(-counts, kind="stable")
        if counts[label]
    ]
    figure.legend(
        handles=patches,
        loc="lower center",
        ncols=_LEGEND_COLUMNS,
        frameon=False,
        labelcolor=FOREGROUND,
        fontsize=11,
        handlelength=1.0,
        handleheight=1.0,
        columnspacing=1.4,
    )
