# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Clouds, map and figures over time as a report holds them: JSON, and bytes for its points.

The points of a cloud are its coordinates, [P, 3] int16 in steps of its own, and after them each
column that the description lists, [P] uint8, or [P, 3] for "colour". Shares from 0 to 1 become 0
to 254; 255 is unknown. All is little-endian.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from minkowski_perception.labels import UNLABELLED, UNLABELLED_COLOUR, LabelSet
from minkowski_perception.moving import MOVING
from minkowski_perception.report.collector import (
    RIGHT,
    UNKNOWN,
    WRONG,
    Cloud,
    Collector,
    Interval,
)
from minkowski_perception.report.thinning import take_evenly

MOST_BYTES = 12_000_000
"""Of the points of all clouds; base64 makes them a third larger."""
MOST_VOXELS = 200_000
"""Voxels of the map that are shown."""

_GROUPS = ("label", "truth", "agreement")
_SHARES = ("confidence", MOVING)
_STEPS = np.iinfo(np.int16).max
_UNKNOWN = 255
_WIDEST_GAP = 0.5  # of the recording's duration


@dataclass(frozen=True)
class Voxels:
    """A map.

    Attributes:
        points: [V, 3] centres of the voxels in the odometry frame, metres.
        labels: [V] ids of the label set.
        size: of a voxel, metres.
    """

    points: npt.NDArray[np.floating]
    labels: npt.NDArray[np.uint8]
    size: float


@dataclass(frozen=True)
class Content:
    """What the scripts of a report read.

    Attributes:
        description: for JSON.
        points: bytes of all points; `description` says where each cloud begins.
        labelled: number of clouds that were labelled.
        shown: number of clouds that are shown.
        points_of_shown: their points in the recording.
        shown_points: their points in the report.
    """

    description: Mapping[str, Any]
    points: bytes
    labelled: int
    shown: int
    points_of_shown: int
    shown_points: int


def content(collector: Collector, voxels: Voxels | None, *, follows: bool) -> Content:
    """Return what the scripts of a report read.

    Args:
        collector: of the run.
        voxels: of its map; None without one.
        follows: whether the clouds follow each other, so that they can be played, and past ones
            shown with a later one.
    """
    clouds = list(collector.clouds)
    columns = _columns(clouds)
    size = 6 + sum(3 if name == "colour" else 1 for name in columns)
    most = MOST_BYTES // size // max(len(clouds), 1)
    origin = clouds[0].pose[:3, 3] if clouds else np.zeros(3)
    full_scale = _full_scale(clouds)
    timed = follows and _is_even(collector.timeline.intervals)
    parts: list[bytes] = []
    described: list[dict[str, Any]] = []
    for cloud in clouds:
        rows = take_evenly(len(cloud.coordinates), most)
        values = [_quantised(name, cloud.columns.get(name), rows, full_scale) for name in columns]
        described.append(
            {
                "title": cloud.title,
                "place": cloud.seconds if timed else cloud.number,
                "points": cloud.points,
                **_with_points(parts, cloud.coordinates[rows], values),
                "pose": _pose(cloud.pose, origin),
                "counts": {name: _by_value(counts) for name, counts in cloud.counts.items()},
            }
        )
    return Content(
        description={
            "columns": columns,
            "colourings": _colourings(collector, clouds, columns, full_scale, voxels),
            "clouds": described,
            "map": None if voxels is None else _map(parts, voxels, origin),
            "follows": follows,
            "timed": timed,
            "timeline": _timeline(collector, timed),
        },
        points=b"".join(parts),
        labelled=sum(interval.clouds for interval in collector.timeline.intervals),
        shown=len(clouds),
        points_of_shown=sum(cloud.points for cloud in clouds),
        shown_points=sum(cloud["shown"] for cloud in described),
    )


def _columns(clouds: Iterable[Cloud]) -> list[str]:
    """Return the names of the columns that any cloud has, in one order."""
    order = [*_GROUPS, *_SHARES, "intensity", "colour"]
    found = {name for cloud in clouds for name in cloud.columns}
    return ["label", *(name for name in order[1:] if name in found)]


def _full_scale(clouds: Sequence[Cloud]) -> float:
    """Return the 99th percentile of the intensity, 1 without any."""
    columns = [cloud.columns["intensity"] for cloud in clouds if "intensity" in cloud.columns]
    values = np.concatenate(columns) if columns else np.empty(0)
    values = values[np.isfinite(values)]
    return float(max(np.percentile(values, 99), 1e-6)) if len(values) else 1.0


def _quantised(
    name: str, values: npt.NDArray[Any] | None, rows: npt.NDArray[np.intp], full_scale: float
) -> npt.NDArray[np.uint8]:
    """Return the values of some rows as a cloud holds them."""
    if values is None:
        shape = (len(rows), 3) if name == "colour" else (len(rows),)
        return np.full(shape, _UNKNOWN, np.uint8)
    if values.dtype == np.uint8:
        return values[rows]
    scale = full_scale if name == "intensity" else 1.0
    shares = np.nan_to_num(values[rows] / scale, nan=-1.0)
    steps = np.round(shares.clip(0.0, 1.0) * (_UNKNOWN - 1))
    return np.where(shares < 0.0, _UNKNOWN, steps).astype(np.uint8)


def _with_points(
    parts: list[bytes],
    coordinates: npt.NDArray[np.floating],
    columns: Sequence[npt.NDArray[np.uint8]],
) -> dict[str, Any]:
    """Append the points of a cloud to the parts; return where they are."""
    offset = sum(map(len, parts))
    largest = float(np.abs(coordinates).max()) if len(coordinates) else 0.0
    step = max(largest, 1.0) / _STEPS
    parts.append(np.round(coordinates / step).astype("<i2").tobytes())
    parts += (column.tobytes() for column in columns)
    return {"offset": offset, "shown": len(coordinates), "step": step}


