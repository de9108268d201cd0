# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Random trees, bushes and hedges; rays pass between their leaves."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from minkowski_perception.lab.simulation.meshes import (
    Material,
    Mesh,
    box,
    cylinder,
    ellipsoid,
    leaves,
)
from minkowski_perception.lab.simulation.surfaces import Rng, make_material


def _green(rng: Rng, scatter_depth: float = 0.05) -> Material:
    return make_material("vegetation", rng.uniform(0.3, 0.6), scatter_depth)


def _crown(rng: Rng, centre: npt.ArrayLike, radii: npt.ArrayLike, leaf: float) -> Mesh:
    """Draw leaves in overlapping clumps, several layers deep."""
    middle, half = np.asarray(centre, dtype=float), np.asarray(radii, dtype=float)
    clumps = int(rng.integers(4, 10))
    clump_centres = middle + _ball(rng, clumps) * half * 0.6
    area = np.pi * half[0] * max(half[1], half[2])
    count = int(np.clip(rng.uniform(3.0, 8.0) * area / (0.6 * leaf**2), 200, 3500))
    spread = half * rng.uniform(0.35, 0.6, (clumps, 1))
    which = rng.integers(0, clumps, count)
    green = _green(rng)
    return leaves(rng, green, clump_centres[which] + _ball(rng, count) * spread[which], leaf)


def _ball(rng: Rng, count: int) -> npt.NDArray[np.float64]:
    """Draw points in the unit ball, denser near its surface, [count, 3]."""
    points = rng.normal(size=(count, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    return points * rng.random((count, 1)) ** 0.25


def tree(rng: Rng) -> Mesh:
    """Draw a broad-leaved tree, a conifer, or a bare tree."""
    bark = make_material("trunk", rng.uniform(0.2, 0.5))
    height = rng.uniform(4.0, 14.0)
    radius = rng.uniform(0.008, 0.033) * height + 0.03
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
    fork = rng.uniform(0.12, 0.42) * height if height > 5 else rng.uniform(0.7, 2.2)
    top = np.array([lean[0], lean[1], fork])
    middle = np.add(top, (0, 0, 0.5 * (height - fork)))
    wide = rng.uniform(0.18, 0.45) * height
    parts = [cylinder(bark, (0, 0, -0.3), top, 1.15 * radius, 0.8 * radius, sides=10)]
    if rng.random() < 0.15:
        for at in rng.normal(0, 0.35, (int(rng.integers(1, 4)), 2)):
            parts.append(
                cylinder(bark, (*at, -0.3), np.add(top, (*at, 0)), 0.7 * radius, 0.5 * radius)
            )
    for _ in range(rng.integers(3, 7)):
        tip = middle + _ball(rng, 1)[0] * (0.7 * wide, 0.7 * wide, 0.4 * (height - fork))
        parts.append(cylinder(bark, top, tip, 0.45 * radius, 0.02, sides=5))
    if rng.random() < 0.9:
        radii = (wide, wide * rng.uniform(0.8, 1.2), 0.55 * (height - fork))
        parts.append(_crown(rng, middle, radii, rng.uniform(0.25, 0.5)))
    return Mesh.merge(parts)


def bush(rng: Rng) -> Mesh:
    """Draw a bush, either loose or so dense that few rays pass through it."""
    wide, high = rng.uniform(0.35, 1.8), rng.uniform(0.3, 1.7)
    middle, radii = (0, 0, 0.9 * high), np.array([wide, wide * rng.uniform(0.6, 1.4), high])
    crown = _crown(rng, middle, radii, 0.15)
    if rng.random() < 0.5:
        return crown
    core = ellipsoid(_green(rng, scatter_depth=0.3 * float(radii.min())), middle, 0.85 * radii)
    return Mesh.merge([core, crown])


def thicket(rng: Rng) -> Mesh:
    """Draw a tall, dense shrub of a thicket along a road."""
    radii = rng.uniform((1.0, 0.8, 0.8), (2.5, 1.8, 2.2))
    return _crown(rng, (0, 0, 0.85 * radii[2]), radii, 0.3)


def hedge(rng: Rng, length: float, height: float, depth: float) -> Mesh:
    """Draw a clipped hedge along x: leaves around a core that rays penetrate."""
    count = int(min(25 * length * (height + depth), 4000))
    at = rng.uniform((-0.5, -0.5, 0.0), (0.5, 0.5, 1.0), (count, 3))
    face = rng.integers(0, 3, count)
    at[face == 0, 1] = 0.5 * np.sign(at[face == 0, 1])
    at[face == 1, 2] = 1.0
    at = at * (length, depth, height) + rng.normal(0, rng.uniform(0.04, 0.12), (count, 3))
    # The scatter depth of the core reaches to the faces of the hedge, so that none is flat.
    inset = rng.uniform(0.2, 0.35) * depth
    core = _green(rng, scatter_depth=inset)
    size = (length - 2 * inset, depth - 2 * inset, height - inset)
    return Mesh.merge([box(core, (0, 0, size[2] / 2), size), leaves(rng, _green(rng), at, 0.15)])


def bed(rng: Rng, length: float, depth: float) -> Mesh:
    """Draw a bed along x of ground cover, tall grass or low shrubs, with clumps and gaps."""
    height = rng.uniform(0.12, 0.7)
    leaf = rng.uniform(0.06, 0.14)
    count = int(min(rng.uniform(20, 70) * length * depth, 2500))
    clumps = int(np.clip(length * depth * rng.uniform(0.6, 3.0), 2, 60))
    at = rng.uniform((-0.5, -0.5), (0.5, 0.5), (clumps, 2)) * (length, depth)
    tops = height * rng.uniform(0.3, 1.0, clumps)
    which, angle = rng.integers(0, clumps, count), rng.uniform(0, 2 * np.pi, count)
    out = rng.uniform(0.25, 0.6) * rng.random(count) ** 0.5
    x = (at[which, 0] + out * np.cos(angle)).clip(-length / 2, length / 2)
    y = (at[which, 1] + out * np.sin(angle)).clip(-depth / 2, depth / 2)
    up = tops[which] * (1 - out**2) * rng.random(count) ** 0.5
    parts = [leaves(rng, _green(rng), np.stack([x, y, up], axis=1), leaf)]
    if rng.random() < 0.6:
        low = 0.5 * height
        core = _green(rng, scatter_depth=0.8 * low)
        parts.append(box(core, (0, 0, low / 2), (length, depth, low)))
    return Mesh.merge(parts)
