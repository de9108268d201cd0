# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Random furniture: each function draws one object of its kind.

An object stands on the floor around its origin; its front faces -y; z is up; units are metres.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from minkowski_perception.lab.simulation import materials
from minkowski_perception.lab.simulation.materials import GLASS, Rng
from minkowski_perception.lab.simulation.meshes import (
    Material,
    Mesh,
    Paint,
    box,
    cylinder,
    ellipsoid,
    leaves,
    tube,
)

Maker = Callable[[Rng], Mesh]


def _legs(material: Material, size: tuple[float, float, float], thick: float) -> list[Mesh]:
    """Return four legs below a board of size x, y at height z."""
    x, y, z = (size[0] - thick) / 2, (size[1] - thick) / 2, size[2]
    return [
        box(material, (sx * x, sy * y, z / 2), (thick, thick, z))
        for sx in (-1, 1)
        for sy in (-1, 1)
    ]


# Tables --------------------------------------------------------------------------------------


def table(rng: Rng) -> Mesh:
    """Draw a dining table: rectangular on four legs, or round on a pillar."""
    top = materials.wood_or_lacquer(rng, "table")
    height, thick = rng.uniform(0.7, 0.78), rng.uniform(0.02, 0.05)
    if rng.random() < 0.25:
        radius = rng.uniform(0.35, 0.75)
        foot = materials.metal(rng, "table")
        return Mesh.merge(
            [
                cylinder(top, (0, 0, height - thick), (0, 0, height), radius, sides=28),
                cylinder(foot, (0, 0, 0.03), (0, 0, height), 0.05),
                cylinder(foot, (0, 0, 0), (0, 0, 0.03), 0.6 * radius, sides=16),
            ]
        )
    length = rng.uniform(0.7, 2.4)
    return _board_on_legs(rng, top, (length, rng.uniform(0.6, min(1.1, length)), height), thick)


def _board_on_legs(
    rng: Rng, top: Material, size: tuple[float, float, float], thick: float
) -> Mesh:
    below = size[2] - thick
    legs = top if rng.random() < 0.5 else materials.metal(rng, "table")
    width = rng.uniform(0.03, 0.09)
    parts = [box(top, (0, 0, size[2] - thick / 2), (size[0], size[1], thick))]
    parts += _legs(legs, (size[0] - 0.04, size[1] - 0.04, below), width)
    if rng.random() < 0.5:
        parts += [
            box(legs, (0, side * (size[1] / 2 - 0.06), below - 0.05), (size[0] - 0.1, 0.02, 0.1))
            for side in (-1, 1)
        ]
    return Mesh.merge(parts)


def coffee_table(rng: Rng) -> Mesh:
    """Draw a low table."""
    size = (rng.uniform(0.5, 1.3), rng.uniform(0.45, 0.7), rng.uniform(0.35, 0.5))
    return _board_on_legs(
        rng, materials.wood_or_lacquer(rng, "table"), size, rng.uniform(0.02, 0.06)
    )


def desk(rng: Rng) -> Mesh:
    """Draw a desk on legs, or with side panels and a back panel."""
    top = materials.wood_or_lacquer(rng, "table")
    size = (rng.uniform(1.0, 1.9), rng.uniform(0.6, 0.85), rng.uniform(0.7, 0.76))
    if rng.random() < 0.5:
        return _board_on_legs(rng, top, size, 0.025)
    sides = [
        box(top, (side * (size[0] / 2 - 0.02), 0, size[2] / 2), (0.03, size[1] - 0.04, size[2]))
        for side in (-1, 1)
    ]
    panel = box(top, (0, size[1] / 2 - 0.1, 0.45), (size[0] - 0.06, 0.02, 0.5))
    return Mesh.merge([box(top, (0, 0, size[2]), (size[0], size[1], 0.025)), panel, *sides])


# Seats ---------------------------------------------------------------------------------------


