# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Simulated sequences to evaluate on, with nothing to download and none that was trained on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import overload

from minkowski_perception.datasets.catalogue import Dataset
from minkowski_perception.frame import Frame
from minkowski_perception.labels import LabelSet
from minkowski_perception.simulation.camera import get_camera
from minkowski_perception.simulation.drive import HELD_OUT_SEED, simulate_drive
from minkowski_perception.simulation.indoor import simulate_indoor
from minkowski_perception.simulation.lidar import get_lidar

OUTDOOR, INDOOR = "simulation", "simulation_indoor"
ROOMS = ("room", "corridor", "hall")


class SimulatedSequence(Sequence[Frame]):
    """Frames, each simulated when its turn comes, and kept by nobody.

    Args:
        simulate: gives the first frames, as many as it is told.
        frames: how many.
    """

    def __init__(self, simulate: Callable[[int], Iterator[Frame]], frames: int) -> None:
        self._simulate, self._frames = simulate, frames

    def __len__(self) -> int:
        return self._frames

    def __iter__(self) -> Iterator[Frame]:
        return self._simulate(self._frames)

    @overload
    def __getitem__(self, index: int) -> Frame: ...
    @overload
    def __getitem__(self, index: slice) -> list[Frame]: ...
    def __getitem__(self, index: int | slice) -> Frame | list[Frame]:
        """Simulate them all to choose from them."""
        return list(self)[index]


def held_out_drives(lidars: Sequence[str], drives: int, frames: int) -> Dataset:
    """Drives that no model was trained on, "LIDAR_SEED" each.

    Args:
        lidars: names of their models.
        drives: of each LiDAR, along the same streets for all.
        frames: of each drive.

    Raises:
        SensorError: no LiDAR has that name.
    """
    sequences = {
        f"{lidar.name}_{seed}": SimulatedSequence(partial(simulate_drive, seed, lidar), frames)
        for lidar in map(get_lidar, lidars)
        for seed in _seeds(drives)
    }
    return Dataset(OUTDOOR, LabelSet.load("semantickitti19"), sequences, 1.0)


def held_out_rooms(cameras: Sequence[str], rooms: int, frames: int) -> Dataset:
    """Rooms of all kinds that no model was trained on, "CAMERA_KIND_SEED" each.

    Args:
        cameras: names of their models.
        rooms: for each camera, the same for all.
        frames: of each room.

    Raises:
        SensorError: no camera has that name.
    """
    sequences = {}
    for name, camera in [(name, get_camera(name)) for name in cameras]:
        for seed in _seeds(rooms):
            kind = ROOMS[(seed - HELD_OUT_SEED) % len(ROOMS)]
            walk = partial(simulate_indoor, seed, camera, kind=kind)
            sequences[f"{name}_{kind}_{seed}"] = SimulatedSequence(walk, frames)
    return Dataset(INDOOR, LabelSet.load("indoor8"), sequences, None)


def _seeds(count: int) -> range:
    return range(HELD_OUT_SEED, HELD_OUT_SEED + count)
