# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Pictures of labelled clouds in a camera view and a top view, and of maps; Matplotlib helpers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from minkowski_perception.frame import Frame
from minkowski_perception.labels import MOVING_COLOUR, UNLABELLED, LabelSet
from minkowski_perception.missing import MissingPackageError
from minkowski_perception.moving import calls_moving

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BACKGROUND = "#0d1017"
FOREGROUND = "#c9d1d9"
MOVING = "#{:02x}{:02x}{:02x}".format(*MOVING_COLOUR)
"""Colour of points that move, or around them."""

_PATH = "#8b949e"
_WIDTH, _HEIGHT = 16.0, 10.0  # inches
_DPI = 100
_ASPECT = 1.8  # width / height of each of the four panels
_FIELD_OF_VIEW = np.radians(72.0)  # horizontal, of the camera
_LEGEND_COLUMNS = 10


@dataclass(frozen=True)
class _View:
    """Points on a panel, in drawing order.

    Attributes:
        rows: [M] indices of the points.
        positions: [M, 2] right and up from the centre, in units of half the panel width.
        sizes: [M] marker areas in square points (1/72 inch).
    """

    rows: npt.NDArray[np.intp]
    positions: npt.NDArray[np.float64]
    sizes: npt.NDArray[np.float64]


def new_figure(width: float, height: float, **style: Any) -> Any:
    """Return an empty Matplotlib figure, by default with a constrained layout.

    Args:
        width: in inches.
        height: in inches.
        style: further arguments of `Figure`.

    Raises:
        MissingPackageError: Matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingPackageError("pictures need Matplotlib: pip install matplotlib") from error
    return Figure(figsize=(width, height), **{"dpi": 110, "layout": "constrained", **style})


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure; missing folders are created."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def save_comparison(
    path: Path,
    frame: Frame,
    labels: npt.NDArray[np.uint8],
    label_set: LabelSet,
    title: str = "",
    truth: npt.NDArray[np.uint8] | None = None,
    moving: npt.NDArray[np.floating] | None = None,
) -> None:
    """Write a PNG with a camera view and a top view, and the labels on the right.

    The left shows the ground truth if given, else the input in its colours, else the input
    coloured by height. The camera is above and behind the sensor. It looks along +x, or in the
    direction with most points if that has far more.

    Args:
        path: file to write.
        frame: N points; invalid ones are not drawn.
        labels: [N] uint8.
        label_set: names and colours of the labels.
        title: one line above the panels.
        truth: [N] uint8 ground truth labels.
        moving: [N] probability that a point moves; points above 0.5 are outlined, and so are those
            that truly move beside them.

    Raises:
        MissingPackageError: Matplotlib is not installed.
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

    outlined = {}
    if moving is not None:
        outlined["labels"] = calls_moving(moving)[frame.valid]
        if frame.moving is not None:
            outlined["truth"] = frame.moving[frame.valid]

    figure.text(0.01, 0.965, title, color=FOREGROUND, fontsize=14)
    for row, view in enumerate((_camera_view(points), _view_from_above(points))):
        for column, (name, colours) in enumerate(columns.items()):
            outline = outlined.get(name)
            _draw(figure, row, column, view, colours, name if row == 0 else "", outline)
    _draw_legend(figure, shown, label_set, {"moving": False} if outlined else {})
    save_figure(figure, path)


def save_map(
    path: Path,
    points: npt.NDArray[np.floating],
    labels: npt.NDArray[np.uint8],
    label_set: LabelSet,
    voxel_size: float,
    title: str = "",
    moving: Sequence[npt.NDArray[np.floating]] = (),
    path_driven: npt.NDArray[np.floating] | None = None,
) -> None:
    """Write a PNG of a map from above: the highest voxel of each column, in its class colour.

    Points that move are in `MOVING` over the map, more opaque the later they were seen, so that
    each moving object leaves its path.

    Args:
        path: file to write.
        points: [V, 3], V > 0 centres of voxels in the odometry frame, metres.
        labels: [V] uint8.
        label_set: names and colours of the labels.
        voxel_size: metres.
        title: one line above the map.
        moving: of each frame [M, 3], points that move.
        path_driven: [F, 3], positions of the sensor.

    Raises:
        MissingPackageError: Matplotlib is not installed.
    """
    figure = new_figure(_WIDTH, _HEIGHT, dpi=_DPI, layout=None, facecolor=BACKGROUND)
    cells = np.round((points[:, :2] - points[:, :2].min(axis=0)) / voxel_size).astype(np.intp)
    width, height = cells.max(axis=0) + 1
    image = np.zeros((height, width, 4), dtype=np.uint8)
    upwards = np.argsort(points[:, 2], kind="stable")  # the last one of a column remains
    opaque = np.full((len(labels), 1), 255, dtype=np.uint8)
    colours = np.concatenate([label_set.palette[labels], opaque], axis=1)
    image[cells[upwards, 1], cells[upwards, 0]] = colours[upwards]
    left, bottom = points[:, :2].min(axis=0) - voxel_size / 2
    extent = (left, left + width * voxel_size, bottom, bottom + height * voxel_size)
    figure.text(0.01, 0.965, title, color=FOREGROUND, fontsize=14)
    axes = figure.add_axes((0.05, 0.12, 0.94, 0.82), facecolor="#12161f")
    axes.imshow(image, origin="lower", extent=extent, interpolation="nearest")
    for number, places in enumerate(moving, start=1):
        opacity = 0.35 + 0.65 * number / len(moving)
        axes.scatter(*places[:, :2].T, s=1.5, color=MOVING, alpha=opacity, linewidths=0)
    if path_driven is not None:
        axes.plot(*path_driven[:, :2].T, "--", color=_PATH, linewidth=1.0)
    axes.set_xlabel("x, m", color=FOREGROUND)
    axes.set_ylabel("y, m", color=FOREGROUND)
    axes.tick_params(colors=FOREGROUND)
    _draw_legend(figure, labels, label_set, {"moving": True} if len(moving) else {})
    save_figure(figure, path)