def chair(rng: Rng) -> Mesh:
    """Draw a chair on four legs, its back closed, of slats or of bars."""
    frame = materials.wood_or_lacquer(rng, "seat")
    cover = materials.cloth(rng, "seat") if rng.random() < 0.5 else frame
    wide, deep, height = rng.uniform(0.38, 0.5), rng.uniform(0.38, 0.48), rng.uniform(0.42, 0.48)
    top = rng.uniform(0.75, 1.05)
    thick = rng.uniform(0.02, 0.07)
    back = deep / 2 - 0.02
    legs = rng.uniform(0.02, 0.05)
    parts = [
        box(cover, (0, 0, height - thick / 2), (wide, deep, thick)),
        *_legs(frame, (wide, deep, height - thick), legs),
    ]
    kind = rng.choice(["closed", "slats", "bars"], p=[0.45, 0.35, 0.2])
    posts = (-1, 1) if kind != "closed" or rng.random() < 0.5 else ()
    for side in posts:
        x = side * (wide / 2 - legs / 2)
        parts.append(tube(frame, [(x, back, height), (x, back + 0.06, top)], legs / 2, sides=6))
    if kind == "closed":
        low = height + rng.choice([0.0, rng.uniform(0.1, 0.2)])
        parts.append(_panel(cover, wide - 0.03, back, low, top))
    elif kind == "slats":
        for z in np.arange(height + 0.14, top, rng.uniform(0.09, 0.16)):
            y = back + 0.06 * (z - height) / (top - height)
            parts.append(box(frame, (0, y, z), (wide - legs, 0.02, 0.05)))
    else:
        parts.append(box(frame, (0, back + 0.06, top - 0.03), (wide, 0.03, 0.06)))
        for x in np.linspace(-0.32 * wide, 0.32 * wide, int(rng.integers(3, 7))):
            ends = [(x, back, height), (x, back + 0.055, top - 0.04)]
            parts.append(tube(frame, ends, 0.01, sides=5))
    if rng.random() < 0.25:
        for side in (-1, 1):
            x = side * wide / 2
            parts.append(box(frame, (x, 0, height + 0.2), (0.04, deep, 0.03)))
            parts.append(box(frame, (x, -deep / 2 + 0.03, height + 0.1), (0.03, 0.03, 0.2)))
    return Mesh.merge(parts)


def _panel(material: Material, wide: float, back: float, low: float, top: float) -> Mesh:
    """Return a reclined backrest."""
    lean = 0.06
    y = np.array([back, back, back + lean, back + lean])
    z = np.array([low, low, top, top])
    front = np.stack([wide / 2 * np.array([-1, 1, 1, -1]), y - 0.015, z], axis=1)
    behind = np.add(front, (0.0, 0.03, 0.0))
    quads = [(0, 1, 2, 3), (4, 5, 6, 7), (0, 1, 5, 4), (1, 2, 6, 5), (2, 3, 7, 6), (3, 0, 4, 7)]
    triangles = [t for a, b, c, d in quads for t in ((a, b, c), (a, c, d))]
    return Mesh.of(material, np.concatenate([front, behind]), triangles)


def office_chair(rng: Rng) -> Mesh:
    """Draw an office chair on five castors."""
    cover, frame = materials.cloth(rng, "seat"), materials.lacquer(rng, "seat")
    height, wide = rng.uniform(0.43, 0.53), rng.uniform(0.44, 0.52)
    top = height + rng.uniform(0.4, 0.75)
    parts = [
        box(cover, (0, 0, height - 0.035), (wide, wide - 0.02, 0.07)),
        cylinder(frame, (0, 0, 0.08), (0, 0, height - 0.07), 0.03),
        _panel(cover, wide - 0.06, wide / 2 - 0.02, height + 0.1, top),
        box(frame, (0, wide / 2 + 0.01, height + 0.05), (0.08, 0.03, 0.25)),
    ]
    turn = rng.uniform(0, 2 * np.pi)
    for angle in turn + np.arange(5) * 2 * np.pi / 5:
        x, y = 0.29 * np.cos(angle), 0.29 * np.sin(angle)
        parts.append(tube(frame, [(0, 0, 0.1), (x, y, 0.07)], 0.02, sides=5))
        parts.append(ellipsoid(frame, (x, y, 0.03), (0.03, 0.03, 0.03)))
    if rng.random() < 0.6:
        for side in (-1, 1):
            x = side * (wide / 2 + 0.03)
            parts.append(box(frame, (x, 0.02, height + 0.2), (0.06, 0.25, 0.03)))
            parts.append(box(frame, (x, 0.04, height + 0.08), (0.03, 0.05, 0.24)))
    return Mesh.merge(parts)


