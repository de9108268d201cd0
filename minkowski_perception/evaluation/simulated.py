# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Simulated drives to evaluate on, with nothing to download and none that was trained on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import overload

from minkowski_perception.datasets.catalogue import Dataset
from minkowski_perception.frame import Frame
from minkowski_perception.labels import LabelSet
from minkowski_perception.simulation.drive import HELD_OUT_SEED, simulate_drive
from minkowski_perception.simulation.lidar import get_lidar

SIMULATION = "simulation"


class SimulatedDrive(Sequence[Frame]):
    """Frames of a drive, each simulated when its turn comes, and kept by nobody.

    Args:
        seed: of the drive.
        lidar: name of the sensor's model.
        frames: how many.
    """

    def __init__(self, seed: int, lidar: str, frames: int) -> None:
        self._seed, self._lidar, self._frames = seed, lidar, frames

    def __len__(self) -> int:
        return self._frames

    def __iter__(self) -> Iterator[Frame]:
        return simulate_drive(self._seed, self._lidar, self._frames)

    @overload
    def __getitem__(self, index: int) -> Frame: ...
    @overload
    def __getitem__(self, index: slice) -> list[Frame]: ...
    def __getitem__(self, index: int | slice) -> Frame | list[Frame]:
        """Simulate the drive to choose from it."""
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
        f"{model.name}_{seed}": SimulatedDrive(seed, lidar, frames)
        for lidar, model in ((name, get_lidar(name)) for name in lidars)
        for seed in range(HELD_OUT_SEED, HELD_OUT_SEED + drives)
    }
    return Dataset(SIMULATION, LabelSet.load("semantickitti19"), sequences, 1.0)
