# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Check whether the points of a cloud can be metres in the frame of a sensor."""

from __future__ import annotations

import numpy as np

from minkowski_perception.frame import Frame

_FAR = 400.0
"""Metres; the median point of a sensor on a robot is nearer."""

_WIDE = 2000.0
"""Metres; the median distance of the points of one cloud from its centre is less."""


def doubtful_unit(frame: Frame) -> str:
    """Return why points cannot be metres from the sensor, with the remedy; "" if they can."""
    points = frame.points[frame.measured].astype(np.float64)
    if not len(points):
        return ""
    distance = float(np.median(np.linalg.norm(points, axis=1)))
    if distance < _FAR:
        return ""
    centre = np.median(points, axis=0)
    spread = float(np.median(np.linalg.norm(points - centre, axis=1)))
    where = f"the median point is {distance:,.0f} m from the sensor"
    if spread > _WIDE or distance < 4.0 * spread:
        return (
            f"{where}: coordinates seem to be millimetres; divide x, y, z by 1000 before "
            "recording or conversion"
        )
    return (
        f"{where}: coordinates seem to be those of a map (such as UTM); subtract the position of "
        "the sensor from x, y, z in float64, since float32 cannot hold them exactly"
    )