def stool(rng: Rng) -> Mesh:
    """Draw a stool, high or low."""
    frame = materials.wood_or_lacquer(rng, "seat")
    height, radius = float(rng.choice([0.45, 0.62, 0.75])), rng.uniform(0.15, 0.2)
    if rng.random() < 0.3:
        pouf = materials.cloth(rng, "seat")
        return cylinder(pouf, (0, 0, 0), (0, 0, 0.42), 0.22, sides=18)
    feet = _legs(frame, (1.5 * radius, 1.5 * radius, height - 0.03), 0.03)
    seat = cylinder(frame, (0, 0, height - 0.04), (0, 0, height), radius, sides=18)
    return Mesh.merge([seat, *feet])


def sofa(rng: Rng) -> Mesh:
    """Draw a sofa or armchair with cushions."""
    cover = materials.cloth(rng, "seat")
    seats = int(rng.choice([1, 2, 3], p=[0.35, 0.35, 0.3]))
    each, deep = rng.uniform(0.55, 0.75), rng.uniform(0.75, 1.0)
    height, top = rng.uniform(0.38, 0.46), rng.uniform(0.7, 1.0)
    arm, low = rng.uniform(0.1, 0.25), rng.uniform(0.04, 0.16)
    wide = seats * each
    back = rng.uniform(0.15, 0.25)
    front = -deep / 2
    parts = [
        box(cover, (0, 0, (low + height - 0.12) / 2), (wide, deep, height - 0.12 - low)),
        box(cover, (0, deep / 2 - back / 2, (low + top) / 2), (wide, back, top - low)),
        *_legs(materials.wood_or_lacquer(rng, "seat"), (wide, deep, low), 0.06),
    ]
    for side in (-1, 1):
        x, high = side * (wide + arm) / 2, height + rng.uniform(0.08, 0.22)
        parts.append(box(cover, (x, 0, (low + high) / 2), (arm, deep, high - low)))
    for k in range(seats):
        x = (k + 0.5) * each - wide / 2
        middle = (front + deep / 2 - back) / 2
        pad = (0.49 * each, (deep - back) / 2, 0.13)
        parts.append(_cushion(cover, (x, middle, height - 0.08), pad))
        pad = (0.47 * each, 0.1, 0.24)
        parts.append(_cushion(cover, (x, deep / 2 - back - 0.06, height + 0.22), pad))
        if rng.random() < 0.3:
            loose = materials.cloth(rng, "seat")
            centre = (x + rng.normal(0, 0.08), deep / 2 - back - 0.18, height + 0.2)
            parts.append(_cushion(loose, centre, (0.2, 0.07, 0.2)))
    return Mesh.merge(parts)


def _cushion(
    material: Material, centre: tuple[float, float, float], radii: tuple[float, float, float]
) -> Mesh:
    """Return a box with rounded sides: a superellipsoid."""
    ball = ellipsoid(material, (0, 0, 0), (1, 1, 1), 8, 16)
    vertices = np.sign(ball.vertices) * np.abs(ball.vertices) ** 0.45
    return Mesh.of(material, vertices * radii + np.array(centre), ball.triangles)


def bench(rng: Rng) -> Mesh:
    """Draw a bench, or a row of joined seats as in a waiting room."""
    frame = materials.metal(rng, "seat")
    count, each = int(rng.integers(2, 5)), rng.uniform(0.5, 0.6)
    length, height = count * each, rng.uniform(0.42, 0.48)
    cover = materials.wood_or_lacquer(rng, "seat")
    if rng.random() < 0.4:
        slats = int(materials.derived_rng(rng).integers(1, 5))
        wide = 0.4 / slats
        boards = [
            box(cover, (0, (k + 0.5) * wide - 0.2, height), (length, wide - 0.015, 0.04))
            for k in range(slats)
        ]
        return Mesh.merge([*boards, *_legs(frame, (length - 0.2, 0.36, height), 0.05)])
    parts = [box(frame, (0, 0, height - 0.06), (length, 0.06, 0.06))]
    parts += [box(frame, (x, 0, height / 2), (0.05, 0.4, 0.05)) for x in (-length / 3, length / 3)]
    parts += [
        box(frame, (x, 0, height / 2), (0.05, 0.05, height)) for x in (-length / 3, length / 3)
    ]
    for k in range(count):
        x = (k + 0.5) * each - length / 2
        parts.append(box(cover, (x, 0, height), (each - 0.05, 0.42, 0.03)))
        parts.append(_panel(cover, each - 0.06, 0.2, height, height + 0.42).moved((x, 0, 0)))
    return Mesh.merge(parts)


