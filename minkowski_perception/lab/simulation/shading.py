# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Colours that a camera sees: paint patterns, lamps, shadows, exposure and noise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from minkowski_perception.lab.simulation.meshes import PATTERNS
from minkowski_perception.lab.simulation.scene import Hits, Scene

Array = npt.NDArray[np.floating]

_GAMMA = 2.2
_LAMP_SOFTENING = 0.5
"""Square metres added to squared distances of lamps, since lamps are not points."""

_SHADOW_SHARE = 0.9
"""Share of the segment to a lamp in which surfaces cast shadows; its lampshade lies beyond."""


class Lamp(NamedTuple):
    """A lamp.

    Attributes:
        position: x, y, z, metres.
        strength: light on a surface that faces the lamp, times the squared distance in metres.
        colour: red, green, blue.
    """

    position: tuple[float, float, float]
    strength: float
    colour: tuple[float, float, float] = (1.0, 1.0, 1.0)


class Lighting(NamedTuple):
    """Light in a room, and the exposure and noise of the camera.

    Attributes:
        lamps: lights that cast shadows.
        ambient: light that reaches every surface.
        tint: gains of red, green, blue (white balance).
        brightness: value that the exposure gives the median pixel, 0 to 1.
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
    """Return the colours of hits, [R, 3] uint8 red, green, blue; black without a hit.

    Args:
        hits: hits of R rays.
        points: [R, 3] positions of the hits, in the frame of the scenes.
        scenes: scenes that cast shadows.
        lighting: lamps, exposure and noise.
        rng: generator of the noise.
    """
    seen = np.flatnonzero(np.isfinite(hits.distance))
    points, normal = points[seen], hits.normal[seen]
    light = np.full((len(seen), 3), lighting.ambient, dtype=np.float32)
    # Surfaces that face down get less ambient light than those that face up.
    light *= (0.8 + 0.2 * normal[:, 2])[:, None]
    for lamp in lighting.lamps:
        position = np.asarray(lamp.position, dtype=np.float32)
        to_lamp = position - points
        squared = np.einsum("rk,rk->r", to_lamp, to_lamp)
        cosine = np.einsum("rk,rk->r", to_lamp, normal) / np.sqrt(np.maximum(squared, 1e-6))
        lit = np.flatnonzero(cosine > 0.0)
        for scene in scenes:
            ends = np.tile(position, (len(lit), 1))
            lit = lit[~scene.occluded(points[lit], ends, _SHADOW_SHARE)]
        irradiance = lamp.strength * cosine[lit] / (squared[lit] + _LAMP_SOFTENING)
        light[lit] += irradiance[:, None] * np.asarray(lamp.colour, dtype=np.float32)
    radiance = np.zeros((len(hits.distance), 3), dtype=np.float32)
    radiance[seen] = _paint(hits.paints[seen], points, normal) ** _GAMMA * light
    radiance *= np.asarray(lighting.tint, dtype=np.float32)
    level = float(np.median(radiance[seen].mean(axis=1))) if len(seen) else 1.0
    radiance *= lighting.brightness**_GAMMA / max(level, 1e-6)
    image = radiance.clip(0.0, 1.0) ** (1 / _GAMMA)
    image += rng.normal(0.0, lighting.noise, image.shape).astype(np.float32)
    return np.asarray((255.0 * image.clip(0.0, 1.0)).round().astype(np.uint8))


def _paint(paints: npt.NDArray[np.void], points: Array, normal: Array) -> Array:
    """Return the colours of paints at points of surfaces, [R, 3]."""
    in_plane = _in_plane(points, normal) / paints["size"][:, None]
    share = np.zeros(len(paints), dtype=np.float32)
    for index, name in enumerate(PATTERNS):
        chosen = np.flatnonzero(paints["pattern"] == index)
        if len(chosen):
            share[chosen] = _PATTERNS[name](*in_plane[chosen].T)
    mixed = paints["colour"] + share[:, None] * (paints["accent"] - paints["colour"])
    return np.asarray(mixed, dtype=np.float32)


def _in_plane(points: Array, normal: Array) -> Array:
    """Return the two coordinates of each point other than its normal's dominant axis, [R, 2]."""
    axis = np.abs(normal).argmax(axis=1)
    u, v = np.array([1, 0, 0])[axis], np.array([2, 2, 1])[axis]
    rows = np.arange(len(points))
    return np.stack([points[rows, u], points[rows, v]], axis=1)


def _hash(i: npt.NDArray[np.int64], j: npt.NDArray[np.int64]) -> Array:
    """Return a hash of integer pairs, uniform in 0 to 1."""
    mixed = (i * 374761393 + j * 668265263).astype(np.uint32)
    mixed = (mixed ^ (mixed >> np.uint32(13))) * np.uint32(1274126177)
    return ((mixed ^ (mixed >> np.uint32(16))) / np.float32(2**32)).astype(np.float32)


def _noise(u: Array, v: Array) -> Array:
    """Return value noise over a plane, 0 to 1, on a grid of unit spacing."""
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
