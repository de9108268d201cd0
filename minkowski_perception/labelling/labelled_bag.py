# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The bag of labelled clouds."""

from __future__ import annotations

from pathlib import Path

from minkowski_perception.labelling.output import Output
from minkowski_perception.labelling.topics import LABELLED_TOPIC, MAP_TOPIC
from minkowski_perception.recordings.bags import BagWriter
from minkowski_perception.stream import Labelled, MapCloud
from minkowski_perception.summary import Summary


class LabelledBag(Output):
    """Bag of the labelled clouds and, at its end, the map.

    Args:
        path: the bag's folder, which must not exist.

    Raises:
        BagError: the folder exists or cannot be created.
    """

    def __init__(self, path: Path) -> None:
        self._writer = BagWriter(path)
        self._writer.__enter__()

    def add(self, labelled: Labelled, received_at: int) -> None:
        """See `Output.add`."""
        frame = labelled.frame
        self._writer.write_cloud(LABELLED_TOPIC, labelled.cloud, frame.stamp, frame.frame_id)

    def finish(self, found: MapCloud | None, summary: Summary) -> None:
        """See `Output.finish`."""
        if found is not None:
            self._writer.write_cloud(
                MAP_TOPIC, found.cloud, found.voxels.stamp, found.frame_id, latched=True
            )

    def close(self) -> None:
        """See `Output.close`."""
        self._writer.__exit__(None, None, None)
