# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Random buildings."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from minkowski_perception.lab.simulation.meshes import Material, Mesh, box, prism, relief
from minkowski_perception.lab.simulation.surfaces import GLASS, LABELS, Rng, make_material


def building(rng: Rng, width: float, depth: float, height: float, pitched: bool) -> Mesh:
    """Draw a building along x whose front is at y = 0 and faces -y.

    It extends 2 m into the ground, so that slopes leave no gap.
    """
    wall = rng.uniform(0.3, 0.75)
    glass, recess = rng.choice([GLASS, 0.2]), rng.uniform(0.06, 0.3)
    storey = rng.uniform(2.6, 3.6)
    parts = [
        _upright(_facade(rng, length, height, storey, recess, wall, glass, windows), *pose)
        for length, windows, pose in (
            (width, rng.uniform(0.7, 1.0), (0.0, 0.0, 0.0)),
            (depth, rng.uniform(0.0, 0.6), (width / 2, depth / 2, np.pi / 2)),
            (width, 0.5, (0.0, depth, np.pi)),
            (depth, rng.uniform(0.0, 0.6), (-width / 2, depth / 2, -np.pi / 2)),
        )
    ]
    stone = make_material("building", wall)
    tiles = make_material("building", rng.uniform(0.15, 0.5))
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
    columns = rng.uniform(-0.35, 0.35, int(rng.integers(1, 4))) * width
    balconies = rng.random() < 0.5
    for floor in range(1, int(height / storey)):
        if rng.random() < (0.8 if balconies else 0.1):
            wide, out = min(rng.uniform(1.5, 3.5), 0.4 * width), rng.uniform(0.5, 1.6)
            for x in columns:
                parts += _balcony(rng, stone, x, floor * storey, wide, out)
    if height > 5.0 and rng.random() < 0.15:
        # An oriel, or an awning over a shop.
        x, wide, out = columns[0], rng.uniform(1.5, 3.0), rng.uniform(0.4, 1.0)
        parts.append(box(stone, (x, -out / 2, 1.2 + height / 2), (wide, out, height - 2.4)))
    elif rng.random() < 0.2:
        wide, out = rng.uniform(0.3, 0.9) * width, rng.uniform(0.6, 1.8)
        parts.append(box(tiles, (0, -out / 2, rng.uniform(2.3, 3.2)), (wide, out, 0.15)))
    if rng.random() < 0.4:
        x, wide = rng.uniform(-0.3, 0.3) * width, rng.uniform(1.2, 2.5)
        parts.append(box(stone, (x, -0.4, 0.1), (wide, 0.8, 0.25)))
    return Mesh.merge(parts)


def _balcony(rng: Rng, stone: Material, x: float, z: float, wide: float, out: float) -> list[Mesh]:
    """Draw the slab and the railing of a balcony: closed, or of bars."""
    parts = [box(stone, (x, -out / 2, z), (wide, out, 0.15))]
    if rng.random() < 0.5:
        return [*parts, box(stone, (x, -out, z + 0.5), (wide, 0.05, 0.9))]
    parts.append(box(stone, (x, -out, z + 1.0), (wide, 0.05, 0.06)))
    bars = np.arange(x - wide / 2, x + wide / 2, 0.16)
    return [*parts, *(box(stone, (at, -out, z + 0.5), (0.02, 0.02, 1.0)) for at in bars)]


def _upright(facade: Mesh, x: float, y: float, yaw: float) -> Mesh:
    """Return a facade in (along, up, outwards), upright and facing -y, then turned by yaw."""
    along, up, out = facade.vertices.T
    upright = replace(facade, vertices=np.stack([along, -out, up], axis=1))
    return upright.moved((x, y, 0.0), yaw)


def _facade(
    rng: Rng,
    length: float,
    height: float,
    storey: float,
    recess: float,
    wall: float,
    glass: float,
    windows: float,
) -> Mesh:
    """Draw a wall with a grid of recessed windows and doors, in (along, up, outwards)."""
    bay = rng.uniform(2.0, 4.0)
    bays, floors = max(int(length / bay), 1), max(int(height / storey), 1)
    wide, high, sill = rng.uniform(0.9, 1.7), rng.uniform(1.1, 1.9), rng.uniform(0.6, 1.0)
    middles = (np.arange(bays) + 0.5) * length / bays - length / 2
    u = np.sort([-length / 2, length / 2, *(middles - wide / 2), *(middles + wide / 2)])
    bottoms = np.arange(floors) * height / floors
    # Line 1 is at the ground, so that doors reach down to it.
    v = np.array([-2.0, 0.0, *np.sort([*(bottoms + sill), *(bottoms + sill + high)]), height])
    v = np.maximum.accumulate(v)
    v[-1] = max(height, v[-2] + 0.1)
    shape = len(u) - 1, len(v) - 1
    window = np.zeros(shape, dtype=bool)
    window[1::2, 2::2] = rng.random((bays, floors)) < windows
    doors = window[:, 2] & (rng.random(len(u) - 1) < 0.25)
    window[:, 1] = doors
    # Storeys, piers, stains and shutters vary the tone and the depth of a wall.
    tone = _variation(rng, (shape[0], 1)) * _variation(rng, (1, shape[1])) * _variation(rng, shape)
    reflectance = (wall * tone).clip(0.05, 0.95)
    # A shop front, or bays of loggias, lie farther back than windows do.
    deep = np.zeros(shape, dtype=bool)
    if rng.random() < 0.3:
        deep[1:-1, 1:4] = True
    if rng.random() < 0.3:
        deep[1:-1, 4:] = rng.random((shape[0] - 2, 1)) < 0.3
    piers = rng.uniform(0.0, 0.15) * (rng.random(shape[0]) < rng.choice([0.0, 0.5]))
    level = np.repeat(piers[:, None], shape[1], axis=1)
    level[window] = -recess
    level[deep] -= rng.uniform(0.2, 1.5)
    shut = window & (rng.random(shape) < rng.uniform(0.0, 0.6))
    reflectance[window & ~shut] = glass
    reflectance[:, 1][doors] = wall
    label = np.full(shape, LABELS.names.index("building"))
    return relief(u, v, level, label, reflectance, np.where(window, 0.0, rng.uniform(0.0, 0.05)))


def _variation(rng: Rng, shape: tuple[int, int]) -> npt.NDArray[np.float64]:
    """Draw an array of log-normal factors around 1."""
    return np.exp(rng.uniform(0.0, 0.2) * rng.normal(size=shape))
