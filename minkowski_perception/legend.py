# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Layout of the legend: a column of class names beside the sensor, in their colours."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from minkowski_perception.frame import Axes, upright
from minkowski_perception.labels import LabelSet
from minkowski_perception.view import View


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


def legend_entries(label_set: LabelSet, view: View, axes: Axes) -> Iterator[LegendEntry]:
    """Yield the entries from top to bottom.

    Args:
        label_set: names and colours.
        view: where the names stand.
        axes: of the sensor's frame.
    """
    places = view.places(len(label_set)) @ upright(axes)[:3, :3]  # its transpose is its inverse
    columns = (label_set.names, label_set.shown_colours, places.tolist())
    for i, (name, colour, (x, y, z)) in enumerate(zip(*columns, strict=True)):
        red, green, blue = (channel / 255.0 for channel in colour)
        yield LegendEntry(i, name, (red, green, blue), (x, y, z), view.text)
