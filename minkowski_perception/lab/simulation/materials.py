# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Random indoor materials: label, reflectance and paint of a surface.

Colour is a hint of the class, never proof: the colour ranges of the classes overlap, and some
surfaces of every class take any colour.
"""

from __future__ import annotations

import colorsys

import numpy as np

from minkowski_perception.lab.simulation.meshes import Material, Paint
from minkowski_perception.labels import LabelSet

LABELS = LabelSet.load("indoor8")

Rng = np.random.Generator
Colour = tuple[float, float, float]

GLASS = 5e-4
"""Reflectance of a window or a dark screen: almost no light returns."""

_ANY_COLOUR_SHARE = 0.12
"""Probability that `colour` ignores its bounds."""


def make_material(name: str, paint: Paint, reflectance: float) -> Material:
    """Return a material of the class `name` of indoor8."""
    return Material(LABELS.names.index(name), float(reflectance), paint=paint)


def colour(
    rng: Rng, hue: tuple[float, float], saturation: tuple[float, float], value: tuple[float, float]
) -> Colour:
    """Draw a colour within HSV bounds, each 0 to 1; with a small probability, ignore them.

    Returns:
        Red, green, blue, each 0 to 1.
    """
    if rng.random() < _ANY_COLOUR_SHARE:
        hue, saturation, value = (0.0, 1.0), (0.0, 0.8), (0.15, 0.95)
    return colorsys.hsv_to_rgb(rng.uniform(*hue), rng.uniform(*saturation), rng.uniform(*value))


def _darker(base: Colour, factor: float) -> Colour:
    red, green, blue = base
    return (red * factor, green * factor, blue * factor)


def derived_rng(rng: Rng) -> Rng:
    """Return a generator seeded by the state of `rng`; `rng` itself does not advance.

    A detail that draws from it leaves all later draws from `rng` unchanged.
    """
    return np.random.default_rng(int(rng.bit_generator.state["state"]["state"]))


def darkened(material: Material) -> Material:
    """Return the material as it looks in a gap or recess, where little light falls."""
    base = _darker(material.paint.colour, 0.3)
    paint = material.paint._replace(colour=base, accent=_darker(base, 0.8))
    return material._replace(paint=paint)


def wood(rng: Rng, name: str) -> Material:
    """Draw a wood, from birch to wenge."""
    base = colour(rng, (0.05, 0.12), (0.25, 0.7), (0.22, 0.85))
    paint = Paint(base, _darker(base, rng.uniform(0.6, 0.9)), "grain", rng.uniform(0.01, 0.05))
    return make_material(name, paint, rng.uniform(0.35, 0.8))


def lacquer(rng: Rng, name: str) -> Material:
    """Draw a paint or plastic: white, grey, black, or vivid."""
    kind = rng.choice(["white", "grey", "black", "vivid"], p=[0.35, 0.2, 0.2, 0.25])
    value = {"white": (0.8, 1.0), "grey": (0.35, 0.75), "black": (0.04, 0.2), "vivid": (0.3, 0.9)}
    saturation = (0.3, 0.9) if kind == "vivid" else (0.0, 0.08)
    base = colour(rng, (0.0, 1.0), saturation, value[str(kind)])
    dull = rng.uniform(0.08, 0.3) if kind == "black" else rng.uniform(0.3, 0.85)
    return make_material(name, Paint(base, _darker(base, 0.95), "plain", 0.3), dull)


def metal(rng: Rng, name: str) -> Material:
    """Draw steel, chrome or aluminium; some of it reflects little."""
    base = colour(rng, (0.5, 0.7), (0.0, 0.1), (0.2, 0.85))
    return make_material(name, Paint(base, _darker(base, 0.9)), rng.uniform(0.15, 0.6))


def cloth(rng: Rng, name: str) -> Material:
    """Draw a fabric of upholstery or clothes."""
    base = colour(rng, (0.0, 1.0), (0.0, 0.75), (0.1, 0.9))
    pattern = str(rng.choice(["weave", "plain", "blotches", "planks"], p=[0.5, 0.25, 0.15, 0.1]))
    other = colour(rng, (0.0, 1.0), (0.0, 0.7), (0.1, 0.95))
    accent = _darker(base, 0.75) if pattern == "weave" or rng.random() < 0.5 else other
    return make_material(name, Paint(base, accent, pattern, rng.uniform(0.005, 0.12)), _matt(rng))


def _matt(rng: Rng) -> float:
    """Draw the reflectance of a matt surface."""
    return rng.uniform(0.3, 0.8)


def wood_or_lacquer(rng: Rng, name: str) -> Material:
    """Draw a material of hard furniture."""
    return (wood if rng.random() < 0.5 else lacquer)(rng, name)


def cardboard(rng: Rng, name: str) -> Material:
    """Draw corrugated board: brown, like wood."""
    base = colour(rng, (0.06, 0.1), (0.25, 0.5), (0.4, 0.8))
    accent = _darker(base, rng.uniform(0.8, 0.95))
    return make_material(name, Paint(base, accent, "plain", rng.uniform(0.1, 0.4)), _matt(rng))


def ceramic_or_paper(rng: Rng, name: str) -> Material:
    """Draw a material of clutter, for example terracotta, earthenware or paper."""
    base = colour(rng, (0.0, 1.0), (0.0, 0.8), (0.1, 0.95))
    other = colour(rng, (0.0, 1.0), (0.0, 0.8), (0.1, 0.95))
    pattern = str(rng.choice(["plain", "blotches"], p=[0.6, 0.4]))
    return make_material(name, Paint(base, other, pattern, rng.uniform(0.02, 0.15)), _matt(rng))


def wall(rng: Rng) -> Material:
    """Draw plaster, wallpaper, tiles or wood panels."""
    kind = rng.choice(["plaster", "paper", "tiles", "panels"], p=[0.68, 0.12, 0.12, 0.08])
    if kind == "panels":
        return wood(rng, "wall")
    pale = rng.random() < 0.75
    base = colour(
        rng, (0.0, 1.0), (0.0, 0.12) if pale else (0.1, 0.6), (0.75, 1.0) if pale else (0.3, 0.9)
    )
    pattern, size = {
        "plaster": ("plain", 0.6),
        "paper": ("blotches", rng.uniform(0.05, 0.3)),
        "tiles": ("tiles", rng.uniform(0.08, 0.35)),
    }[str(kind)]
    accent = _darker(base, rng.uniform(0.6, 0.97))
    return make_material("wall", Paint(base, accent, pattern, size), rng.uniform(0.4, 0.9))


def floor(rng: Rng) -> Material:
    """Draw boards, tiles, carpet or screed."""
    kind = rng.choice(["boards", "tiles", "carpet", "screed"], p=[0.35, 0.25, 0.25, 0.15])
    if kind == "boards":
        base = colour(rng, (0.05, 0.12), (0.2, 0.7), (0.25, 0.85))
        pattern, size = "planks", rng.uniform(0.07, 0.2)
    elif kind == "tiles":
        base = colour(rng, (0.0, 1.0), (0.0, 0.2), (0.3, 0.95))
        pattern, size = "tiles", rng.uniform(0.2, 0.6)
    elif kind == "carpet":
        base = colour(rng, (0.0, 1.0), (0.0, 0.5), (0.15, 0.7))
        pattern, size = str(rng.choice(["weave", "blotches", "planks"])), rng.uniform(0.01, 0.05)
    else:
        base = colour(rng, (0.0, 0.7), (0.0, 0.12), (0.3, 0.7))
        pattern, size = "blotches", rng.uniform(0.3, 1.0)
    accent = _darker(base, rng.uniform(0.55, 0.92))
    return make_material("floor", Paint(base, accent, pattern, size), rng.uniform(0.2, 0.7))


def ceiling(rng: Rng) -> Material:
    """Draw tiles, plaster, concrete or boards; mostly white."""
    if rng.random() < 0.1:
        return wood(rng, "ceiling")
    pale = rng.random() < 0.85
    base = colour(rng, (0.0, 1.0), (0.0, 0.08), (0.8, 1.0) if pale else (0.2, 0.6))
    pattern, size = ("tiles", 0.6) if rng.random() < 0.35 else ("plain", 0.8)
    return make_material("ceiling", Paint(base, _darker(base, 0.85), pattern, size), 0.8)


def sky(rng: Rng) -> Material:
    """Draw the view through a window: bright, but no depth camera can measure it."""
    base = colour(rng, (0.5, 0.65), (0.0, 0.35), (0.75, 1.0))
    other = colour(rng, (0.2, 0.6), (0.0, 0.4), (0.3, 1.0))
    return make_material("wall", Paint(base, other, "blotches", rng.uniform(0.2, 0.8)), GLASS)
