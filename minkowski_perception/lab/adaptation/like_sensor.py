# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The simulated LiDAR that is most like the sensor of a recording."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from minkowski_perception.frame import Frame
from minkowski_perception.lab.datasets.stored import sequences
from minkowski_perception.lab.simulation.lidar import get_lidar
from minkowski_perception.lab.simulation.open3d_library import import_open3d
from minkowski_perception.lab.simulation.sensors import sensor_names
from minkowski_perception.lab.training.recipe import Data
from minkowski_perception.lab.training.sources import check_drives
from minkowski_perception.networks.model import Model

_FRAMES = 8
"""Frames of a recording that are looked at, at most."""
_SECTORS = 72
_FEWEST = 5
"""Points in a sector of 5 degrees that the sensor looks at."""
_DEGREES = 20.0
"""Difference of an end of the field of view that counts as much as e times the points."""


@dataclass(frozen=True)
class View:
    """What a sensor sees.

    Attributes:
        points: of a full turn.
        low, high: ends of its field of view, degrees: the 1st and 99th percentile of elevation.
    """

    points: float
    low: float
    high: float

    @classmethod
    def of(cls, points: npt.NDArray[np.floating]) -> View | None:
        """Return the view of points [N, 3]; None if there are none.

        A sensor that looks at a sector has as many more points in a full turn.
        """
        x, y, z = points.T
        if not len(x):
            return None
        sectors = ((np.arctan2(y, x) / np.pi + 1.0) / 2.0 * _SECTORS).astype(int) % _SECTORS
        seen = np.count_nonzero(np.bincount(sectors, minlength=_SECTORS) >= _FEWEST)
        elevation = np.degrees(np.arctan2(z, np.hypot(x, y)))
        low, high = np.percentile(elevation, (1, 99))
        return cls(len(x) * _SECTORS / max(int(seen), 1), float(low), float(high))

    def distance(self, other: View) -> float:
        """Return how unlike two views are; 0 if they are the same."""
        ends = abs(self.low - other.low) + abs(self.high - other.high)
        return float(abs(np.log(self.points / other.points)) + ends / _DEGREES)


def choose(root: Path, model: Model, name: str | None) -> str:
    """Return the simulated sensor whose drives are mixed with the frames of a recording.

    Args:
        root: of the frames, see `lab.datasets.stored`.
        model: that is trained.
        name: of the LiDAR model, or the path of its file; None for the one most like the frames.

    Raises:
        MissingPackageError: Open3D is missing.
        SensorError: there is no such sensor.
        ValueError: LiDARs do not give what the model needs.
        LabelSetError: simulated streets have no labels of the model's label set.
    """
    import_open3d()
    if "red" in model.input.features:
        raise ValueError("the model needs colour, which simulated LiDARs do not have")
    if name is None:
        frames = next(iter(sequences(root, None).values()))
        name = like_lidar(frames[i] for i in range(0, len(frames), -(-len(frames) // _FRAMES)))
    check_drives(Data(seeds=(0, 1), lidars={name: 1.0}, frames=1), model.label_set)
    return name


def like_lidar(frames: Iterable[Frame]) -> str:
    """Return the name of the LiDAR model whose view is nearest to that of frames.

    Args:
        frames: of the recording; a few suffice.

    Raises:
        ValueError: the frames have no points.
    """
    views = [view for frame in frames if (view := View.of(frame.points)) is not None]
    if not views:
        raise ValueError("frames without points are like no sensor")
    own = View(*np.median([(each.points, each.low, each.high) for each in views], axis=0))
    models = dict(_lidars())
    return min(models, key=lambda name: own.distance(models[name]))


def _lidars() -> Iterator[tuple[str, View]]:
    """Yield the models by name with the view of their rays; some rays return nothing."""
    for name in sensor_names("lidar"):
        view = View.of(get_lidar(name).sweep()[0])
        assert view is not None
        yield name, view