# Cabinets ------------------------------------------------------------------------------------


def cupboard(rng: Rng) -> Mesh:
    """Draw a closed cabinet with doors or drawers: from a drawer unit to a wardrobe."""
    body = materials.wood_or_lacquer(rng, "cabinet")
    fronts = body if rng.random() < 0.6 else materials.wood_or_lacquer(rng, "cabinet")
    kind = rng.choice(["low", "high", "drawers", "lockers"], p=[0.35, 0.35, 0.2, 0.1])
    if kind == "low":
        wide, high = rng.uniform(0.6, 2.0), rng.uniform(0.55, 1.0)
    elif kind == "drawers":
        wide, high = rng.uniform(0.4, 1.0), rng.uniform(0.55, 1.2)
    else:
        wide, high = rng.uniform(0.6, 1.8), rng.uniform(1.6, 2.15)
    deep, foot = rng.uniform(0.35, 0.62), float(rng.choice([0.0, 0.05, 0.12]))
    parts = [box(body, (0, 0, (foot + high) / 2), (wide, deep, high - foot))]
    if foot > 0.1:
        parts += _legs(body, (wide, deep, foot), 0.05)
    elif foot > 0.0:
        parts.append(box(body, (0, 0.025, foot / 2), (wide - 0.02, deep - 0.05, foot)))
    columns = max(round(wide / rng.uniform(0.35, 0.6)), 1)
    rows = {"drawers": int(rng.integers(3, 6)), "lockers": int(rng.integers(1, 4))}.get(
        str(kind), 1
    )
    dx, dz = wide / columns, (high - foot) / rows
    parts.append(_cabinet_interior(body, (0, -deep / 2, (foot + high) / 2), wide, high - foot))
    knobs = materials.metal(rng, "cabinet")
    detail = materials.derived_rng(rng)
    if high < 1.3 and detail.random() < 0.6:
        # A top that overhangs the doors.
        parts.append(box(body, (0, -0.015, high - 0.0125), (wide, deep + 0.03, 0.025)))
    drawers = kind == "drawers"
    grip = _handle_length(detail, 0.6 * (dx if drawers else dz))
    for i in range(columns):
        for k in range(rows):
            x, z = (i + 0.5) * dx - wide / 2, foot + (k + 0.5) * dz
            parts.append(box(fronts, (x, -deep / 2 - 0.009, z), (dx - 0.008, 0.018, dz - 0.008)))
            x, z = (x, z + 0.2 * dz) if drawers else (x + (0.5 - i % 2) * 0.8 * dx, z)
            size = (grip, 0.012) if drawers else (0.012, grip)
            parts += _handle(knobs, (x, -deep / 2 - 0.018, z), size)
    return Mesh.merge(parts)


def _cabinet_interior(
    body: Material, centre: tuple[float, float, float], wide: float, high: float
) -> Mesh:
    """Return a dark sheet behind the fronts of a cabinet, visible in the gaps between doors."""
    return box(materials.darkened(body), centre, (wide - 0.03, 0.004, high - 0.03))


def _handle_length(rng: Rng, most: float) -> float:
    """Draw the length of handles in metres: of knobs, of bars up to `most`, or 0 for none."""
    kind = rng.choice(["knob", "bar", "none"], p=[0.3, 0.55, 0.15])
    return {"knob": 0.03, "bar": min(rng.uniform(0.1, 0.4), most)}.get(str(kind), 0.0)


def _handle(
    material: Material, position: tuple[float, float, float], size: tuple[float, float]
) -> list[Mesh]:
    """Return a bar of size x, z on two feet; a knob where it is short; nothing for size 0."""
    (x, y, z), (wide, high) = position, size
    if min(size) == 0.0:
        return []
    if max(size) < 0.05:
        return [box(material, (x, y - 0.0135, z), (0.03, 0.027, 0.03))]
    parts = [box(material, (x, y - 0.021, z), (wide, 0.012, high))]
    for side in (-0.45, 0.45):
        dx, dz = (side * wide, 0.0) if wide > high else (0.0, side * high)
        parts.append(box(material, (x + dx, y - 0.0075, z + dz), (0.01, 0.015, 0.01)))
    return parts


