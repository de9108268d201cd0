# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Pictures of some clouds of a recording."""

from __future__ import annotations

from pathlib import Path

from minkowski_perception.labelling.output import Output
from minkowski_perception.labels import LabelSet
from minkowski_perception.moving import MOVING
from minkowski_perception.pictures import save_comparison
from minkowski_perception.stream import Labelled


class Pictures(Output):
    """Pictures of clouds that are evenly spaced in the recording.

    Args:
        folder: gets files cloud_0001.png, ...
        label_set: of the labels.
        name: of the recording.
        count: number of pictures.
        clouds: number of clouds of the recording, at most.
    """

    def __init__(
        self, folder: Path, label_set: LabelSet, name: str, count: int, clouds: int
    ) -> None:
        self._folder, self._label_set, self._name = folder, label_set, name
        self._clouds = clouds
        self._pictured = {clouds * (2 * i + 1) // (2 * count) for i in range(count)}
        self._index = -1

    def add(self, labelled: Labelled, received_at: int) -> None:
        """See `Output.add`."""
        self._index += 1
        if self._index not in self._pictured:
            return
        frame, result = labelled.frame, labelled.result
        number = self._index + 1
        title = f"{self._name}, cloud {number} of {self._clouds}: {len(frame):,} points"
        save_comparison(
            self._folder / f"cloud_{number:04}.png",
            frame,
            result.labels,
            self._label_set,
            title,
            moving=result.outputs.get(MOVING),
        )
