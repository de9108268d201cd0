# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Random cars, trucks and other vehicles (see `surfaces.Maker`)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from minkowski_perception.lab.simulation.meshes import Mesh, box, cylinder, prism, tube
from minkowski_perception.lab.simulation.surfaces import (
    GLASS,
    Rng,
    make_material,
    retro_reflector,
    vehicle_paint,
)


class _CarStyle(NamedTuple):
    """Shape of a car: ranges of its sizes in metres, and profiles of its body and its cabin.

    Profiles are corners x, as a share of the length from the middle, and z, as a share of the
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


def _wheels(
    name: str, axles: npt.ArrayLike, half_width: float, radius: float, width: float = 0.2
) -> list[Mesh]:
    rubber = make_material(name, 0.06)
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


def car(rng: Rng) -> Mesh:
    """Draw a hatchback, saloon, estate, SUV or van."""
    name = "car"
    style = str(rng.choice(list(_CAR_STYLES), p=[0.3, 0.17, 0.17, 0.22, 0.14]))
    lengths, widths, heights, body, cabin = _CAR_STYLES[style]
    length, width, height = (rng.uniform(*span) for span in (lengths, widths, heights))
    size = np.array([length, height])
    half = width / 2
    paint = vehicle_paint(rng, name)
    windows = paint if style == "van" and rng.random() < 0.6 else make_material(name, GLASS)
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
        box(retro_reflector(rng, name), (x, 0, 0.35 * height), (0.03, 0.5, 0.11))
        for x in (-length / 2 - 0.01, length / 2 + 0.01)
    ]
    lamps = [
        box(
            retro_reflector(rng, name),
            (-length / 2 + 0.02, side * 0.8 * half, 0.5 * height),
            (0.06, 0.25 * half, 0.1 * height),
        )
        for side in (-1, 1)
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
            *lamps,
            *_wheels(name, length * np.array([-0.3, 0.31]), half + 0.01, wheel),
        ]
    )


def truck(rng: Rng) -> Mesh:
    """Draw a pick-up, or a lorry with a box, flat bed, tipper or tank."""
    if rng.random() < 0.45:
        return _pickup(rng)
    length, width = rng.uniform(5.5, 11.0), rng.uniform(2.0, 2.55)
    cab_length, cab_height = rng.uniform(1.6, 2.3), rng.uniform(2.2, 3.4)
    chassis, front = rng.uniform(0.7, 1.1), length / 2
    cab, cargo = vehicle_paint(rng, "truck"), vehicle_paint(rng, "truck")
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
            make_material("truck", GLASS),
            (front - 0.05, 0, 0.72 * cab_height),
            (0.2, 0.9 * width, 0.28 * cab_height),
        ),
        box(make_material("truck", 0.15), (-0.3, 0, chassis - 0.15), (length - 0.6, 0.9, 0.3)),
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


def _pickup(rng: Rng) -> Mesh:
    """Draw a pick-up with a short or a crew cab; its bed is open, loaded or covered."""
    length, width, height = rng.uniform(4.9, 6.3), rng.uniform(1.8, 2.05), rng.uniform(1.65, 2.0)
    half, paint = width / 2, vehicle_paint(rng, "truck")
    waist = 0.6 * height
    behind = rng.choice([-0.02, -0.12, -0.18])
    cabin = np.array(
        [(behind, 0.58), (behind + 0.02, 0.97), (0.03, 1.0), (0.1, 0.98), (0.24, 0.59)]
    ) * (length, height)
    bed_length = (0.5 + behind) * length
    back = (behind - 0.5) / 2 * length
    parts = [
        prism(
            paint,
            np.array(
                [
                    (behind, 0.24),
                    (behind, 0.6),
                    (0.24, 0.61),
                    (0.46, 0.56),
                    (0.5, 0.44),
                    (0.5, 0.24),
                ]
            )
            * (length, height),
            half,
        ),
        prism(
            make_material("truck", GLASS), cabin, half * np.array([0.96, 0.86, 0.84, 0.86, 0.96])
        ),
        box(
            paint,
            ((behind + 0.12) / 2 * length, 0, height),
            ((0.08 - behind) * length, 1.66 * half, 0.06),
        ),
        box(
            retro_reflector(rng, "truck"), (-length / 2 - 0.04, 0, 0.4 * height), (0.03, 0.5, 0.11)
        ),
        box(paint, (back, 0, 0.4 * height), (bed_length, width, 0.12)),
        box(paint, (-length / 2, 0, 0.45 * height), (0.06, width, 0.3 * height)),
    ]
    for side in (-1, 1):
        parts.append(
            box(paint, (back, side * half, (0.24 * height + waist) / 2),
                (bed_length, 0.08, waist - 0.24 * height))
        )  # fmt: skip
    full = rng.random()
    if full < 0.35:
        # A canopy is flush with the cabin; a load may be higher.
        load = rng.uniform(0.2, 0.7) if full < 0.2 else height - waist
        cover = vehicle_paint(rng, "truck")
        size = (0.9 * bed_length, 1.7 * half, load + 0.1)
        parts.append(box(cover, (back, 0, waist + load / 2 - 0.05), size))
    return Mesh.merge([*parts, *_wheels("truck", [-0.3 * length, 0.32 * length], half, 0.38)])


def other_vehicle(rng: Rng) -> Mesh:
    """Draw a bus, a caravan, a small trailer, or a tractor."""
    name = "other-vehicle"
    kind = rng.choice(["bus", "caravan", "trailer", "tractor"], p=[0.45, 0.2, 0.2, 0.15])
    paint = vehicle_paint(rng, name)
    glass = make_material(name, GLASS)
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
        return trailer(rng)
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


def trailer(rng: Rng) -> Mesh:
    """Draw a small trailer with a low or a high box."""
    name = "other-vehicle"
    paint = vehicle_paint(rng, name)
    length, width = rng.uniform(2.0, 4.5), rng.uniform(1.3, 2.0)
    height = rng.choice([0.4, rng.uniform(0.9, 1.8)])
    hitch = tube(paint, [(length / 2, 0, 0.45), (length / 2 + 1.2, 0, 0.45)], 0.05)
    cargo = box(paint, (0, 0, 0.5 + height / 2), (length, width, height))
    return Mesh.merge([cargo, hitch, *_wheels(name, [-0.1], width / 2 + 0.15, 0.3)])