def kitchen(rng: Rng) -> Mesh:
    """Draw a row of kitchen units: cabinets below a worktop, and wall cabinets above it."""
    body, top = materials.wood_or_lacquer(rng, "cabinet"), materials.wood_or_lacquer(rng, "table")
    knobs = materials.metal(rng, "cabinet")
    each, count = rng.uniform(0.45, 0.6), int(rng.integers(2, 7))
    length, deep, high = each * count, rng.uniform(0.55, 0.65), rng.uniform(0.82, 0.92)
    parts = [
        box(body, (0, 0.05, 0.05), (length, deep - 0.15, 0.1)),
        box(body, (0, 0.02, high / 2 + 0.05), (length, deep - 0.06, high - 0.1)),
        box(top, (0, 0, high), (length + 0.02, deep, 0.04)),
        _cabinet_interior(body, (0, 0.05 - deep / 2, high / 2 + 0.05), length, high - 0.1),
    ]
    rows = [(0.0, deep - 0.06, 0.1, high - 0.04)]
    if rng.random() < 0.65:
        low, hung = rng.uniform(1.35, 1.5), rng.uniform(0.3, 0.38)
        back = deep / 2 - hung / 2
        parts.append(box(body, (0, back, low + 0.35), (length, hung, 0.7)))
        parts.append(_cabinet_interior(body, (0, back - hung / 2, low + 0.35), length, 0.7))
        rows.append((back, hung, low + 0.01, low + 0.69))
    for y, out, low, upper in rows:
        for k in range(count):
            x, front = (k + 0.5) * each - length / 2, y - out / 2 + (0.02 if low < 1.0 else 0.0)
            middle = (low + upper) / 2
            parts.append(box(body, (x, front - 0.009, middle), (each - 0.008, 0.018, upper - low)))
            grip = (x + 0.35 * each, front - 0.03, upper - 0.12 if low < 1.0 else low + 0.12)
            parts.append(box(knobs, grip, (0.02, 0.03, 0.14)))
    return Mesh.merge(parts)


def fridge(rng: Rng) -> Mesh:
    """Draw a refrigerator or a similar appliance."""
    body = materials.lacquer(rng, "cabinet")
    wide, deep, high = rng.uniform(0.55, 0.75), rng.uniform(0.55, 0.7), rng.uniform(0.85, 2.0)
    split = rng.uniform(0.3, 0.7) * high
    parts = [
        box(body, (0, 0, high / 2 + 0.01), (wide, deep, high - 0.02)),
        box(materials.darkened(body), (0, 0.02, 0.01), (wide - 0.04, deep - 0.06, 0.02)),
        _cabinet_interior(body, (0, -deep / 2, high / 2), wide, high),
    ]
    detail = materials.derived_rng(rng)
    knobs = body if detail.random() < 0.5 else materials.metal(detail, "cabinet")
    at = detail.choice([-1.0, 1.0]) * (wide / 2 - 0.05)
    for low, top in ((0.05, split), (split + 0.01, high)):
        parts.append(box(body, (0, -deep / 2 - 0.025, (low + top) / 2), (wide, 0.05, top - low)))
        grip = _handle_length(detail, 0.6 * (top - low))
        parts += _handle(knobs, (at, -deep / 2 - 0.05, (low + top) / 2), (0.02, grip))
    return Mesh.merge(parts)


def shelf(rng: Rng) -> Mesh:
    """Draw open shelves with books, boxes and gaps.

    Books and boxes have the label of the shelf, as in the bookcases of S3DIS: a row of spines a
    few centimetres behind the edges of the boards is what a bookcase looks like.
    """
    body = materials.wood_or_lacquer(rng, "cabinet")
    wide, high, deep = rng.uniform(0.5, 1.6), rng.uniform(0.8, 2.3), rng.uniform(0.25, 0.5)
    closed = rng.random() < 0.6
    levels = np.linspace(0.05, high - 0.02, max(int(high / rng.uniform(0.28, 0.45)), 2) + 1)
    parts = [box(body, (0, 0, z), (wide, deep, 0.025)) for z in levels]
    if closed:
        parts.append(box(body, (0, deep / 2, high / 2), (wide, 0.012, high)))
        parts += [
            box(body, (side * wide / 2, 0, high / 2), (0.025, deep, high)) for side in (-1, 1)
        ]
    else:
        parts += _legs(materials.metal(rng, "cabinet"), (wide, deep, high), 0.03)
    filled = rng.uniform(0.2, 1.0)
    for low, top in pairwise(levels):
        parts += _shelf_row(rng, wide - 0.05, deep, low + 0.0125, top - low - 0.03, filled)
    return Mesh.merge(parts)


