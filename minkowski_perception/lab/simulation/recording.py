# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Settings of a simulated recording: a scene, a sensor and its motion."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from minkowski_perception.frame import Frame
from minkowski_perception.lab.simulation.camera import DepthCamera
from minkowski_perception.lab.simulation.drive import PARK, simulate_drive
from minkowski_perception.lab.simulation.indoor import simulate_indoor
from minkowski_perception.lab.simulation.lidar import LidarModel
from minkowski_perception.lab.simulation.rooms import KINDS
from minkowski_perception.labels import UNLABELLED, LabelSet

OUTDOORS = ("street", "yard", PARK)
SCENES = (*OUTDOORS, *KINDS)


class RecordingError(ValueError):
    """The settings of a recording are invalid or contradict each other."""


@dataclass(frozen=True)
class Recording:
    """Settings of a simulated recording, all but its seed.

    Attributes:
        scene: one of `SCENES`.
        sensor: sensor model; depth cameras only indoors.
        frames: number of frames.
        mount_height: height of the sensor above the ground, metres; None draws one.
        speed: m/s; None draws one.
        still: freeze the world and the sensor at the first frame.
        skew: the sensor and the actors move during a sweep (see `simulate_drive`); outdoors only.
        start: time of the first frame, seconds after the start of the trajectory; indoors only.
        labels: label set of the frames; None for the scene's own.
    """

    scene: str
    sensor: LidarModel | DepthCamera
    frames: int
    mount_height: float | None = None
    speed: float | None = None
    still: bool = False
    skew: bool = False
    start: float = 0.0
    labels: LabelSet | None = None

    def __post_init__(self) -> None:
        """Check the settings.

        Raises:
            RecordingError: the message names the setting and the valid choices.
        """
        if self.scene not in SCENES:
            raise RecordingError(
                f"unknown scene '{self.scene}'; choose one of {', '.join(SCENES)}"
            )
        if self.outdoors and isinstance(self.sensor, DepthCamera):
            raise RecordingError(
                f"scene '{self.scene}' cannot be simulated with a depth camera; choose a lidar, "
                f"or one of the scenes {', '.join(KINDS)}"
            )
        if self.skew and not self.outdoors:
            raise RecordingError(f"skew is only available in the scenes {', '.join(OUTDOORS)}")
        if self.start and self.outdoors:
            raise RecordingError(f"start is only available in the scenes {', '.join(KINDS)}")

    @property
    def outdoors(self) -> bool:
        """Whether the scene is outdoors."""
        return self.scene in OUTDOORS

    @property
    def label_set(self) -> LabelSet:
        """Label set of the frames of `play`."""
        return self.labels or self._own_labels

    @property
    def _own_labels(self) -> LabelSet:
        return LabelSet.load("semantickitti19" if self.outdoors else "indoor8")

    @property
    def image_size(self) -> tuple[int, int] | None:
        """Width and height of organised clouds; None for unorganised ones."""
        if isinstance(self.sensor, DepthCamera):
            return self.sensor.width, self.sensor.height
        return None

    def play(self, seed: int) -> Iterator[Frame]:
        """Simulate the frames of a seed; equal seeds give equal bytes.

        Raises:
            LabelSetError: there is no mapping from the scene's label set to `labels`.
        """
        mapping = self.label_mapping
        for frame in self.play_unmapped(seed):
            assert frame.labels is not None
            yield replace(frame, labels=mapping[frame.labels])

    @property
    def label_mapping(self) -> npt.NDArray[np.uint8]:
        """Label in `label_set` of each label of the scene, [256] uint8.

        Raises:
            LabelSetError: there is no mapping from the scene's label set to `labels`.
        """
        return self.label_set.mapping_from(self._own_labels)[: UNLABELLED + 1]

    def play_unmapped(self, seed: int) -> Iterator[Frame]:
        """Simulate the frames of a seed, with labels in the scene's own set."""
        if not self.outdoors:
            yield from simulate_indoor(
                seed,
                self.sensor,
                self.frames,
                kind=self.scene,
                mount_height=self.mount_height,
                speed=self.speed,
                still=self.still,
                start=self.start,
            )
            return
        assert isinstance(self.sensor, LidarModel)
        yield from simulate_drive(
            seed,
            self.sensor,
            self.frames,
            mount_height=self.mount_height,
            speed=self.speed,
            still=self.still,
            skew=self.skew,
            style=None if self.scene == "street" else self.scene,
        )
