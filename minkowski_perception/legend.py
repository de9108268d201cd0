# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Layout of the legend: a column of class names beside the sensor, in their colours."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from minkowski_perception.labels import LabelSet

_LINE = 0.8  # metres between entries
_SIDE = 12.0  # metres to the left of the sensor


class LegendEntry(NamedTuple):
    """A class of the legend.

    Attributes:
        id: its label.
        name: its name.
        colour: red, green and blue, 0 to 1.
        position: x, y, z in metres in the sensor's frame.
        height: of the letters, metres.
    """

    id: int
    name: str
    colour: tuple[float, float, float]
    position: tuple[float, float, float]
    height: float


def legend_entries(label_set: LabelSet) -> Iterator[LegendEntry]:
    """Yield the entries from top to bottom."""
    for i, (name, colour) in enumerate(zip(label_set.names, label_set.shown_colours, strict=True)):
        red, green, blue = (channel / 255.0 for channel in colour)
        position = (0.0, _SIDE, (len(label_set) - i) * _LINE)
        yield LegendEntry(i, name, (red, green, blue), position, 0.9 * _LINE)
