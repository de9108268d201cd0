# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What stands and moves in streets: each function draws one thing of its kind at random.

A thing stands on the ground at its origin; x is forward, y left, z up, in metres.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from minkowski_perception.labels import UNLABELLED, LabelSet
from minkowski_perception.simulation.meshes import (
    Material,
    Mesh,
    box,
    cylinder,
    ellipsoid,
    leaves,
    prism,
    relief,
    tube,
)

LABELS = LabelSet.load("semantickitti19")
Maker = Callable[[np.random.Generator], Mesh]


_GLASS = 5e-4
"""Reflectance of a window: most rays that meet it do not come back."""


def material(name: str, reflectance: float, fuzz: float = 0.0) -> Material:
    """Material of a class; an empty name is no class."""
    label = LABELS.names.index(name) if name else UNLABELLED
    return Material(label, float(reflectance), fuzz)


# Vehicles ------------------------------------------------------------------------------------


class _CarStyle(NamedTuple):
    """A shape of car: sizes in metres, from and to; side views of the body and of the cabin.

    Side views are corners x, as a share of the length from the middle, and z, as a share of the
    height.
    """

    length: tuple[float, float]
    width: tuple[float, float]
    height: tuple[float, float]
    body: list[tuple[float, float]]
    cabin: list[tuple[float, float]]


# fmt: off
_CAR_STYLES = {
    "hatchback": _CarStyle(
        (3.6, 4.3), (1.64, 1.8), (1.42, 1.55),
        [(-0.5, 0.18), (-0.5, 0.45), (-0.47, 0.62), (0.26, 0.63),
         (0.44, 0.54), (0.5, 0.42), (0.5, 0.16)],
        [(-0.47, 0.6), (-0.38, 0.95), (-0.1, 1.0), (0.06, 0.97), (0.29, 0.6)],
    ),
    "saloon": _CarStyle(
        (4.4, 5.0), (1.75, 1.9), (1.38, 1.5),
        [(-0.5, 0.2), (-0.5, 0.6), (-0.36, 0.67), (0.22, 0.64),
         (0.42, 0.56), (0.5, 0.44), (0.5, 0.16)],
        [(-0.38, 0.64), (-0.2, 0.96), (-0.03, 1.0), (0.05, 0.98), (0.25, 0.62)],
    ),
    "estate": _CarStyle(
        (4.3, 4.9), (1.75, 1.9), (1.42, 1.55),
        [(-0.5, 0.2), (-0.5, 0.6), (-0.46, 0.65), (0.22, 0.64),
         (0.43, 0.55), (0.5, 0.42), (0.5, 0.16)],
        [(-0.48, 0.62), (-0.42, 0.93), (-0.1, 1.0), (0.06, 0.98), (0.26, 0.62)],
    ),
    "suv": _CarStyle(
        (4.2, 4.9), (1.8, 2.0), (1.6, 1.85),
        [(-0.5, 0.22), (-0.5, 0.55), (-0.48, 0.62), (0.24, 0.63),
         (0.45, 0.58), (0.5, 0.46), (0.5, 0.2)],
        [(-0.49, 0.6), (-0.43, 0.94), (-0.1, 1.0), (0.08, 0.98), (0.27, 0.61)],
    ),
    "van": _CarStyle(
        (4.4, 6.0), (1.85, 2.05), (1.85, 2.7),
        [(-0.5, 0.14), (-0.5, 0.5), (-0.49, 0.55), (0.36, 0.53),
         (0.46, 0.44), (0.5, 0.34), (0.5, 0.12)],
        [(-0.495, 0.5), (-0.485, 0.97), (-0.1, 1.0), (0.2, 0.98), (0.4, 0.5)],
    ),
}
# fmt: on


def _paint(rng: np.random.Generator) -> float:
    """Reflectance of a vehicle: many are dark, and dark ones send little back."""
    return float(
        rng.choice([rng.uniform(0.03, 0.12), rng.uniform(0.12, 0.5), rng.uniform(0.5, 0.8)])
    )


