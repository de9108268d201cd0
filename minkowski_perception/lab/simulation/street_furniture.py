# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Random poles, signs, fences and small objects beside a road."""

from __future__ import annotations

import numpy as np

from minkowski_perception.lab.simulation.meshes import (
    Material,
    Mesh,
    box,
    cylinder,
    ellipsoid,
    leaves,
    prism,
    tube,
)
from minkowski_perception.lab.simulation.surfaces import GLASS, Rng, make_material, retro_reflector


def lamp_post(rng: Rng) -> Mesh:
    """Draw a lamp post, with an arm to the left or a lantern on top."""
    metal = make_material("pole", rng.uniform(0.1, 0.5))
    height, radius = rng.uniform(3.0, 10.0), rng.uniform(0.04, 0.17)
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
    """Draw an object without a class: a bin, bags, boxes, a bench, a cone, a hydrant, ..."""
    material = make_material("", rng.uniform(0.05, 0.7))
    kinds = (_bin, _wheelie_bins, _bench, _cone, _bags, _boxes, _hydrant, _trough, _board, _frame)
    return kinds[rng.integers(len(kinds))](rng, material)


def _bin(rng: Rng, material: Material) -> Mesh:
    radius, height = rng.uniform(0.18, 0.35), rng.uniform(0.7, 1.2)
    return cylinder(material, (0, 0, 0), (0, 0, height), radius, radius * rng.uniform(0.9, 1.15))


def _wheelie_bins(rng: Rng, material: Material) -> Mesh:
    size = np.array(rng.uniform((0.5, 0.5, 0.9), (0.75, 0.7, 1.15)))
    if rng.random() < 0.25:
        size = np.array((1.25, 1.0, 1.3))
    profile = np.array(
        [(-0.4, 0.05), (-0.5, 0.88), (-0.55, 1.0), (0.45, 1.0), (0.5, 0.86), (0.38, 0.05)]
    )
    one = prism(material, profile * (size[1], size[2]), size[0] / 2).moved(yaw=np.pi / 2)
    count = int(rng.integers(1, 5))
    return Mesh.merge(
        [
            one.moved((i * (size[0] + 0.1), rng.normal(0, 0.06), 0), rng.normal(0, 0.12))
            for i in range(count)
        ]
    )


def _bench(rng: Rng, material: Material) -> Mesh:
    length, leg = rng.uniform(1.2, 2.2), rng.uniform(0.4, 0.48)
    parts = [
        box(material, (0, 0, leg), (length, 0.45, 0.06)),
        box(material, (-0.38 * length, 0, leg / 2), (0.08, 0.4, leg)),
        box(material, (0.38 * length, 0, leg / 2), (0.08, 0.4, leg)),
    ]
    if rng.random() < 0.7:
        parts.append(box(material, (0, -0.22, leg + 0.27), (length, 0.05, 0.35)))
    if rng.random() < 0.2:
        parts.append(box(material, (0, 0.6, 0.75), (length, 0.7, 0.05)))
        parts.append(box(material, (0, 0.6, 0.37), (0.1, 0.5, 0.74)))
    return Mesh.merge(parts)


def _cone(rng: Rng, material: Material) -> Mesh:
    return cylinder(material, (0, 0, 0), (0, 0, rng.uniform(0.4, 0.9)), 0.2, 0.03)


def _bags(rng: Rng, material: Material) -> Mesh:
    at = rng.uniform((-0.7, -0.35, 0.15), (0.7, 0.35, 0.35), (int(rng.integers(1, 8)), 3))
    radii = rng.uniform(0.18, 0.42, at.shape)
    return Mesh.merge([ellipsoid(material, m, r) for m, r in zip(at, radii, strict=True)])


def _boxes(rng: Rng, material: Material) -> Mesh:
    """Draw crates, a pallet with a load, or rubble."""
    parts = []
    for _ in range(rng.integers(1, 6)):
        size = rng.uniform((0.25, 0.25, 0.15), (1.2, 0.8, 0.9))
        at = rng.uniform(-0.5, 0.5, 2)
        parts.append(box(material, (0, 0, size[2] / 2), size).moved((*at, 0), rng.normal(0, 0.4)))
    return Mesh.merge(parts)


def _hydrant(rng: Rng, material: Material) -> Mesh:
    height = rng.uniform(0.5, 1.0)
    return Mesh.merge(
        [
            cylinder(material, (0, 0, 0), (0, 0, height), 0.1, 0.08),
            tube(material, [(-0.18, 0, 0.6 * height), (0.18, 0, 0.6 * height)], 0.06),
            ellipsoid(material, (0, 0, height), (0.11, 0.11, 0.08)),
        ]
    )


