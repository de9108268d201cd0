# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Random poles, signs, fences and small objects beside a road."""

from __future__ import annotations

import numpy as np

from minkowski_perception.lab.simulation.meshes import Mesh, box, cylinder, ellipsoid, tube
from minkowski_perception.lab.simulation.surfaces import Rng, make_material, retro_reflector


def lamp_post(rng: Rng) -> Mesh:
    """Draw a lamp post, with an arm to the left or a lantern on top."""
    metal = make_material("pole", rng.uniform(0.1, 0.5))
    height, radius = rng.uniform(3.5, 10.0), rng.uniform(0.05, 0.12)
    parts = [cylinder(metal, (0, 0, -0.3), (0, 0, height), radius, 0.6 * radius)]
    if height > 5 and rng.random() < 0.7:
        arm = rng.uniform(0.8, 3.0)
        tip = (0, arm, height + rng.uniform(0, 0.5))
        parts.append(tube(metal, [(0, 0, height), tip], 0.05))
        parts.append(box(metal, tip, (0.25, 0.7, 0.12)))
    elif rng.random() < 0.6:
        parts.append(ellipsoid(metal, (0, 0, height + 0.2), (0.2, 0.2, 0.3)))
    if rng.random() < 0.3:
        parts.append(cylinder(metal, (0, 0, 0), (0, 0, 1.0), 1.6 * radius))
    return Mesh.merge(parts)


def post(rng: Rng) -> Mesh:
    """Draw a bollard or a thin post."""
    metal = make_material("pole", rng.uniform(0.15, 0.6))
    height = rng.uniform(0.7, 1.2) if rng.random() < 0.6 else rng.uniform(1.8, 4.0)
    return cylinder(metal, (0, 0, -0.2), (0, 0, height), rng.uniform(0.035, 0.1))


def utility_pole(rng: Rng) -> Mesh:
    """Draw a tall wooden pole with a cross-arm."""
    wood = make_material("pole", rng.uniform(0.25, 0.45))
    height, radius = rng.uniform(7, 11), rng.uniform(0.11, 0.17)
    return Mesh.merge(
        [
            cylinder(wood, (0, 0, -0.3), (0, 0, height), radius, 0.7 * radius),
            box(wood, (0, 0, height - 0.5), (0.12, rng.uniform(1.2, 2.2), 0.12)),
        ]
    )


def traffic_sign(rng: Rng) -> Mesh:
    """Draw one or two plates on a pole, or a board on two poles, facing -x."""
    metal = make_material("pole", rng.uniform(0.2, 0.5))
    plate = retro_reflector(rng, "traffic-sign")
    if rng.random() < 0.15:
        wide, high, low = rng.uniform(1.2, 3.0), rng.uniform(0.7, 1.8), rng.uniform(1.0, 2.4)
        return Mesh.merge(
            [
                box(plate, (-0.06, 0, low + high / 2), (0.03, wide, high)),
                *(
                    cylinder(metal, (0, y, -0.3), (0, y, low + high), 0.05)
                    for y in (-0.35 * wide, 0.35 * wide)
                ),
            ]
        )
    low, size = rng.uniform(1.6, 2.5), rng.uniform(0.5, 0.9)
    parts = []
    top = low
    for _ in range(rng.choice([1, 2], p=[0.7, 0.3])):
        kind = rng.choice(["round", "triangle", "square", "wide"])
        middle = (-0.08, 0, top + size / 2)
        if kind == "round":
            parts.append(cylinder(plate, middle, (-0.05, 0, middle[2]), size / 2, sides=12))
        elif kind == "triangle":
            ends = (-0.08, 0, middle[2]), (-0.05, 0, middle[2])
            parts.append(cylinder(plate, *ends, 0.6 * size, sides=3))
        else:
            wide = size if kind == "square" else 1.3 * size
            parts.append(
                box(plate, middle, (0.03, wide, size if kind == "square" else 0.5 * size))
            )
        top += size + 0.05
    parts.append(cylinder(metal, (0, 0, -0.3), (0, 0, top), rng.uniform(0.03, 0.05)))
    return Mesh.merge(parts)


def clutter(rng: Rng) -> Mesh:
    """Draw an object without a class: a bin, cabinet, bench or cone."""
    material = make_material("", rng.uniform(0.1, 0.6))
    kind = rng.choice(["bin", "cabinet", "bench", "cone"])
    if kind == "bin":
        return cylinder(material, (0, 0, 0), (0, 0, rng.uniform(0.7, 1.2)), rng.uniform(0.2, 0.35))
    if kind == "cone":
        return cylinder(material, (0, 0, 0), (0, 0, rng.uniform(0.4, 0.9)), 0.2, 0.03)
    if kind == "bench":
        return Mesh.merge(
            [
                box(material, (0, 0, 0.45), (1.6, 0.45, 0.06)),
                box(material, (0, -0.22, 0.7), (1.6, 0.05, 0.35)),
                box(material, (-0.6, 0, 0.22), (0.08, 0.4, 0.44)),
                box(material, (0.6, 0, 0.22), (0.08, 0.4, 0.44)),
            ]
        )
    size = rng.uniform((0.4, 0.3, 0.6), (1.6, 0.8, 1.5))
    return box(material, (0, 0, size[2] / 2), size)


def fence(rng: Rng, length: float) -> Mesh:
    """Draw a fence along x: a wall, boards, bars, wires or a crash barrier."""
    material = make_material("fence", rng.uniform(0.15, 0.6))
    height = rng.uniform(0.8, 2.0)
    kind = rng.choice(["wall", "boards", "bars", "wires", "barrier"])
    if kind == "wall":
        return box(
            material, (0, 0, height / 2 - 0.2), (length, rng.uniform(0.1, 0.35), height + 0.4)
        )
    gap = rng.uniform(1.5, 3.0)
    ends = np.arange(-length / 2, length / 2 + 0.1, gap)
    parts = [box(material, (x, 0, height / 2 - 0.2), (0.09, 0.09, height + 0.4)) for x in ends]
    if kind == "boards":
        parts.append(box(material, (0, 0, height / 2 + 0.03), (length, 0.04, height - 0.06)))
    elif kind == "barrier":
        parts.append(box(material, (0, 0.08, 0.6), (length, 0.08, 0.32)))
        parts = [parts[-1], *(box(material, (x, 0, 0.35), (0.12, 0.12, 0.7)) for x in ends)]
    elif kind == "wires":
        parts += [
            box(material, (0, 0, z), (length, 0.02, 0.02))
            for z in np.arange(0.15, height, rng.uniform(0.1, 0.25))
        ]
    else:
        parts += [box(material, (0, 0, z), (length, 0.05, 0.06)) for z in (0.15, height - 0.1)]
        spacing, wide = rng.uniform(0.12, 0.22), rng.uniform(0.03, 0.1)
        parts += [
            box(material, (x, 0, height / 2), (wide, 0.03, height))
            for x in np.arange(-length / 2, length / 2, spacing)
        ]
    return Mesh.merge(parts)