def _wheels(
    name: str, axles: npt.ArrayLike, half_width: float, radius: float, width: float = 0.2
) -> list[Mesh]:
    rubber = material(name, 0.06)
    return [
        cylinder(
            rubber,
            (x, side * half_width, radius),
            (x, side * (half_width - width), radius),
            radius,
            sides=10,
        )
        for x in np.asarray(axles)
        for side in (-1, 1)
    ]


def car(rng: np.random.Generator) -> Mesh:
    """Draw a car of one of several shapes."""
    name = "car"
    style = str(rng.choice(list(_CAR_STYLES), p=[0.3, 0.17, 0.17, 0.22, 0.14]))
    lengths, widths, heights, body, cabin = _CAR_STYLES[style]
    length, width, height = (rng.uniform(*span) for span in (lengths, widths, heights))
    size = np.array([length, height])
    half = width / 2
    paint = material(name, _paint(rng))
    windows = paint if style == "van" and rng.random() < 0.6 else material(name, _GLASS)
    cabin_profile = np.array(cabin) * size
    waist, roof = cabin_profile[:, 1].min(), height
    lean = (cabin_profile[:, 1] - waist) / (roof - waist)
    cabin_half = half * (0.97 - rng.uniform(0.08, 0.2) * lean)
    roof_profile = cabin_profile[1:-1]
    pillars = [
        tube(paint, [(a[0], side * w, a[1]), (b[0], side * v, b[1])], 0.045, sides=4)
        for side in (-1, 1)
        for a, b, w, v in (
            (cabin_profile[0], cabin_profile[1], cabin_half[0], cabin_half[1]),
            (cabin_profile[-1], cabin_profile[-2], cabin_half[-1], cabin_half[-2]),
            (
                (cabin_profile[0] + cabin_profile[-1]) / 2,
                cabin_profile[2],
                cabin_half[0],
                cabin_half[2],
            ),
        )
    ]
    body_profile = np.array(body) * size
    wheel = rng.uniform(0.28, 0.36)
    plates = [
        box(material(name, 1.0), (x, 0, 0.35 * height), (0.03, 0.5, 0.11))
        for x in (-length / 2 - 0.01, length / 2 + 0.01)
    ]
    mirrors = [
        box(paint, (0.2 * length, side * (half + 0.08), waist + 0.08), (0.1, 0.18, 0.13))
        for side in (-1, 1)
    ]
    return Mesh.merge(
        [
            prism(paint, body_profile, half * np.array([0.94, 1.0, 0.98, 0.98, 0.97, 0.9, 0.9])),
            prism(windows, cabin_profile, cabin_half),
            prism(
                paint,
                np.concatenate(
                    [np.add(roof_profile, (0, 0.015)), np.subtract(roof_profile[::-1], (0, 0.05))]
                ),
                0.01 + np.concatenate([cabin_half[1:-1], cabin_half[1:-1][::-1]]),
            ),
            *pillars,
            *mirrors,
            *plates,
            *_wheels(name, length * np.array([-0.3, 0.31]), half + 0.01, wheel),
        ]
    )


