# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""History of a clip: frames that only its range residuals look back to."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields

from minkowski_perception.frame import NANOSECONDS, Frame
from minkowski_perception.streaming.residuals import nearest


class PastFrame(Frame):
    """Frame of a clip's history.

    It is augmented as the other frames are, so its poses and points fit theirs, but it gets no
    voxels.
    """

    @classmethod
    def of(cls, frame: Frame) -> PastFrame:
        """Return the same frame as one of the history."""
        return cls(**{field.name: getattr(frame, field.name) for field in fields(frame)})


@dataclass(frozen=True)
class History:
    """Which frames of a sequence the residuals of a clip need.

    Attributes:
        before: largest number of frames before the first frame of the clip.
        delays: of the residuals, seconds; see `RangeHistory`.
    """

    before: int
    delays: tuple[float, ...]

    def rows(self, stamps: Mapping[int, int], clip: Collection[int]) -> set[int]:
        """Return the rows that a delay of a frame of the clip leads to.

        Args:
            stamps: of the frames of the sequence by row, nanoseconds.
            clip: rows of the clip.
        """
        wanted = set()
        for row in clip:
            past = sorted(other for other in stamps if other < row)
            for delay in self.delays:
                place = nearest(
                    [stamps[other] for other in past], stamps[row], round(delay * NANOSECONDS)
                )
                if place is not None:
                    wanted.add(past[place])
        return wanted
