# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What is simulated: a scene, a sensor in it, and how it moves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from minkowski_perception.frame import Frame
from minkowski_perception.lab.simulation.camera import DepthCamera
from minkowski_perception.lab.simulation.drive import simulate_drive
from minkowski_perception.lab.simulation.indoor import simulate_indoor
from minkowski_perception.lab.simulation.lidar import LidarModel
from minkowski_perception.lab.simulation.rooms import KINDS
from minkowski_perception.labels import UNLABELLED, LabelSet

OUTDOORS = ("street", "yard")
SCENES = (*OUTDOORS, *KINDS)


class RecordingError(ValueError):
    """A scene, a sensor and what is asked of them do not go together."""


@dataclass(frozen=True)
class Recording:
    """All of a simulated recording but its seed.

    Attributes:
        scene: one of `SCENES`.
        sensor: what is carried through it; depth cameras only indoors.
        frames: how many.
        mount_height: of the sensor above the ground, metres; None draws one.
        speed: metres a second; None draws one.
        still: the world and the sensor stand still.
        skew: the sensor moves on while a cloud is measured (see `simulate_drive`); outdoors.
        start: of the first frame, seconds after the view that a way begins with; indoors.
        labels: the set that labels are told in; None for the scene's own.
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
        """Refuse what does not go together.

        Raises:
            RecordingError: the message says what, and the valid choices.
        """
        if self.scene not in SCENES:
            raise RecordingError(
                f"unknown scene '{self.scene}'; choose one of {', '.join(SCENES)}"
            )
        if self.outdoors and isinstance(self.sensor, DepthCamera):
            raise RecordingError(
                f"a depth camera sees nothing of a {self.scene}; choose a lidar, or one of the "
                f"scenes {', '.join(KINDS)}"
            )
        if self.skew and not self.outdoors:
            raise RecordingError(f"skew is simulated in {' and '.join(OUTDOORS)} scenes alone")
        if self.start and self.outdoors:
            raise RecordingError(f"a later start is simulated in {', '.join(KINDS)} alone")

    @property
    def outdoors(self) -> bool:
        """Whether the scene is under the sky."""
        return self.scene in OUTDOORS

    @property
    def label_set(self) -> LabelSet:
        """What labels are in."""
        return self.labels or self._own_labels

    @property
    def _own_labels(self) -> LabelSet:
        return LabelSet.load("semantickitti19" if self.outdoors else "indoor8")

    @property
    def image_size(self) -> tuple[int, int] | None:
        """Width and height of clouds that are organised."""
        if isinstance(self.sensor, DepthCamera):
            return self.sensor.width, self.sensor.height
        return None

    def play(self, seed: int) -> Iterator[Frame]:
        """Simulate the frames of a seed; the same seed gives the same bytes.

        Raises:
            LabelSetError: labels of the scene cannot be told in those that are wanted.
        """
        told = self.told
        for frame in self.play_untold(seed):
            assert frame.labels is not None
            yield replace(frame, labels=told[frame.labels])

    @property
    def told(self) -> npt.NDArray[np.uint8]:
        """[256] uint8: by label of the scene, the one in the set that is wanted.

        Raises:
            LabelSetError: the scene's labels cannot be told in that set.
        """
        return self.label_set.mapping_from(self._own_labels)[: UNLABELLED + 1]

    def play_untold(self, seed: int) -> Iterator[Frame]:
        """Simulate the frames of a seed, labels in the scene's own set."""
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
