# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Random people, bicycles, motorcycles and riders (see `surfaces.Maker`)."""

from __future__ import annotations

import numpy as np

from minkowski_perception.lab.simulation.meshes import (
    Material,
    Mesh,
    box,
    cylinder,
    ellipsoid,
    tube,
)
from minkowski_perception.lab.simulation.surfaces import (
    LABELS,
    Rng,
    make_material,
    vehicle_paint,
)


def _hoop(material: Material, x: float, radius: float) -> Mesh:
    angle = np.linspace(0, 2 * np.pi, 13)
    points = np.stack([x + radius * np.cos(angle), 0 * angle, radius + radius * np.sin(angle)], 1)
    return tube(material, list(points), 0.025, sides=4)


def bicycle(rng: Rng) -> Mesh:
    """Draw an upright bicycle; its tubes are thick, as a LiDAR with wide beams measures them."""
    frame = make_material("bicycle", rng.uniform(0.1, 0.6))
    rubber = make_material("bicycle", 0.08)
    wheel, base = rng.uniform(0.28, 0.36), rng.uniform(0.95, 1.12)
    back, front = -base / 2, base / 2
    crank, saddle = (-0.08, 0, 0.28), (-0.25, 0, rng.uniform(0.82, 1.0))
    head, bar = (0.33, 0, 0.8), (0.3, 0, rng.uniform(0.95, 1.12))
    hub_back, hub_front = (back, 0, wheel), (front, 0, wheel)
    grips = [(bar[0] - 0.1, -0.28, bar[2]), bar, (bar[0] - 0.1, 0.28, bar[2])]
    low_bar = rng.random() < 0.4
    parts = [
        _hoop(rubber, back, wheel),
        _hoop(rubber, front, wheel),
        tube(frame, [hub_back, crank, head], 0.025),
        tube(frame, [hub_back, (-0.2, 0, 0.72), crank], 0.022),
        tube(frame, [(-0.2, 0, 0.72), saddle], 0.022),
        tube(frame, [crank if low_bar else (-0.2, 0, 0.72), head], 0.025),
        tube(frame, [hub_front, head, bar], 0.025),
        tube(frame, grips, 0.022),
        ellipsoid(rubber, saddle, (0.14, 0.08, 0.05)),
    ]
    if rng.random() < 0.4:
        parts.append(box(rubber, (front + 0.05, 0, 0.85), (0.3, 0.36, 0.25)))
    if rng.random() < 0.3:
        parts.append(box(frame, (back, 0, 0.68), (0.4, rng.uniform(0.15, 0.45), 0.3)))
    return Mesh.merge(parts)


def motorcycle(rng: Rng) -> Mesh:
    """Draw an upright motorcycle or scooter."""
    paint, dark = vehicle_paint(rng, "motorcycle"), make_material("motorcycle", 0.08)
    scooter = rng.random() < 0.4
    wheel = rng.uniform(0.2, 0.26) if scooter else rng.uniform(0.29, 0.34)
    base = rng.uniform(1.2, 1.35) if scooter else rng.uniform(1.35, 1.6)
    bar = rng.uniform(0.95, 1.15)
    parts = [
        cylinder(dark, (x, -width, wheel), (x, width, wheel), wheel, sides=10)
        for x, width in ((-base / 2, 0.085), (base / 2, 0.06))
    ]
    parts += [
        tube(dark, [(base / 2, 0, wheel), (base / 2 - 0.3, 0, bar)], 0.06),
        tube(dark, [(base / 2 - 0.4, -0.36, bar), (base / 2 - 0.4, 0.36, bar)], 0.03),
        ellipsoid(paint, (base / 2 - 0.25, 0, bar - 0.12), (0.16, 0.17, 0.16)),
    ]
    if scooter:
        parts += [
            box(paint, (0.05, 0, 0.3), (0.6, 0.36, 0.12)),
            box(paint, (base / 2 - 0.28, 0, 0.6), (0.1, 0.4, 0.55)),
            ellipsoid(paint, (-base / 2 + 0.1, 0, 0.52), (0.45, 0.19, 0.26)),
        ]
    else:
        parts += [
            ellipsoid(paint, (0.18, 0, 0.8), (0.3, 0.16, 0.16)),
            ellipsoid(dark, (0.05, 0, 0.45), (0.38, 0.2, 0.24)),
            box(dark, (-0.38, 0, 0.74), (0.65, 0.24, 0.12)),
            tube(dark, [(0.0, -0.2, 0.35), (-base / 2 - 0.1, -0.2, 0.45)], 0.06),
        ]
    if rng.random() < 0.35:
        parts.append(box(dark, (-base / 2 - 0.05, 0, 0.95), (0.35, 0.4, 0.32)))
    return Mesh.merge(parts)