def _shelf_row(
    rng: Rng, wide: float, deep: float, z: float, room: float, filled: float
) -> list[Mesh]:
    """Draw books and boxes side by side along x."""
    parts, x = [], -wide / 2
    books = rng.random() < 0.65
    while x < wide / 2 - 0.03:
        broad = rng.uniform(0.02, 0.06) if books else rng.uniform(0.1, 0.35)
        broad = min(broad, wide / 2 - x)
        if rng.random() < filled:
            out, high = rng.uniform(0.55, 0.9) * deep, rng.uniform(0.6, 0.95) * room
            material = materials.ceramic_or_paper(rng, "cabinet")
            y = deep / 2 - 0.02 - out / 2 - rng.uniform(0, 0.04)
            parts.append(
                box(material, (x + broad / 2, y, z + high / 2), (0.97 * broad, out, high))
            )
        elif rng.random() < 0.3:
            books = not books
        x += broad
    return parts


# Objects of the class other ------------------------------------------------------------------


def carton(rng: Rng) -> Mesh:
    """Draw a box or a stack of boxes."""
    parts, z = [], 0.0
    size = rng.uniform((0.2, 0.2, 0.15), (0.7, 0.6, 0.6))
    for _ in range(int(rng.choice([1, 2, 3], p=[0.6, 0.25, 0.15]))):
        plain = rng.random() >= 0.5
        material = (materials.cardboard if plain else materials.ceramic_or_paper)(rng, "other")
        one = box(material, (0, 0, size[2] / 2), size)
        if plain:
            one = Mesh.merge([one, _packing_tape(size)])
        parts.append(one.moved((*rng.normal(0, 0.02, 2), z), rng.normal(0, 0.1)))
        z += size[2]
        size = size * rng.uniform(0.7, 1.0, 3)
    return Mesh.merge(parts)


def _packing_tape(size: npt.NDArray[np.float64]) -> Mesh:
    """Return the tape along the lid of a box, and 7 cm down its sides."""
    tape = materials.make_material("other", Paint((0.75, 0.65, 0.45), (0.7, 0.6, 0.4)), 0.4)
    wide, high = size[0] + 0.002, min(0.07, 0.5 * size[2])
    return box(tape, (0, 0, size[2] + 0.001 - high / 2), (wide, 0.05, high))


def radiator(rng: Rng, material: Material, wide: float) -> Mesh:
    """Draw a radiator on a wall at y = 0: ribbed panels or columns, and a pipe to the floor."""
    low, top, gap = 0.125, 0.675, rng.uniform(0.05, 0.07)
    columns = rng.random() < 0.35
    across = np.arange(-wide / 2 + gap / 2, wide / 2, gap)
    if columns:
        parts = [
            cylinder(material, (x, y, low), (x, y, top), 0.016, sides=6)
            for x in across
            for y in (-0.09, -0.045)
        ]
        for z in (low + 0.03, top - 0.03):
            parts.append(box(material, (0, -0.0675, z), (wide, 0.05, 0.03)))
    else:
        middle, high = (low + top) / 2, top - low
        parts = [box(material, (0, y, middle), (wide, 0.012, high)) for y in (-0.095, -0.035)]
        parts += [
            box(material, (x, -0.105, middle), (0.5 * gap, 0.01, high - 0.06)) for x in across
        ]
        grille = (0, -0.065, top - 0.01)
        parts.append(box(materials.darkened(material), grille, (wide - 0.02, 0.05, 0.004)))
    end = wide / 2 + 0.03
    pipes = [(wide / 2, -0.065, low + 0.04), (end, -0.065, low + 0.04), (end, -0.065, 0.0)]
    parts.append(tube(material, pipes, 0.01, sides=5))
    valve = materials.lacquer(rng, "other")
    parts.append(cylinder(valve, (end, -0.065, low + 0.02), (end, -0.065, low + 0.12), 0.022))
    return Mesh.merge(parts)


