# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Objects in the truth of frames, which have classes and motion but no instances.

An object is a set of points of one class in connected cells. Objects of one class that touch are
one object.
"""

from __future__ import annotations

from collections import deque

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from minkowski_perception.frame import NANOSECONDS, Frame
from minkowski_perception.labels import UNLABELLED
from minkowski_perception.metrics import true_labels

CELL = 0.5
"""Side of the cells, metres."""
_REACH = 3.0
"""Cells that an object may move between two frames, beyond its own extent."""
_BASELINE = 5
"""Frames over which a speed is measured, where an object has been seen for as long."""
_CLASS_STEP = 1 << 20
"""Distance in cells between classes, which keeps their objects apart."""

Ids = npt.NDArray[np.int64]


def connected_objects(points: npt.NDArray[np.floating], classes: npt.NDArray[np.integer]) -> Ids:
    """Return the object [N] of each point, from 0 on.

    Args:
        points: [N, 3], metres.
        classes: [N].
    """
    cells, of_point = np.unique(_cells(points, classes), axis=0, return_inverse=True)
    return _components(cells)[of_point.reshape(-1)]


def _cells(points: npt.NDArray[np.floating], classes: npt.NDArray[np.integer]) -> Ids:
    """Return the cell and class of each point, [N, 4], the class far apart."""
    cells = np.floor(points / CELL).astype(np.int64)
    return np.concatenate([cells, _CLASS_STEP * classes.astype(np.int64)[:, None]], axis=1)


def _components(cells: Ids) -> Ids:
    """Return the connected component [C] of each cell; cells connect to their 26 neighbours."""
    if not len(cells):
        return np.zeros(0, np.int64)
    pairs = cKDTree(cells).query_pairs(1.0, p=np.inf, output_type="ndarray")
    graph = coo_array((np.ones(len(pairs), np.int8), pairs.T), shape=(len(cells), len(cells)))
    return np.asarray(connected_components(graph, directed=False)[1]).astype(np.int64)


class MovingObjects:
    """Follows the moving objects of a stream, by its truth.

    An object is the one of the frame before that most of its cells are near to. One that was
    hidden for a frame is a new one. A frame that is not within a second after the last one starts
    a new stream.
    """

    def __init__(self) -> None:
        self._stamp = 0
        self._count = 0
        self._cells = np.zeros((0, 4), np.int64)
        self._objects = np.zeros(0, np.int64)
        self._tracks: dict[int, deque[tuple[float, npt.NDArray[np.float64]]]] = {}

    def update(self, frame: Frame) -> tuple[Ids, npt.NDArray[np.float64]]:
        """Follow the objects into the next frame.

        Args:
            frame: N points with true labels, motion and a pose.

        Returns:
            [N] number of the object of each point that moves, from 0 on in the stream; -1 of
            others. And [N] speed of the object, m/s, by the centre of its points in up to five
            frames; NaN where the object is new, and of points that do not move.
        """
        assert frame.moving is not None
        if not 0 < frame.stamp - self._stamp <= NANOSECONDS:
            self._cells, self._objects = self._cells[:0], self._objects[:0]
        self._stamp = frame.stamp
        labels = true_labels(frame)
        rows = np.flatnonzero(frame.moving & (labels != UNLABELLED))
        points = frame.odometry_points[rows]
        cells, of_point = np.unique(_cells(points, labels[rows]), axis=0, return_inverse=True)
        of_point = of_point.reshape(-1)
        components = _components(cells)
        numbers = self._follow(cells, components)
        self._cells, self._objects = cells, numbers[components]

        objects = np.full(len(frame), -1, np.int64)
        speeds = np.full(len(frame), np.nan)
        of_row = components[of_point]
        objects[rows] = numbers[of_row]
        tracks = {}
        for component, number in enumerate(numbers.tolist()):
            own = of_row == component
            track = self._tracks.get(number, deque(maxlen=_BASELINE))
            now, centre = frame.stamp / NANOSECONDS, points[own].mean(axis=0)
            if track:
                before, place = track[0]
                speeds[rows[own]] = np.linalg.norm(centre - place) / (now - before)
            track.append((now, centre))
            tracks[number] = track
        self._tracks = tracks
        return objects, speeds

    def _follow(self, cells: Ids, components: Ids) -> Ids:
        """Return the number of the object of each component."""
        count = int(components.max(initial=-1)) + 1
        numbers = np.full(count, -1, np.int64)
        if len(self._cells) and count:
            distance, nearest = cKDTree(self._cells).query(cells, distance_upper_bound=_REACH)
            near = np.isfinite(distance)
            pairs = np.stack([components[near], self._objects[nearest[near]]], axis=1)
            found, votes = np.unique(pairs, axis=0, return_counts=True)
            taken = set()
            for row in np.argsort(-votes, kind="stable"):
                component, number = found[row].tolist()
                if numbers[component] < 0 and number not in taken:
                    numbers[component] = number
                    taken.add(number)
        new = numbers < 0
        numbers[new] = self._count + np.arange(np.count_nonzero(new))
        self._count += int(np.count_nonzero(new))
        return numbers