def truck(rng: np.random.Generator) -> Mesh:
    """Draw a pick-up, or a lorry with a box, a flat bed, a tipper or a tank."""
    if rng.random() < 0.2:
        return _pickup(rng)
    length, width = rng.uniform(5.5, 11.0), rng.uniform(2.0, 2.55)
    cab_length, cab_height = rng.uniform(1.6, 2.3), rng.uniform(2.2, 3.4)
    chassis, front = rng.uniform(0.7, 1.1), length / 2
    cab, cargo = material("truck", _paint(rng)), material("truck", _paint(rng))
    parts = [
        prism(
            cab,
            [
                (front - cab_length, 0.45),
                (front - cab_length, cab_height),
                (front - 0.35 * rng.random() - 0.1, cab_height),
                (front, 0.55 * cab_height),
                (front, 0.4),
            ],
            width / 2 * 0.96,
        ),
        box(
            material("truck", _GLASS),
            (front - 0.05, 0, 0.72 * cab_height),
            (0.2, 0.9 * width, 0.28 * cab_height),
        ),
        box(material("truck", 0.15), (-0.3, 0, chassis - 0.15), (length - 0.6, 0.9, 0.3)),
    ]
    bed_length = length - cab_length - 0.2
    bed = -length / 2 + bed_length / 2
    kind = rng.choice(["box", "flat", "tipper", "tank"], p=[0.55, 0.2, 0.15, 0.1])
    if kind == "box":
        height = rng.uniform(1.8, 2.8)
        parts.append(box(cargo, (bed, 0, chassis + height / 2), (bed_length, width, height)))
    elif kind == "tank":
        parts.append(
            cylinder(
                cargo,
                (-length / 2, 0, chassis + 0.9),
                (-length / 2 + bed_length, 0, chassis + 0.9),
                0.9,
                sides=12,
            )
        )
    else:
        wall = rng.uniform(0.2, 0.5) if kind == "flat" else rng.uniform(0.7, 1.3)
        parts.append(box(cargo, (bed, 0, chassis), (bed_length, width, 0.15)))
        for side in (-1, 1):
            parts.append(
                box(cargo, (bed, side * width / 2, chassis + wall / 2), (bed_length, 0.06, wall))
            )
            end = bed + side * bed_length / 2
            parts.append(box(cargo, (end, 0, chassis + wall / 2), (0.06, width, wall)))
        if rng.random() < 0.5:
            load = rng.uniform(0.5, 1.6)
            parts.append(
                box(
                    cargo,
                    (bed, 0, chassis + load / 2),
                    (bed_length * rng.uniform(0.3, 0.9), width * 0.8, load),
                )
            )
    axles = [front - 0.6 * cab_length, -length / 2 + 1.2]
    if length > 8:
        axles.append(-length / 2 + 2.4)
    return Mesh.merge([*parts, *_wheels("truck", axles, width / 2, rng.uniform(0.4, 0.5), 0.3)])


def _pickup(rng: np.random.Generator) -> Mesh:
    length, width, height = rng.uniform(5.0, 5.8), rng.uniform(1.85, 2.0), rng.uniform(1.75, 1.95)
    half, paint = width / 2, material("truck", _paint(rng))
    waist = 0.6 * height
    cabin = np.array([(-0.12, 0.58), (-0.1, 0.97), (0.0, 1.0), (0.1, 0.98), (0.24, 0.59)]) * (
        length,
        height,
    )
    back = -0.31 * length
    bed_length = 0.38 * length
    parts = [
        prism(
            paint,
            np.array(
                [(-0.12, 0.24), (-0.12, 0.6), (0.24, 0.61), (0.46, 0.56), (0.5, 0.44), (0.5, 0.24)]
            )
            * (length, height),
            half,
        ),
        prism(material("truck", _GLASS), cabin, half * np.array([0.96, 0.86, 0.84, 0.86, 0.96])),
        box(paint, (0.0, 0, height), (0.2 * length, 1.66 * half, 0.06)),
        box(paint, (back, 0, 0.4 * height), (bed_length, width, 0.12)),
        box(paint, (-length / 2, 0, 0.45 * height), (0.06, width, 0.3 * height)),
    ]
    for side in (-1, 1):
        parts.append(
            box(paint, (back, side * half, (0.24 * height + waist) / 2),
                (bed_length, 0.08, waist - 0.24 * height))
        )  # fmt: skip
    return Mesh.merge([*parts, *_wheels("truck", [-0.3 * length, 0.32 * length], half, 0.38)])


