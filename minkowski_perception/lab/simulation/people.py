# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Random people for indoor scenes: standing, walking or sitting, with detail for near views."""

from __future__ import annotations

import numpy as np

from minkowski_perception.lab.simulation import materials
from minkowski_perception.lab.simulation.meshes import (
    Material,
    Mesh,
    Paint,
    Vector,
    box,
    cylinder,
    ellipsoid,
)


def person(rng: np.random.Generator, stride: float = 0.0, seat: float | None = None) -> Mesh:
    """Draw a person who faces x.

    Args:
        rng: generator of size, clothes, hair and the pose of the arms.
        stride: swing of each leg from the vertical, radians; arms swing the other way.
        seat: height of the seat in metres, with the hips above the origin; None stands.
    """
    size = rng.uniform(0.87, 1.12)  # relative to 1.75 m
    bulk = rng.uniform(0.85, 1.25)
    shirt, trousers, shoes = (materials.cloth(rng, "person") for _ in range(3))
    bare_arms = rng.random() < 0.35
    tone = materials.colour(rng, (0.03, 0.09), (0.25, 0.6), (0.25, 0.95))
    skin = materials.make_material("person", Paint(tone, tone), 0.6)
    mane = materials.colour(rng, (0.02, 0.13), (0.1, 0.7), (0.05, 0.6))
    hair = materials.make_material("person", Paint(mane, mane, "grain", 0.01), 0.3)

    hip = 0.92 * size if seat is None else seat + 0.1
    lean = rng.normal(0.03, 0.05) if seat is None else rng.uniform(-0.15, 0.2)
    up = np.array([np.sin(lean), 0.0, np.cos(lean)])
    hips = np.array([0.0, 0.0, hip])
    neck = hips + 0.56 * size * up
    chest = hips + 0.38 * size * up
    head = neck + 0.2 * size * up + (0.02, 0, 0)
    wide = 0.19 * size * bulk
    parts = [
        ellipsoid(trousers, hips, (0.13 * bulk, 0.17 * bulk, 0.14 * size), 8, 14),
        ellipsoid(shirt, hips + 0.2 * size * up, (0.12 * bulk, 0.155 * bulk, 0.24 * size), 8, 14),
        ellipsoid(shirt, chest, (0.125 * bulk, wide, 0.19 * size), 8, 14),
        _limb(skin, neck - 0.05 * up, head, 0.06, 0.055),
        ellipsoid(skin, head, (0.1, 0.078, 0.125), 10, 14),
        ellipsoid(hair, np.add(head, (-0.025, 0, 0.025)), (0.1, 0.085, 0.12), 8, 12),
    ]
    bend = rng.uniform(0.1, 0.6) if rng.random() < 0.7 else rng.uniform(0.8, 2.0)
    for side in (-1, 1):
        parts += _leg(rng, trousers, shoes, hips, side * stride, side, size, bulk, seat)
        shoulder = np.add(neck, (0.0, side * wide * 0.95, -0.06))
        swing = -side * stride * 0.9 + rng.normal(0.0, 0.15)
        elbow = shoulder + 0.29 * size * np.array([np.sin(swing), side * 0.15, -np.cos(swing)])
        raised = swing + bend * (1.0 if seat is None else 1.3)
        hand = elbow + 0.26 * size * np.array([np.sin(raised), -side * 0.15, -np.cos(raised)])
        parts += [
            _limb(shirt, shoulder, elbow, 0.055 * bulk, 0.045),
            _limb(skin if bare_arms else shirt, elbow, hand, 0.043, 0.034),
            ellipsoid(skin, hand + 0.06 * (hand - elbow), (0.04, 0.035, 0.055), 6, 8),
        ]
    if seat is None and rng.random() < 0.2:
        bag = materials.cloth(rng, "person")
        parts.append(box(bag, np.add(chest, (-0.2, 0, -0.05)), (0.16, 0.3, 0.42)))
    return Mesh.merge(parts)


def _leg(
    rng: np.random.Generator,
    trousers: Material,
    shoes: Material,
    hips: Vector,
    swing: float,
    side: int,
    size: float,
    bulk: float,
    seat: float | None,
) -> list[Mesh]:
    top = np.add(hips, (0.0, side * 0.09, -0.04))
    if seat is None:
        knee = top + 0.43 * size * np.array([np.sin(swing), 0.0, -np.cos(swing)])
        back = min(swing, 0.0) * 0.8
        ankle = np.add(knee, (0.4 * size * np.sin(swing + back), 0.0, 0.0))
        ankle[2] = 0.08 + 0.1 * abs(back)
    else:
        knee = np.add(top, (0.44 * size, side * rng.uniform(0.0, 0.12), 0.02))
        ankle = np.array([knee[0] + rng.uniform(-0.15, 0.1), knee[1], 0.08])
    foot = np.add(ankle, (0.07, 0.0, -0.03))
    return [
        _limb(trousers, top, knee, 0.085 * bulk, 0.06),
        _limb(trousers, knee, ankle, 0.06, 0.045),
        ellipsoid(shoes, foot, (0.14, 0.05, 0.055), 6, 10),
    ]


def _limb(material: Material, start: Vector, end: Vector, radius: float, tip: float) -> Mesh:
    joint = ellipsoid(material, start, (radius, radius, radius), 6, 10)
    return Mesh.merge([cylinder(material, start, end, radius, tip, sides=10), joint])
