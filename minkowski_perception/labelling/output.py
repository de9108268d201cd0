# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Base class of the outputs that take the labelled clouds of a recording."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from minkowski_perception.stream import Dropped, Labelled, MapCloud
    from minkowski_perception.summary import Summary


class Output:
    """Takes the labelled clouds of one recording; use it in a `with` statement."""

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def add(self, labelled: Labelled, received_at: int) -> None:
        """Take the next labelled cloud.

        Args:
            labelled: the cloud.
            received_at: its receive time in the recording, nanoseconds.
        """

    def drop(self, dropped: Dropped) -> None:
        """Take note of a cloud that gets no labels, and why."""

    def finish(self, found: MapCloud | None, summary: Summary) -> None:
        """Take the end of a recording that was labelled whole.

        Args:
            found: the map; None if the stream keeps none.
            summary: of the recording.
        """

    def close(self) -> None:
        """Close the files, also those of a recording that was not labelled whole."""