def _upright(points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Rotate a cloud in an optical frame (z forward, y down) to x forward, z up.

    A cloud counts as optical if more than 90 % of its points are in a cone around +z, where no
    LiDAR looks.
    """
    in_cone = points[:, 2] > np.linalg.norm(points[:, :2], axis=1)
    if len(points) and in_cone.mean() > 0.9:
        return points[:, [2, 0, 1]] * [1.0, -1.0, -1.0]
    return points


def _facing_forward(points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Rotate a cloud about z so that the viewing direction of the sensor is +x.

    The cloud is only rotated if another direction, in steps of 45 degrees, has more than twice
    the points of +x.
    """
    headings = np.radians(np.arange(0.0, 360.0, 45.0))
    azimuth = np.arctan2(points[:, 1], points[:, 0])
    counts = [int((np.cos(azimuth - h) > np.cos(_FIELD_OF_VIEW / 2)).sum()) for h in headings]
    best = int(np.argmax(counts))
    if counts[best] <= 2 * counts[0]:
        return points
    cosine, sine = np.cos(headings[best]), np.sin(headings[best])
    rotation = np.array([[cosine, sine, 0.0], [-sine, cosine, 0.0], [0.0, 0.0, 1.0]])
    rotated: npt.NDArray[np.float64] = points @ rotation.T
    return rotated


def _height_colours(points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return colours [N, 4] by height, between the 2nd and the 98th percentile."""
    from matplotlib import colormaps

    if not len(points):
        return np.empty((0, 4))
    low, high = np.percentile(points[:, 2], [2, 98])
    share = (points[:, 2] - low) / max(high - low, 1e-6)
    return np.asarray(colormaps["viridis"](0.3 + 0.7 * share.clip(0.0, 1.0)))


def _camera_view(points: npt.NDArray[np.float64]) -> _View:
    """Project through a pinhole camera above and behind the sensor, far points first."""
    distance = np.linalg.norm(points, axis=1)
    scale = float(np.median(distance)) if len(points) else 1.0
    # The more points are behind the sensor, the farther back the camera is.
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
    """Project along -z with +x to the right, low points first."""
    rows = np.argsort(points[:, 2])
    if not len(points):
        return _View(rows, points[:, :2], np.empty(0))
    low, high = np.percentile(points[:, :2], [4, 96], axis=0)
    half_width = 0.55 * max(high[0] - low[0], _ASPECT * (high[1] - low[1]), 1e-6)
    positions = (points[rows, :2] - (low + high) / 2) / half_width
    return _on_panel(rows, positions, np.full(len(rows), 0.8 * _point_size(len(points))))


def _point_size(count: int) -> float:
    """Return the marker area in square points at which `count` points cover the surfaces."""
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
    outlined: npt.NDArray[np.bool_] | None = None,
) -> None:
    width = 0.485
    height = width * _WIDTH / _ASPECT / _HEIGHT
    left = 0.01 + column * (width + 0.01)
    bottom = 0.945 - (row + 1) * height - row * 0.01
    axes = figure.add_axes((left, bottom, width, height), facecolor="#12161f")
    axes.set(xlim=(-1, 1), ylim=(-1 / _ASPECT, 1 / _ASPECT), xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set_color("#232a36")
    if outlined is not None:
        around = outlined[view.rows]
        right, up = view.positions[around].T
        axes.scatter(right, up, s=4.0 * view.sizes[around] + 6.0, color=MOVING, linewidths=0)
    axes.scatter(
        view.positions[:, 0],
        view.positions[:, 1],
        s=view.sizes,
        c=colours[view.rows],
        marker="o",
        linewidths=0,
    )
    axes.text(0.012, 0.97, name, color=FOREGROUND, fontsize=12, va="top", transform=axes.transAxes)


def _draw_legend(
    figure: Figure,
    labels: npt.NDArray[np.uint8],
    label_set: LabelSet,
    more: Mapping[str, bool],
) -> None:
    """Draw the legend of the labels, and of further names in `MOVING`, filled or as an outline."""
    from matplotlib.patches import Patch

    counts = np.bincount(labels, minlength=256)
    names = {**dict(enumerate(label_set.names)), UNLABELLED: "unlabelled"}
    patches = [
        Patch(color=label_set.palette[label] / 255.0, label=names[label])
        for label in np.argsort(-counts, kind="stable")
        if counts[label]
    ]
    for name, filled in more.items():
        patches.append(Patch(label=name, fill=filled, edgecolor=MOVING, facecolor=MOVING))
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