def _pose(pose: npt.NDArray[np.float64], origin: npt.NDArray[np.float64]) -> list[float]:
    """Return the 16 numbers of a pose relative to the origin, column by column."""
    moved = pose.copy()
    moved[:3, 3] -= origin
    return [round(float(number), 6) for number in moved.T.ravel()]


def _by_value(counts: npt.NDArray[np.int64]) -> dict[str, int]:
    return {str(value): int(counts[value]) for value in np.flatnonzero(counts)}


def _map(
    parts: list[bytes], voxels: Voxels, origin: npt.NDArray[np.float64]
) -> dict[str, Any] | None:
    """Return the description of the map; None for an empty one."""
    if not len(voxels.points):
        return None
    rows = take_evenly(len(voxels.points), MOST_VOXELS)
    centre = (voxels.points.min(axis=0) + voxels.points.max(axis=0)) / 2
    pose = np.eye(4)
    pose[:3, 3] = centre
    return {
        "points": len(voxels.points),
        "size": voxels.size,
        **_with_points(parts, voxels.points[rows] - centre, [voxels.labels[rows]]),
        "pose": _pose(pose, origin),
    }


def _classes(label_set: LabelSet, counts: npt.NDArray[np.int64]) -> list[dict[str, Any]]:
    """Return id, name and colour of the labels that occur, the most frequent one first."""
    order = np.argsort(-counts, kind="stable")
    return [
        {
            "id": int(label),
            "name": "unlabelled" if label == UNLABELLED else label_set.names[label],
            "colour": [int(c) for c in label_set.palette[label]],
        }
        for label in order[counts[order] > 0]
        if label == UNLABELLED or label < len(label_set)
    ]


def _colourings(
    collector: Collector,
    clouds: Sequence[Cloud],
    columns: Sequence[str],
    full_scale: float,
    voxels: Voxels | None,
) -> list[dict[str, Any]]:
    """Return the ways to colour the points, in the order of their keys."""
    labels = total_labels(collector)
    if voxels is not None:
        labels = labels + np.bincount(voxels.labels, minlength=len(labels))
    found: list[dict[str, Any]] = [
        {"name": "label", "title": "Label", "classes": _classes(collector.label_set, labels)}
    ]
    if "truth" in columns:
        assert collector.truth_set is not None
        truth = sum((c.counts["truth"] for c in clouds if "truth" in c.counts), np.zeros(256, int))
        found.append(
            {"name": "truth", "title": "Truth", "classes": _classes(collector.truth_set, truth)}
        )
        agreement = [
            {"id": RIGHT, "name": "as the truth", "colour": [94, 128, 138]},
            {"id": WRONG, "name": "not as the truth", "colour": [255, 77, 79]},
            {"id": UNKNOWN, "name": "truth unknown", "colour": list(UNLABELLED_COLOUR)},
        ]
        found.append({"name": "agreement", "title": "Errors", "classes": agreement})
    ramps = {
        "confidence": ("Confidence", "0", "1"),
        MOVING: ("Moving", "still", "moving"),
        "intensity": ("Intensity", "0", f"{full_scale:.3g}"),
    }
    for name, (title, low, high) in ramps.items():
        if name in columns:
            found.append({"name": name, "title": title, "low": low, "high": high})
    if "colour" in columns:
        found.append({"name": "colour", "title": "Colour"})
    return [*found, {"name": "height", "title": "Height"}]


def total_labels(collector: Collector) -> npt.NDArray[np.int64]:
    """Return the numbers of points [256] by label in all clouds."""
    zero = np.zeros(256, dtype=np.int64)
    return sum((interval.labels for interval in collector.timeline.intervals), zero)


def _is_even(intervals: Sequence[Interval]) -> bool:
    """Return whether stamps ascend without a gap that leaves nothing to see beside it."""
    seconds = [interval.seconds for interval in intervals if interval.clouds]
    steps = [after - before for before, after in pairwise(seconds)]
    if len(steps) < 2:
        return all(step > 0.0 for step in steps)
    return min(steps) > 0.0 and max(steps) < max(_WIDEST_GAP * sum(steps), 1.0)


def _timeline(collector: Collector, timed: bool) -> dict[str, Any]:
    """Return the figures of the intervals that have a labelled or dropped cloud."""
    intervals = collector.timeline.intervals
    points = np.array([interval.labels for interval in intervals]).reshape(-1, 256)
    totals = points.sum(axis=1)
    labels = np.flatnonzero(points.any(axis=0)).tolist()

    def shares(label: int) -> list[float | None]:
        pairs = zip(points[:, label].tolist(), totals.tolist(), strict=True)
        return [round(count / total, 5) if total else None for count, total in pairs]

    def means(name: str, divisor: str, scale: float) -> list[float | None]:
        pairs = ((getattr(each, name), getattr(each, divisor)) for each in intervals)
        return [round(scale * total / count, 4) if count else None for total, count in pairs]

    return {
        "places": [interval.seconds if timed else interval.number for interval in intervals],
        "shares": {str(label): shares(label) for label in labels},
        "latency": means("latency", "clouds", 1e3),
        "slowest": [round(1e3 * interval.slowest, 4) for interval in intervals],
        "score": means("score", "scored", 1.0),
        "dropped": [interval.dropped for interval in intervals],
    }
