# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Simulated sequences for evaluation, from seeds that no model is trained on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import overload

from minkowski_perception.frame import Frame
from minkowski_perception.lab.datasets.catalogue import Dataset
from minkowski_perception.lab.evaluation import EvaluationError
from minkowski_perception.lab.simulation.camera import DepthCamera
from minkowski_perception.lab.simulation.drive import HELD_OUT_SEED, held_out_seeds
from minkowski_perception.lab.simulation.lidar import LidarModel
from minkowski_perception.lab.simulation.recording import Recording
from minkowski_perception.lab.simulation.rooms import KINDS
from minkowski_perception.labels import LabelSet

OUTDOOR, INDOOR = "simulation", "simulation_indoor"


class SimulatedSequence(Sequence[Frame]):
    """Frames that are simulated while the sequence is iterated, and not kept.

    Args:
        recording: settings of the simulation.
        seed: of the simulation.
    """

    def __init__(self, recording: Recording, seed: int) -> None:
        self._recording, self._seed = recording, seed

    def __len__(self) -> int:
        return self._recording.frames

    def __iter__(self) -> Iterator[Frame]:
        return self._recording.play(self._seed)

    @overload
    def __getitem__(self, index: int) -> Frame: ...
    @overload
    def __getitem__(self, index: slice) -> list[Frame]: ...
    def __getitem__(self, index: int | slice) -> Frame | list[Frame]:
        """Return frames by index; this simulates the whole sequence."""
        return list(self)[index]


def held_out_drives(
    lidars: Sequence[LidarModel], drives: int, frames: int, seed: int = HELD_OUT_SEED
) -> Dataset:
    """Return drives that no model was trained on, named "LIDAR_SEED".

    Args:
        lidars: models of the LiDARs.
        drives: number of drives of each LiDAR; all LiDARs drive along the same streets.
        frames: number of frames of each drive.
        seed: of the first street.

    Raises:
        ValueError: models are trained on streets of that seed.
    """
    sequences = {
        f"{lidar.name}_{each}": SimulatedSequence(Recording("street", lidar, frames), each)
        for lidar in lidars
        for each in held_out_seeds(seed, drives)
    }
    return Dataset(OUTDOOR, LabelSet.load("semantickitti19"), sequences, 1.0)


def held_out_rooms(
    sensors: Sequence[DepthCamera | LidarModel],
    rooms: int,
    frames: int,
    seed: int = HELD_OUT_SEED,
) -> Dataset:
    """Return rooms of all kinds that no model was trained on, named "SENSOR_KIND_SEED".

    Args:
        sensors: cameras only, labelled in indoor8, or LiDARs only, labelled in semantickitti19.
        rooms: number of rooms for each sensor; all sensors get the same rooms.
        frames: number of frames of each room.
        seed: of the first room.

    Raises:
        ValueError: models are trained on rooms of that seed.
        EvaluationError: both cameras and LiDARs are given.
    """
    lidars = [isinstance(sensor, LidarModel) for sensor in sensors]
    if any(lidars) and not all(lidars):
        raise EvaluationError("cameras and LiDARs have different label sets; choose one")
    labels = LabelSet.load("semantickitti19" if any(lidars) else "indoor8")
    sequences = {}
    for sensor in sensors:
        for index, each in enumerate(held_out_seeds(seed, rooms)):
            kind = KINDS[index % len(KINDS)]
            room = Recording(kind, sensor, frames, labels=labels)
            sequences[f"{sensor.name}_{kind}_{each}"] = SimulatedSequence(room, each)
    return Dataset(INDOOR, labels, sequences, 1.0 if any(lidars) else None)