def other_vehicle(rng: np.random.Generator) -> Mesh:
    """Draw a bus, a caravan, a small trailer, or a tractor."""
    name = "other-vehicle"
    kind = rng.choice(["bus", "caravan", "trailer", "tractor"], p=[0.45, 0.2, 0.2, 0.15])
    paint = material(name, _paint(rng))
    glass = material(name, _GLASS)
    if kind == "bus":
        length, width, height = rng.uniform(8, 14), rng.uniform(2.35, 2.55), rng.uniform(2.7, 3.4)
        if rng.random() < 0.2:
            height += 1.1
        sill = rng.uniform(1.0, 1.3)
        band = rng.uniform(0.8, 1.1)
        parts = [
            box(paint, (0, 0, (0.3 + sill) / 2), (length, width, sill - 0.3)),
            box(glass, (0, 0, sill + band / 2), (length - 0.1, width - 0.08, band)),
            box(paint, (0, 0, (sill + band + height) / 2), (length, width, height - sill - band)),
        ]
        parts += [
            box(paint, (x, side * (width / 2 - 0.03), sill + band / 2), (0.15, 0.06, band))
            for x in np.arange(-length / 2 + 0.1, length / 2, rng.uniform(1.2, 1.8))
            for side in (-1, 1)
        ]
        return Mesh.merge(
            [*parts, *_wheels(name, [-0.25 * length, 0.32 * length], width / 2, 0.48, 0.3)]
        )
    if kind == "caravan":
        length, width, height = rng.uniform(4, 6.5), rng.uniform(2.0, 2.4), rng.uniform(2.3, 2.7)
        profile = np.array(
            [(-0.46, 0.2), (-0.5, 0.5), (-0.44, 1.0), (0.42, 1.0), (0.5, 0.55), (0.46, 0.2)]
        ) * (length, height)
        hitch = tube(paint, [(length / 2 - 0.2, 0, 0.45), (length / 2 + 1.1, 0, 0.45)], 0.06)
        window = box(glass, (0, 0, 0.65 * height), (0.5 * length, width + 0.02, 0.2 * height))
        return Mesh.merge(
            [
                prism(paint, profile, width / 2),
                window,
                hitch,
                *_wheels(name, [-0.03 * length], width / 2, 0.32),
            ]
        )
    if kind == "trailer":
        length, width = rng.uniform(2.0, 4.5), rng.uniform(1.3, 2.0)
        height = rng.choice([0.4, rng.uniform(0.9, 1.8)])
        hitch = tube(paint, [(length / 2, 0, 0.45), (length / 2 + 1.2, 0, 0.45)], 0.05)
        cargo = box(paint, (0, 0, 0.5 + height / 2), (length, width, height))
        return Mesh.merge([cargo, hitch, *_wheels(name, [-0.1], width / 2 + 0.15, 0.3)])
    length = rng.uniform(3.2, 4.5)
    cab = -0.18 * length
    return Mesh.merge(
        [
            box(paint, (0.22 * length, 0, 1.15), (0.55 * length, 0.8, 0.75)),
            box(glass, (cab, 0, 1.9), (1.3, 1.4, 1.3)),
            box(paint, (cab, 0, 2.6), (1.5, 1.5, 0.1)),
            box(paint, (cab, 0, 1.0), (1.3, 1.0, 0.8)),
            *_wheels(name, [cab - 0.2], 1.0, 0.8, 0.45),
            *_wheels(name, [0.38 * length], 0.85, 0.5, 0.3),
        ]
    )


# Two wheels and people -----------------------------------------------------------------------


def _hoop(stuff: Material, x: float, radius: float) -> Mesh:
    angle = np.linspace(0, 2 * np.pi, 13)
    points = np.stack([x + radius * np.cos(angle), 0 * angle, radius + radius * np.sin(angle)], 1)
    return tube(stuff, list(points), 0.025, sides=4)


def bicycle(rng: np.random.Generator) -> Mesh:
    """Draw a bicycle, standing; tubes are a little thick, as a wide beam sees them."""
    frame = material("bicycle", rng.uniform(0.1, 0.6))
    rubber = material("bicycle", 0.08)
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


def motorcycle(rng: np.random.Generator) -> Mesh:
    """Draw a motorcycle or a scooter, standing."""
    paint, dark = material("motorcycle", _paint(rng)), material("motorcycle", 0.08)
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


def person(rng: np.random.Generator, stride: float = 0.0, label: str = "person") -> Mesh:
    """Somebody upright, from a child to a tall adult.

    Args:
        rng: draws size, clothes and luggage.
        stride: radians by which the legs swing apart; arms swing against them.
        label: class of all of it.
    """
    height = rng.uniform(1.5, 1.95) if rng.random() < 0.85 else rng.uniform(0.95, 1.5)
    bulk = rng.uniform(0.85, 1.3)
    cloth, legwear = (
        material(label, rng.uniform(0.1, 0.7)),
        material(label, rng.uniform(0.08, 0.5)),
    )
    skin = material(label, 0.45)
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


