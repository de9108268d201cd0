# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Random bodies of the robot or car that carries the sensor, in the view of the sensor."""

from __future__ import annotations

import numpy as np

from minkowski_perception.lab.simulation import vehicles
from minkowski_perception.lab.simulation.meshes import Mesh, box, cylinder
from minkowski_perception.lab.simulation.surfaces import Rng, make_material
from minkowski_perception.labels import UNLABELLED

_CLEARANCE = 0.08
"""Metres from the sensor to the deck of a robot at least."""


def carrier(rng: Rng, height: float) -> Mesh:
    """Draw what a sensor sees of its carrier, in the frame of the sensor, without a class.

    A sensor high up is often above the roof of a car, a low one on the deck of a robot. Half of
    the meshes are empty: the driver removes the body, or the sensor does not see it.

    Args:
        rng: generator of the body.
        height: of the sensor above the ground, metres.
    """
    if rng.random() < 0.5:
        return Mesh.merge([])
    body = _car(rng, height) if height > 1.4 and rng.random() < 0.8 else _robot(rng, height)
    return body.relabelled(UNLABELLED)


def _car(rng: Rng, height: float) -> Mesh:
    """Draw a car below the sensor, with bars and boxes on its roof."""
    car = vehicles.car(rng)
    roof = float(car.vertices[:, 2].max())
    top = min(roof, height - rng.uniform(0.25, 0.7))  # closer, it would hide most of the ground
    lowered = car.moved((rng.uniform(-0.9, 0.5), 0.0, top - roof - height))
    parts, dark = [lowered], make_material("", rng.uniform(0.05, 0.4))
    level = top - height
    for x in rng.uniform(-1.4, 0.6, rng.integers(0, 4)):
        parts.append(box(dark, (x, 0, level / 2 - 0.1), (0.06, rng.uniform(0.8, 1.5), 0.05)))
    if rng.random() < 0.4:
        size = rng.uniform((0.2, 0.2, 0.1), (0.8, 0.9, 0.35))
        at = (
            rng.choice([-1, 1]) * rng.uniform(0.9, 1.4),
            rng.uniform(-0.4, 0.4),
            level + size[2] / 2,
        )
        parts.append(box(dark, at, size))
    return Mesh.merge(parts)


def _robot(rng: Rng, height: float) -> Mesh:
    """Draw the deck of a robot below the sensor, with posts and boxes on it."""
    paint = make_material("", rng.uniform(0.05, 0.7))
    length, width = rng.uniform(0.5, 1.4), rng.uniform(0.4, 0.66)
    top = height * rng.uniform(0.3, 0.9) - _CLEARANCE
    deck = (rng.uniform(-0.4, 0.2) * length, 0.0, (top + 0.05) / 2 - height)
    parts = [box(paint, deck, (length, width, max(top - 0.05, 0.05)))]
    for _ in range(rng.integers(0, 4)):
        out, angle = rng.uniform(0.2, 0.33), rng.uniform(0, 2 * np.pi)
        x, y = out * np.cos(angle), out * np.sin(angle)
        end = rng.uniform(-0.1, 0.8)
        parts.append(cylinder(paint, (x, y, top - height), (x, y, end), rng.uniform(0.008, 0.04)))
    if rng.random() < 0.4:
        size = rng.uniform((0.15, 0.2, 0.1), (0.4, 0.6, 0.6))
        back = deck[0] - length / 2 + size[0] / 2
        parts.append(box(paint, (back, 0, top - height + size[2] / 2), size))
    return Mesh.merge(parts)