def _trough(rng: Rng, material: Material) -> Mesh:
    """Draw a trough of stone or wood with a plant in it."""
    size = rng.uniform((0.4, 0.4, 0.3), (1.8, 0.9, 0.8))
    green = make_material("vegetation", rng.uniform(0.3, 0.6), 0.05)
    at = rng.normal(0, 0.22, (120, 3)) * (size[0], size[1], rng.uniform(0.3, 1.2))
    at[:, 2] = size[2] + np.abs(at[:, 2])
    return Mesh.merge([box(material, (0, 0, size[2] / 2), size), leaves(rng, green, at, 0.13)])


def _board(rng: Rng, material: Material) -> Mesh:
    """Draw a board of a shop: two leaves that lean on each other."""
    wide, high = rng.uniform(0.5, 0.8), rng.uniform(0.7, 1.3)
    profile = [(-0.28, 0.0), (-0.02, high), (0.02, high), (0.28, 0.0)]
    return prism(material, profile, wide / 2)


def _frame(rng: Rng, material: Material) -> Mesh:
    """Draw a trolley, a cart or a pram: thin frames around a basket, on small wheels."""
    length, width, low = rng.uniform(0.6, 1.3), rng.uniform(0.4, 0.7), rng.uniform(0.2, 0.5)
    high = low + rng.uniform(0.3, 0.6)
    corners = [(x, y) for x in (-length / 2, length / 2) for y in (-width / 2, width / 2)]
    parts = [tube(material, [(x, y, 0.05), (x, y, high)], 0.02, sides=4) for x, y in corners]
    parts.append(box(material, (0, 0, (low + high) / 2), (length, width, high - low)))
    handle = [(-length / 2 - 0.2, y, high + 0.15) for y in (-width / 2, width / 2)]
    parts.append(tube(material, handle, 0.02, sides=4))
    return Mesh.merge(parts)


def structure(rng: Rng) -> Mesh:
    """Draw a cabinet, kiosk, shelter, container or pillar, labelled building."""
    material = make_material("building", rng.uniform(0.1, 0.7))
    kind = rng.choice(
        ["cabinet", "kiosk", "shelter", "container", "pillar"], p=[0.5, 0.1, 0.15, 0.1, 0.15]
    )
    if kind == "pillar":
        radius, height = rng.uniform(0.3, 0.7), rng.uniform(1.5, 3.6)
        return cylinder(material, (0, 0, -0.2), (0, 0, height), radius, sides=14)
    if kind == "shelter":
        length, depth, height = rng.uniform((2.0, 1.0, 2.2), (5.0, 1.6, 2.7))
        glass = make_material("building", rng.choice([GLASS, 0.3]))
        ends = [(x, y) for x in (-length / 2, length / 2) for y in (-depth / 2, depth / 2)]
        return Mesh.merge(
            [
                box(material, (0, 0, height), (length + 0.3, depth + 0.3, 0.12)),
                box(glass, (0, -depth / 2, height / 2), (length, 0.03, 0.8 * height)),
                box(glass, (-length / 2, 0, height / 2), (0.03, 0.8 * depth, 0.8 * height)),
                *(cylinder(material, (*at, -0.2), (*at, height), 0.05) for at in ends),
            ]
        )
    low, high = {
        "cabinet": ((0.4, 0.25, 0.7), (2.0, 0.8, 1.8)),
        "kiosk": ((1.5, 1.2, 2.2), (3.5, 2.5, 3.0)),
        "container": ((2.0, 1.2, 1.2), (6.0, 2.4, 2.6)),
    }[str(kind)]
    size = rng.uniform(low, high)
    return box(material, (0, 0, size[2] / 2 - 0.1), (*size[:2], size[2] + 0.2))