def plant(rng: Rng) -> Mesh:
    """Draw a pot plant, from desk size to the height of a person."""
    high = rng.uniform(0.5, 1.9)
    radius = rng.uniform(0.08, 0.12) * (0.6 + high)
    pot = materials.ceramic_or_paper(rng, "other")
    green = materials.colour(rng, (0.2, 0.4), (0.3, 0.9), (0.15, 0.7))
    dark = (0.6 * green[0], 0.6 * green[1], 0.6 * green[2])
    leaf = materials.make_material("other", Paint(green, dark, "blotches", 0.05), 0.6)
    count = int(150 + 250 * high)
    up = rng.random(count)
    wide = rng.uniform(0.2, 0.5) * (0.4 + 0.6 * high)
    angle, out = (
        rng.uniform(0, 2 * np.pi, count),
        wide * np.sqrt(rng.random(count)) * (1.1 - 0.6 * up),
    )
    centres = np.stack(
        [out * np.cos(angle), out * np.sin(angle), 3 * radius + up * (high - 2 * radius)], axis=1
    )
    stems = [
        tube(leaf, [(0, 0, 2 * radius), tuple(centres[k])], 0.008, sides=4)
        for k in range(int(rng.integers(3, 9)))
    ]
    crown = leaves(rng, leaf, centres, rng.uniform(0.06, 0.16))
    return Mesh.merge(
        [cylinder(pot, (0, 0, 0), (0, 0, 2.4 * radius), 0.8 * radius, radius, 16), crown, *stems]
    )


def floor_lamp(rng: Rng) -> Mesh:
    """Draw a floor lamp or a coat stand."""
    stand, high = materials.metal(rng, "other"), rng.uniform(1.2, 1.8)
    parts = [
        cylinder(stand, (0, 0, 0), (0, 0, 0.03), 0.15, sides=14),
        cylinder(stand, (0, 0, 0), (0, 0, high), 0.015),
    ]
    if rng.random() < 0.7:
        shade, wide = materials.cloth(rng, "other"), rng.uniform(0.12, 0.25)
        parts.append(cylinder(shade, (0, 0, high - 0.1), (0, 0, high + 0.2), wide, 0.7 * wide, 16))
    else:
        coat = materials.cloth(rng, "other")
        parts.append(ellipsoid(coat, (0.1, 0, high - 0.4), (0.15, 0.2, 0.45), 8, 10))
        parts.append(box(stand, (0, 0, high - 0.05), (0.4, 0.02, 0.02)))
    return Mesh.merge(parts)


def bin_(rng: Rng) -> Mesh:
    """Draw a waste bin, a bucket or a large vase."""
    material, high = materials.lacquer(rng, "other"), rng.uniform(0.25, 0.7)
    wide = rng.uniform(0.1, 0.2)
    return cylinder(material, (0, 0, 0), (0, 0, high), wide * rng.uniform(0.7, 1.0), wide, 16)


def bag(rng: Rng) -> Mesh:
    """Draw a rucksack, suitcase or ball."""
    material = materials.cloth(rng, "other")
    size = rng.uniform((0.12, 0.08, 0.12), (0.26, 0.18, 0.3))
    if rng.random() < 0.3:
        size[:] = rng.uniform(0.08, 0.3)
        return ellipsoid(material, (0, 0, size[2]), size, 12, 20)
    return _cushion(material, (0.0, 0.0, float(size[2])), (size[0], size[1], size[2]))


def bed(rng: Rng) -> Mesh:
    """Draw a bed with its headboard at the back."""
    frame, sheet = materials.wood_or_lacquer(rng, "other"), materials.cloth(rng, "other")
    wide, long, high = rng.uniform(0.9, 1.8), rng.uniform(1.95, 2.1), rng.uniform(0.35, 0.55)
    parts = [
        box(frame, (0, 0, high / 2 - 0.05), (wide, long, 0.15)),
        *_legs(frame, (wide, long, high - 0.1), 0.08),
        box(frame, (0, long / 2, 0.5), (wide, 0.05, rng.uniform(0.7, 1.0))),
        _cushion(sheet, (0, -0.05, high + 0.05), (wide / 2, long / 2 - 0.05, 0.14)),
    ]
    pillow = materials.cloth(rng, "other")
    for x in (0.0,) if wide < 1.3 else (-wide / 4, wide / 4):
        parts.append(_cushion(pillow, (x, long / 2 - 0.3, high + 0.2), (0.32, 0.2, 0.08)))
    return Mesh.merge(parts)


