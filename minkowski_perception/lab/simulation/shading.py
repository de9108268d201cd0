# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What colour a camera sees: paints with their patterns, lamps, shadows, exposure and noise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from minkowski_perception.lab.simulation.meshes import PATTERNS
from minkowski_perception.lab.simulation.scene import Hits, Scene

Array = npt.NDArray[np.floating]

_GAMMA = 2.2
_SOFT = 0.5
"""Square metres added to squared distances of lamps, which are no points."""


_NEAR_LAMP = 0.9
"""Share of the way to a lamp in which things cast shadows: its own shade does not."""


class Lamp(NamedTuple):
    """A light.

    Attributes:
        place: [3] metres.
        strength: what a surface gets that faces it from 1 m.
        colour: red, green, blue.
    """

    place: tuple[float, float, float]
    strength: float
    colour: tuple[float, float, float] = (1.0, 1.0, 1.0)


class Lighting(NamedTuple):
    """The light in a room, and how a camera takes it.

    Attributes:
        lamps: what casts shadows.
        ambient: what every surface gets from everywhere.
        tint: red, green, blue of the white balance.
        brightness: mean of a picture, 0 to 1.
        noise: standard deviation of each channel of each pixel.
    """

    lamps: tuple[Lamp, ...]
    ambient: float = 0.5
    tint: tuple[float, float, float] = (1.0, 1.0, 1.0)
    brightness: float = 0.45
    noise: float = 0.015


def shade(
    hits: Hits,
    points: Array,
    scenes: Sequence[Scene],
    lighting: Lighting,
    rng: np.random.Generator,
) -> npt.NDArray[np.uint8]:
    """[R, 3] uint8: red, green, blue of what was hit; black where nothing was.

    Args:
        hits: of R rays.
        points: [R, 3] where they hit, in the frame of the scenes.
        scenes: what casts shadows.
        lighting: the light and the camera's settings.
        rng: draws the noise.
    """
    seen = np.flatnonzero(np.isfinite(hits.distance))
    points, normal = points[seen], hits.normal[seen]
    light = np.full((len(seen), 3), lighting.ambient, dtype=np.float32)
    # Ceilings and what lies below things get less from everywhere than what faces up.
    light *= (0.8 + 0.2 * normal[:, 2])[:, None]
    for lamp in lighting.lamps:
        place = np.asarray(lamp.place, dtype=np.float32)
        way = place - points
        squared = np.einsum("rk,rk->r", way, way)
        facing = np.einsum("rk,rk->r", way, normal) / np.sqrt(np.maximum(squared, 1e-6))
        lit = np.flatnonzero(facing > 0.0)
        for scene in scenes:
            lit = lit[~scene.between(points[lit], np.tile(place, (len(lit), 1)), _NEAR_LAMP)]
        got = lamp.strength * facing[lit] / (squared[lit] + _SOFT)
        light[lit] += got[:, None] * np.asarray(lamp.colour, dtype=np.float32)
    radiance = np.zeros((len(hits.distance), 3), dtype=np.float32)
    radiance[seen] = _paint(hits.paints[seen], points, normal) ** _GAMMA * light
    radiance *= np.asarray(lighting.tint, dtype=np.float32)
    level = float(np.median(radiance[seen].mean(axis=1))) if len(seen) else 1.0
    radiance *= lighting.brightness**_GAMMA / max(level, 1e-6)
    picture = radiance.clip(0.0, 1.0) ** (1 / _GAMMA)
    picture += rng.normal(0.0, lighting.noise, picture.shape).astype(np.float32)
    return np.asarray((255.0 * picture.clip(0.0, 1.0)).round().astype(np.uint8))


def _paint(paints: npt.NDArray[np.void], points: Array, normal: Array) -> Array:
    """[R, 3] colours of the paints at places on surfaces."""
    across = _in_plane(points, normal) / paints["size"][:, None]
    share = np.zeros(len(paints), dtype=np.float32)
    for index, name in enumerate(PATTERNS):
        chosen = np.flatnonzero(paints["pattern"] == index)
        if len(chosen):
            share[chosen] = _PATTERNS[name](*across[chosen].T)
    mixed = paints["colour"] + share[:, None] * (paints["accent"] - paints["colour"])
    return np.asarray(mixed, dtype=np.float32)


def _in_plane(points: Array, normal: Array) -> Array:
    """[R, 2] coordinates along the two axes that a surface faces least."""
    axis = np.abs(normal).argmax(axis=1)
    u, v = np.array([1, 0, 0])[axis], np.array([2, 2, 1])[axis]
    rows = np.arange(len(points))
    return np.stack([points[rows, u], points[rows, v]], axis=1)


def _hash(i: npt.NDArray[np.int64], j: npt.NDArray[np.int64]) -> Array:
    """Map whole numbers to what looks like chance, 0 to 1."""
    mixed = (i * 374761393 + j * 668265263).astype(np.uint32)
    mixed = (mixed ^ (mixed >> np.uint32(13))) * np.uint32(1274126177)
    return ((mixed ^ (mixed >> np.uint32(16))) / np.float32(2**32)).astype(np.float32)


def _noise(u: Array, v: Array) -> Array:
    """Smooth noise over a plane, 0 to 1, with one bump a unit."""
    i, j = np.floor(u).astype(np.int64), np.floor(v).astype(np.int64)
    s, t = (u - i).astype(np.float32), (v - j).astype(np.float32)
    s, t = s * s * (3 - 2 * s), t * t * (3 - 2 * t)
    low = _hash(i, j) * (1 - s) + _hash(i + 1, j) * s
    high = _hash(i, j + 1) * (1 - s) + _hash(i + 1, j + 1) * s
    return low * (1 - t) + high * t


def _grain(u: Array, v: Array) -> Array:
    return 0.7 * _noise(u, v / 15) + 0.3 * _noise(4 * u, v / 5)


def _planks(u: Array, v: Array) -> Array:
    row = np.floor(u).astype(np.int64)
    along = v / 8 + _hash(row, np.zeros_like(row))
    tint = 0.7 * _hash(row, np.floor(along).astype(np.int64)) + 0.3 * _noise(8 * u, v)
    return np.where((u - row < 0.04) | (along % 1 < 0.006), 1.0, tint).astype(np.float32)


def _tiles(u: Array, v: Array) -> Array:
    tint = 0.3 * _hash(np.floor(u).astype(np.int64), np.floor(v).astype(np.int64))
    return np.where((u % 1 < 0.03) | (v % 1 < 0.03), 1.0, tint).astype(np.float32)


def _weave(u: Array, v: Array) -> Array:
    return _hash(np.floor(2 * u).astype(np.int64), np.floor(2 * v).astype(np.int64))


def _blotches(u: Array, v: Array) -> Array:
    noise = 0.7 * _noise(u, v) + 0.3 * _noise(3 * u, 3 * v)
    return (6 * (noise - 0.5) + 0.5).clip(0.0, 1.0)


_PATTERNS = {
    "plain": _noise,
    "grain": _grain,
    "planks": _planks,
    "tiles": _tiles,
    "weave": _weave,
    "blotches": _blotches,
}