def barrier(rng: Rng) -> Mesh:
    """Draw a short barrier, labelled fence: racks for bicycles, railings, barriers, a scaffold."""
    material = make_material("fence", rng.uniform(0.1, 0.7))
    kind = rng.choice(
        ["racks", "railing", "barrier", "blocks", "scaffold"], p=[0.35, 0.3, 0.2, 0.1, 0.05]
    )
    if kind == "racks":
        wide, high = rng.uniform(0.4, 0.9), rng.uniform(0.35, 0.95)
        hoop = [
            (0, -wide / 2, -0.1),
            (0, -wide / 2, high),
            (0, wide / 2, high),
            (0, wide / 2, -0.1),
        ]
        one = tube(material, hoop, rng.uniform(0.015, 0.035), sides=5)
        gap = rng.uniform(0.4, 1.1)
        return Mesh.merge([one.moved((i * gap, 0, 0)) for i in range(rng.integers(1, 8))])
    length = rng.uniform(1.2, 2.6)
    if kind == "blocks":
        profile = [(-0.3, -0.1), (-0.12, 0.8), (0.12, 0.8), (0.3, -0.1)]
        return prism(material, profile, length / 2).moved(yaw=np.pi / 2)
    if kind == "scaffold":
        length, deep, high = 3 * length, rng.uniform(0.7, 1.1), rng.uniform(4.0, 9.0)
        posts = [(x, y) for x in np.arange(-length / 2, length / 2, 2.0) for y in (0.0, deep)]
        return Mesh.merge(
            [
                *(cylinder(material, (*at, -0.1), (*at, high), 0.03, sides=5) for at in posts),
                *(
                    box(material, (0, deep / 2, z), (length, deep, 0.05))
                    for z in np.arange(2.0, high, 2.0)
                ),
            ]
        )
    high, rails = rng.uniform(0.85, 1.15), (0.95, 0.15) if kind == "railing" else (0.9, 0.6)
    parts = [
        box(material, (0, 0, share * high), (length, 0.04, 0.04 if kind == "railing" else 0.2))
        for share in rails
    ]
    if kind == "railing":
        bars = np.arange(-length / 2, length / 2, 0.13)
        parts += [box(material, (x, 0, high / 2), (0.02, 0.02, 0.9 * high)) for x in bars]
    parts += [
        box(material, (x, 0, high / 2 - 0.1), (0.05, 0.05, high + 0.2))
        for x in (-length / 2, length / 2)
    ]
    return Mesh.merge(parts)


def traffic_light(rng: Rng) -> Mesh:
    """Draw a traffic light, labelled pole: lights at a post, or at an arm over the road too."""
    metal = make_material("pole", rng.uniform(0.05, 0.4))
    height, radius = rng.uniform(2.6, 3.6), rng.uniform(0.05, 0.11)
    parts = [box(metal, (-0.15, 0, height - 0.5), (0.2, 0.3, rng.uniform(0.6, 1.0)))]
    if rng.random() < 0.4:
        arm = rng.uniform(2.0, 6.0)
        height = rng.uniform(5.0, 6.5)
        parts.append(tube(metal, [(0, 0, height - 0.2), (0, arm, height)], 0.07))
        parts.append(box(metal, (-0.15, arm - 0.3, height - 0.4), (0.2, 0.3, 0.9)))
    parts.append(cylinder(metal, (0, 0, -0.3), (0, 0, height), radius))
    if rng.random() < 0.5:
        parts.append(box(metal, (0, 0.14, 1.1), (0.1, 0.1, 0.25)))
    return Mesh.merge(parts)


def fence(rng: Rng, length: float) -> Mesh:
    """Draw a fence along x: a wall, boards, bars, wires or a crash barrier."""
    material = make_material("fence", rng.uniform(0.15, 0.6))
    height = rng.uniform(0.8, 2.0)
    kind = rng.choice(["wall", "boards", "bars", "wires", "barrier", "mesh"])
    if kind == "wall":
        # Half of the walls are low and carry a railing.
        low = height if rng.random() < 0.5 else rng.uniform(0.3, 0.7)
        thick = rng.uniform(0.1, 0.35)
        wall = box(material, (0, 0, low / 2 - 0.2), (length, thick, low + 0.4))
        if low > height - 0.25:
            return wall
        bars = [
            box(material, (x, 0, (low + height) / 2), (0.025, 0.025, height - low))
            for x in np.arange(-length / 2, length / 2, rng.uniform(0.12, 0.3))
        ]
        return Mesh.merge([wall, *bars, box(material, (0, 0, height), (length, 0.05, 0.05))])
    gap = rng.uniform(1.5, 3.0)
    ends = np.arange(-length / 2, length / 2 + 0.1, gap)
    parts = [box(material, (x, 0, height / 2 - 0.2), (0.09, 0.09, height + 0.4)) for x in ends]
    if kind == "boards":
        parts.append(box(material, (0, 0, height / 2 + 0.03), (length, 0.04, height - 0.06)))
    elif kind == "barrier":
        parts.append(box(material, (0, 0.08, 0.6), (length, 0.08, 0.32)))
        parts = [parts[-1], *(box(material, (x, 0, 0.35), (0.12, 0.12, 0.7)) for x in ends)]
    elif kind == "mesh":
        # A ray hits few of the wires of a mesh.
        at = rng.uniform((-length / 2, 0, 0.05), (length / 2, 0, height), (int(90 * length), 3))
        parts += [
            leaves(rng, material, at, 0.05),
            box(material, (0, 0, height), (length, 0.04, 0.04)),
        ]
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