def monitor(rng: Rng) -> Mesh:
    """Draw a monitor on its stand."""
    frame = materials.lacquer(rng, "other")
    glow = materials.colour(rng, (0, 1), (0, 0.6), (0.05, 0.9))
    other = materials.colour(rng, (0, 1), (0, 0.6), (0.05, 0.9))
    dark = rng.random() < 0.6
    screen = materials.make_material(
        "other", Paint(glow, other, "blotches", 0.12), GLASS if dark else rng.uniform(0.1, 0.4)
    )
    wide, high = rng.uniform(0.45, 0.75), rng.uniform(0.28, 0.42)
    z = rng.uniform(0.12, 0.18) + high / 2
    return Mesh.merge(
        [
            box(frame, (0, 0, z), (wide, 0.04, high)),
            box(screen, (0, -0.021, z), (wide - 0.03, 0.002, high - 0.03)),
            box(frame, (0, 0.03, z / 2), (0.05, 0.03, z)),
            box(frame, (0, 0.02, 0.01), (0.24, 0.18, 0.02)),
            box(frame, (rng.normal(0, 0.03), -0.28, 0.012), (0.42, 0.14, 0.024)),
        ]
    )


def laptop(rng: Rng) -> Mesh:
    """Draw an open laptop."""
    body = materials.metal(rng, "other")
    lid = _panel(body, 0.33, 0.12, 0.02, 0.24)
    return Mesh.merge([box(body, (0, 0, 0.01), (0.33, 0.24, 0.02)), lid])


def books(rng: Rng) -> Mesh:
    """Draw a stack of books or papers."""
    parts, z = [], 0.0
    for _ in range(int(rng.integers(1, 7))):
        size = rng.uniform((0.14, 0.2, 0.005), (0.22, 0.3, 0.05))
        one = box(materials.ceramic_or_paper(rng, "other"), (0, 0, size[2] / 2), size)
        parts.append(one.moved((*rng.normal(0, 0.01, 2), z), rng.normal(0, 0.2)))
        z += size[2]
    return Mesh.merge(parts)


def cup(rng: Rng) -> Mesh:
    """Draw a cup, a bottle, a bowl or a vase."""
    material = materials.ceramic_or_paper(rng, "other")
    kind = rng.choice(["cup", "bottle", "bowl"])
    if kind == "cup":
        return cylinder(material, (0, 0, 0), (0, 0, rng.uniform(0.08, 0.12)), 0.035, 0.042, 14)
    if kind == "bowl":
        return cylinder(material, (0, 0, 0), (0, 0, rng.uniform(0.05, 0.1)), 0.06, 0.13, 18)
    high, wide = rng.uniform(0.15, 0.32), rng.uniform(0.03, 0.05)
    body = cylinder(material, (0, 0, 0), (0, 0, 0.65 * high), wide, sides=14)
    return Mesh.merge(
        [body, cylinder(material, (0, 0, 0.65 * high), (0, 0, high), wide, 0.015, 14)]
    )


TABLETOP: tuple[Maker, ...] = (books, cup, cup, laptop, monitor, bag)
"""Makers of objects that lie on tables."""


def with_tabletop_objects(rng: Rng, mesh: Mesh, most: int) -> Mesh:
    """Return a mesh with up to `most` small objects on top of it."""
    low, top = mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)
    middle, half = (low + top)[:2] / 2, (top - low)[:2] / 2
    parts, taken = [mesh], np.zeros((0, 3))
    for _ in range(int(rng.integers(0, most + 1))):
        small = TABLETOP[rng.integers(len(TABLETOP))](rng)
        radius = float(np.abs(small.vertices[:, :2]).max())
        centre = middle + rng.uniform(-1, 1, 2) * np.maximum(0.85 * half - 0.7 * radius, 0.0)
        gaps = np.linalg.norm(taken[:, :2] - centre, axis=1) - taken[:, 2] - radius
        if (gaps > 0).all() and radius < 1.3 * half.min():
            taken = np.vstack([taken, [*centre, radius]])
            parts.append(small.moved((*centre, top[2]), rng.normal(0, 0.4)))
    return Mesh.merge(parts)