def _rider(rng: np.random.Generator, seat: float, bar: float, lean: float) -> Mesh:
    """Somebody sitting astride, hands forward."""
    label = "person"
    size = rng.uniform(0.88, 1.08)
    cloth, skin = material(label, rng.uniform(0.1, 0.7)), material(label, 0.4)
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


def bicyclist(rng: np.random.Generator) -> Mesh:
    """Draw a rider and the bicycle, all of it bicyclist."""
    rider = _rider(rng, 0.92, 1.02, rng.uniform(0.1, 0.6))
    return Mesh.merge([bicycle(rng), rider]).relabelled(LABELS.names.index("bicyclist"))


def motorcyclist(rng: np.random.Generator) -> Mesh:
    """Draw a rider and the motorcycle, all of it motorcyclist."""
    rider = _rider(rng, 0.78, 1.02, rng.uniform(0.0, 0.4))
    return Mesh.merge([motorcycle(rng), rider]).relabelled(LABELS.names.index("motorcyclist"))


# Poles, signs and small things ---------------------------------------------------------------


def lamp_post(rng: np.random.Generator) -> Mesh:
    """Draw a lamp post, with an arm to the left or a lantern on top."""
    metal = material("pole", rng.uniform(0.1, 0.5))
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


def post(rng: np.random.Generator) -> Mesh:
    """Draw a bollard or a thin post."""
    metal = material("pole", rng.uniform(0.15, 0.6))
    height = rng.uniform(0.7, 1.2) if rng.random() < 0.6 else rng.uniform(1.8, 4.0)
    return cylinder(metal, (0, 0, -0.2), (0, 0, height), rng.uniform(0.035, 0.1))


def utility_pole(rng: np.random.Generator) -> Mesh:
    """Draw a tall wooden pole with a cross-arm."""
    wood = material("pole", rng.uniform(0.25, 0.45))
    height, radius = rng.uniform(7, 11), rng.uniform(0.11, 0.17)
    return Mesh.merge(
        [
            cylinder(wood, (0, 0, -0.3), (0, 0, height), radius, 0.7 * radius),
            box(wood, (0, 0, height - 0.5), (0.12, rng.uniform(1.2, 2.2), 0.12)),
        ]
    )


def traffic_sign(rng: np.random.Generator) -> Mesh:
    """One or two plates on a pole, facing back along x, or a board on two poles."""
    metal = material("pole", rng.uniform(0.2, 0.5))
    plate = material("traffic-sign", rng.uniform(0.5, 1.0))
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


def clutter(rng: np.random.Generator) -> Mesh:
    """Something of no class: bins, cabinets, boxes, benches."""
    stuff = material("", rng.uniform(0.1, 0.6))
    kind = rng.choice(["bin", "cabinet", "bench", "cone"])
    if kind == "bin":
        return cylinder(stuff, (0, 0, 0), (0, 0, rng.uniform(0.7, 1.2)), rng.uniform(0.2, 0.35))
    if kind == "cone":
        return cylinder(stuff, (0, 0, 0), (0, 0, rng.uniform(0.4, 0.9)), 0.2, 0.03)
    if kind == "bench":
        return Mesh.merge(
            [
                box(stuff, (0, 0, 0.45), (1.6, 0.45, 0.06)),
                box(stuff, (0, -0.22, 0.7), (1.6, 0.05, 0.35)),
                box(stuff, (-0.6, 0, 0.22), (0.08, 0.4, 0.44)),
                box(stuff, (0.6, 0, 0.22), (0.08, 0.4, 0.44)),
            ]
        )
    size = rng.uniform((0.4, 0.3, 0.6), (1.6, 0.8, 1.5))
    return box(stuff, (0, 0, size[2] / 2), size)