def person(rng: Rng, stride: float = 0.0, label: str = "person") -> Mesh:
    """Draw a standing person, from a child to a tall adult.

    Args:
        rng: generator of size, clothes and luggage.
        stride: swing of each leg from the vertical, radians; arms swing the other way.
        label: class of the whole mesh.
    """
    height = rng.uniform(1.5, 1.95) if rng.random() < 0.85 else rng.uniform(0.95, 1.5)
    bulk = rng.uniform(0.85, 1.3)
    cloth, legwear = (
        make_material(label, rng.uniform(0.1, 0.7)),
        make_material(label, rng.uniform(0.08, 0.5)),
    )
    skin = make_material(label, 0.45)
    hip, shoulder = 0.5 * height, 0.81 * height
    reach = 0.09 * height
    parts = [
        ellipsoid(skin, (0.02, 0, 0.93 * height), (0.1, 0.085, 0.075 * height)),
        cylinder(cloth, (0, 0, shoulder), (0, 0, 0.88 * height), 0.06),
        ellipsoid(
            cloth, (0, 0, 0.65 * height), (0.14 * bulk, 0.115 * height * bulk, 0.2 * height)
        ),
    ]
    for side in (-1, 1):
        swing = side * stride
        knee = (np.sin(swing) * 0.25 * height, side * reach * 0.7, 0.27 * height)
        foot = (np.sin(swing) * 0.4 * height - 0.05 * abs(swing), side * reach * 0.7, 0.05)
        parts.append(tube(legwear, [(0, side * reach * 0.6, hip), knee, foot], 0.075 * bulk))
        parts.append(box(legwear, (foot[0] + 0.07, foot[1], 0.04), (0.26, 0.1, 0.08)))
        arm = -swing * 0.9
        bend = rng.uniform(0.0, 0.6)
        elbow = np.array(
            [np.sin(arm) * 0.17 * height, side * reach * 1.5 * bulk, shoulder - 0.17 * height]
        )
        forearm = (np.sin(arm + bend) * 0.17 * height, 0, -np.cos(bend) * 0.16 * height)
        hand = np.add(elbow, forearm)
        parts.append(
            tube(cloth, [(0, side * reach * 1.25 * bulk, shoulder), elbow, hand], 0.05 * bulk)
        )
    extra = rng.random()
    if extra < 0.25:
        parts.append(box(cloth, (-0.2, 0, 0.68 * height), (0.2, 0.3, 0.26 * height)))
    elif extra < 0.4:
        parts.append(cylinder(cloth, (0, 0, 0.25 * height), (0, 0, 0.62 * height), 0.26, 0.16))
    elif extra < 0.5:
        parts.append(box(legwear, (0.05, 0.32, 0.4), (0.35, 0.14, 0.35)))
    return Mesh.merge(parts)


def _rider(rng: Rng, seat: float, bar: float, lean: float) -> Mesh:
    """Draw a rider who sits astride, with the hands on the bar."""
    label = "person"
    size = rng.uniform(0.88, 1.08)
    cloth, skin = make_material(label, rng.uniform(0.1, 0.7)), make_material(label, 0.4)
    hips = np.array([-0.25, 0, seat + 0.1])
    back = 0.52 * size
    neck = np.add(hips, (np.sin(lean) * back, 0, np.cos(lean) * back))
    middle = (hips + neck) / 2
    parts = [
        ellipsoid(cloth, middle, (0.16 + 0.2 * np.sin(lean), 0.2 * size, 0.34 * size)),
        ellipsoid(skin, np.add(neck, (0.06, 0, 0.18)), (0.12, 0.1, 0.14)),
    ]
    for side in (-1, 1):
        shoulder = np.add(neck, (0, side * 0.19, -0.05))
        parts.append(
            tube(
                cloth, [shoulder, (0.12, side * 0.3, bar + 0.12), (0.26, side * 0.26, bar)], 0.055
            )
        )
        foot = (0.0, side * 0.14, max(seat - rng.uniform(0.6, 0.78), 0.15))
        parts.append(
            tube(
                cloth,
                [np.add(hips, (0, side * 0.1, 0)), (0.2, side * 0.15, seat - 0.15), foot],
                0.075,
            )
        )
    if rng.random() < 0.3:
        parts.append(box(cloth, np.add(middle, (-0.25, 0, 0.08)), (0.2, 0.28, 0.38)))
    return Mesh.merge(parts)


def bicyclist(rng: Rng) -> Mesh:
    """Draw a rider with a bicycle, all labelled bicyclist."""
    rider = _rider(rng, 0.92, 1.02, rng.uniform(0.1, 0.6))
    return Mesh.merge([bicycle(rng), rider]).relabelled(LABELS.names.index("bicyclist"))


def motorcyclist(rng: Rng) -> Mesh:
    """Draw a rider with a motorcycle, all labelled motorcyclist."""
    rider = _rider(rng, 0.78, 1.02, rng.uniform(0.0, 0.4))
    return Mesh.merge([motorcycle(rng), rider]).relabelled(LABELS.names.index("motorcyclist"))