# Plants --------------------------------------------------------------------------------------


def _green(rng: np.random.Generator) -> Material:
    return material("vegetation", rng.uniform(0.3, 0.6), fuzz=0.05)


def _crown(
    rng: np.random.Generator, centre: npt.ArrayLike, radii: npt.ArrayLike, leaf: float
) -> Mesh:
    """Leaves in several overlapping clumps: several layers of them."""
    middle, half = np.asarray(centre, dtype=float), np.asarray(radii, dtype=float)
    clumps = int(rng.integers(4, 10))
    hearts = middle + _ball(rng, clumps) * half * 0.6
    area = np.pi * half[0] * max(half[1], half[2])
    count = int(np.clip(rng.uniform(3.0, 8.0) * area / (0.6 * leaf**2), 200, 3500))
    spread = half * rng.uniform(0.35, 0.6, (clumps, 1))
    which = rng.integers(0, clumps, count)
    return leaves(rng, _green(rng), hearts[which] + _ball(rng, count) * spread[which], leaf)


def _ball(rng: np.random.Generator, count: int) -> npt.NDArray[np.float64]:
    """[count, 3] points in the unit ball, more of them near its surface."""
    points = rng.normal(size=(count, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    return points * rng.random((count, 1)) ** 0.25


def tree(rng: np.random.Generator) -> Mesh:
    """Draw a broad-leaved tree, a conifer, or a bare one."""
    bark = material("trunk", rng.uniform(0.2, 0.5))
    height = rng.uniform(4.0, 14.0)
    radius = rng.uniform(0.012, 0.026) * height + 0.03
    lean = rng.normal(0, 0.03, 2) * height
    if rng.random() < 0.15:
        wide, low = rng.uniform(0.15, 0.3) * height, rng.uniform(0.0, 1.2)
        up = rng.random(int(np.clip(120 * wide * height, 500, 3000)))
        angle, out = rng.uniform(0, 2 * np.pi, len(up)), rng.random(len(up)) ** 0.5
        out = out * wide * (1 - up) ** 0.8
        needles = np.stack(
            [out * np.cos(angle), out * np.sin(angle), low + up * (height - low)], axis=1
        )
        trunk = cylinder(bark, (0, 0, -0.3), (0, 0, 0.9 * height), radius, 0.02)
        return Mesh.merge([trunk, leaves(rng, _green(rng), needles, 0.25)])
    fork = rng.uniform(0.2, 0.42) * height if height > 5 else rng.uniform(1.0, 2.2)
    top = np.array([lean[0], lean[1], fork])
    middle = np.add(top, (0, 0, 0.5 * (height - fork)))
    wide = rng.uniform(0.18, 0.38) * height
    parts = [cylinder(bark, (0, 0, -0.3), top, 1.15 * radius, 0.8 * radius, sides=10)]
    for _ in range(rng.integers(3, 7)):
        tip = middle + _ball(rng, 1)[0] * (0.7 * wide, 0.7 * wide, 0.4 * (height - fork))
        parts.append(cylinder(bark, top, tip, 0.45 * radius, 0.02, sides=5))
    if rng.random() < 0.9:
        radii = (wide, wide * rng.uniform(0.8, 1.2), 0.55 * (height - fork))
        parts.append(_crown(rng, middle, radii, rng.uniform(0.25, 0.5)))
    return Mesh.merge(parts)


def bush(rng: np.random.Generator) -> Mesh:
    """Draw a bush."""
    wide, high = rng.uniform(0.35, 1.8), rng.uniform(0.3, 1.7)
    return _crown(rng, (0, 0, 0.9 * high), (wide, wide * rng.uniform(0.6, 1.4), high), 0.15)


def thicket(rng: np.random.Generator) -> Mesh:
    """Draw a tall, dense shrub, as they grow together along roads."""
    radii = rng.uniform((1.0, 0.8, 0.8), (2.5, 1.8, 2.2))
    return _crown(rng, (0, 0, 0.85 * radii[2]), radii, 0.3)


def hedge(rng: np.random.Generator, length: float, height: float, depth: float) -> Mesh:
    """Draw a clipped hedge along x: leaves around a dense core."""
    count = int(min(25 * length * (height + depth), 4000))
    at = rng.uniform((-0.5, -0.5, 0.0), (0.5, 0.5, 1.0), (count, 3))
    face = rng.integers(0, 3, count)
    at[face == 0, 1] = 0.5 * np.sign(at[face == 0, 1])
    at[face == 1, 2] = 1.0
    at = at * (length, depth, height) + rng.normal(0, 0.05, (count, 3))
    green = _green(rng)
    core = box(green, (0, 0, height / 2 - 0.1), (length - 0.2, 0.7 * depth, height))
    return Mesh.merge([core, leaves(rng, green, at, 0.15)])


# Fences and buildings ------------------------------------------------------------------------


def fence(rng: np.random.Generator, length: float) -> Mesh:
    """Draw a wall, boards, bars, wires between posts, or a crash barrier, along x."""
    stuff = material("fence", rng.uniform(0.15, 0.6))
    height = rng.uniform(0.8, 2.0)
    kind = rng.choice(["wall", "boards", "bars", "wires", "barrier"])
    if kind == "wall":
        return box(stuff, (0, 0, height / 2 - 0.2), (length, rng.uniform(0.1, 0.35), height + 0.4))
    gap = rng.uniform(1.5, 3.0)
    ends = np.arange(-length / 2, length / 2 + 0.1, gap)
    parts = [box(stuff, (x, 0, height / 2 - 0.2), (0.09, 0.09, height + 0.4)) for x in ends]
    if kind == "boards":
        parts.append(box(stuff, (0, 0, height / 2 + 0.03), (length, 0.04, height - 0.06)))
    elif kind == "barrier":
        parts.append(box(stuff, (0, 0.08, 0.6), (length, 0.08, 0.32)))
        parts = [parts[-1], *(box(stuff, (x, 0, 0.35), (0.12, 0.12, 0.7)) for x in ends)]
    elif kind == "wires":
        parts += [
            box(stuff, (0, 0, z), (length, 0.02, 0.02))
            for z in np.arange(0.15, height, rng.uniform(0.1, 0.25))
        ]
    else:
        parts += [box(stuff, (0, 0, z), (length, 0.05, 0.06)) for z in (0.15, height - 0.1)]
        spacing, wide = rng.uniform(0.12, 0.22), rng.uniform(0.03, 0.1)
        parts += [
            box(stuff, (x, 0, height / 2), (wide, 0.03, height))
            for x in np.arange(-length / 2, length / 2, spacing)
        ]
    return Mesh.merge(parts)


def building(
    rng: np.random.Generator, width: float, depth: float, height: float, pitched: bool
) -> Mesh:
    """Draw a building along x whose front is at y = 0 and looks to -y.

    It goes 2 m into the ground, so that it stands on slopes too.
    """
    wall = rng.uniform(0.3, 0.75)
    glass, recess = rng.choice([_GLASS, 0.2]), rng.uniform(0.06, 0.3)
    storey = rng.uniform(2.6, 3.6)
    parts = [
        _stand(_facade(rng, length, height, storey, recess, wall, glass, windows), *place)
        for length, windows, place in (
            (width, rng.uniform(0.7, 1.0), (0.0, 0.0, 0.0)),
            (depth, rng.uniform(0.0, 0.6), (width / 2, depth / 2, np.pi / 2)),
            (width, 0.5, (0.0, depth, np.pi)),
            (depth, rng.uniform(0.0, 0.6), (-width / 2, depth / 2, -np.pi / 2)),
        )
    ]
    stone = material("building", wall)
    tiles = material("building", rng.uniform(0.15, 0.5))
    if pitched:
        rise, eaves = rng.uniform(1.5, 5.0), rng.uniform(0.15, 0.7)
        gable = [(-depth / 2 - eaves, 0.0), (0.0, rise), (depth / 2 + eaves, 0.0), (0.0, -0.15)]
        half = width / 2 + rng.uniform(0.0, 0.5)
        roof = prism(tiles, gable, [half, half * rng.choice([1.0, 0.5]), half, half])
        parts.append(roof.moved(yaw=np.pi / 2).moved((0, depth / 2, height)))
        if rng.random() < 0.5:
            x = rng.uniform(-0.3, 0.3) * width
            parts.append(box(stone, (x, 0.4 * depth, height + 0.7 * rise), (0.7, 0.7, 0.8 * rise)))
    else:
        parts.append(box(tiles, (0, depth / 2, height), (width + 0.2, depth + 0.2, 0.4)))
    for floor in range(1, int(height / storey)):
        if rng.random() < 0.35:
            x, wide = rng.uniform(-0.35, 0.35) * width, min(rng.uniform(1.5, 3.5), 0.5 * width)
            out, z = rng.uniform(0.5, 1.4), floor * storey
            parts.append(box(stone, (x, -out / 2, z), (wide, out, 0.15)))
            parts.append(box(stone, (x, -out, z + 0.5), (wide, 0.05, rng.choice([0.1, 0.9]))))
    if rng.random() < 0.4:
        x, wide = rng.uniform(-0.3, 0.3) * width, rng.uniform(1.2, 2.5)
        parts.append(box(stone, (x, -0.4, 0.1), (wide, 0.8, 0.25)))
    return Mesh.merge(parts)


def _stand(facade: Mesh, x: float, y: float, yaw: float) -> Mesh:
    """Set a facade in (along, up, outwards) upright, looking to -y, then turn it."""
    along, up, out = facade.vertices.T
    upright = replace(facade, vertices=np.stack([along, -out, up], axis=1))
    return upright.moved((x, y, 0.0), yaw)


def _facade(
    rng: np.random.Generator,
    length: float,
    height: float,
    storey: float,
    recess: float,
    wall: float,
    glass: float,
    windows: float,
) -> Mesh:
    """Draw a wall with recessed windows and doors in regular axes, in (along, up, outwards)."""
    bay = rng.uniform(2.0, 4.0)
    bays, floors = max(int(length / bay), 1), max(int(height / storey), 1)
    wide, high, sill = rng.uniform(0.9, 1.7), rng.uniform(1.1, 1.9), rng.uniform(0.6, 1.0)
    middles = (np.arange(bays) + 0.5) * length / bays - length / 2
    u = np.sort([-length / 2, length / 2, *(middles - wide / 2), *(middles + wide / 2)])
    bottoms = np.arange(floors) * height / floors
    # Line 1 is the ground, so that doors reach down to it.
    v = np.array([-2.0, 0.0, *np.sort([*(bottoms + sill), *(bottoms + sill + high)]), height])
    v = np.maximum.accumulate(v)
    v[-1] = max(height, v[-2] + 0.1)
    shape = len(u) - 1, len(v) - 1
    window = np.zeros(shape, dtype=bool)
    window[1::2, 2::2] = rng.random((bays, floors)) < windows
    doors = window[:, 2] & (rng.random(len(u) - 1) < 0.25)
    window[:, 1] = doors
    # No wall is all of one tone or in one plane: storeys, piers, stains, shutters.
    tone = _uneven(rng, (shape[0], 1)) * _uneven(rng, (1, shape[1])) * _uneven(rng, shape)
    reflectance = (wall * tone).clip(0.05, 0.95)
    piers = rng.uniform(0.0, 0.15) * (rng.random(shape[0]) < rng.choice([0.0, 0.5]))
    level = np.repeat(piers[:, None], shape[1], axis=1)
    level[window] = -recess
    shut = window & (rng.random(shape) < rng.uniform(0.0, 0.6))
    reflectance[window & ~shut] = glass
    reflectance[:, 1][doors] = wall
    label = np.full(shape, LABELS.names.index("building"))
    return relief(u, v, level, label, reflectance, np.where(window, 0.0, rng.uniform(0.0, 0.05)))


def _uneven(rng: np.random.Generator, shape: tuple[int, int]) -> npt.NDArray[np.float64]:
    """Factors around 1, by the shape's places."""
    return np.exp(rng.uniform(0.0, 0.2) * rng.normal(size=shape))
