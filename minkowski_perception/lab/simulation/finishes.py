# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Materials of things indoors, drawn at random.

Colour tells something of what a thing is, but never decides it: every kind of finish has colours
that the others have too, and some of everything is of any colour.
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
"""Reflectance of a window or a dark screen: hardly any light comes back."""

_ANY = 0.12
"""Share of surfaces that may be of any colour."""


def material(name: str, paint: Paint, reflectance: float) -> Material:
    """Material of a class of indoor8."""
    return Material(LABELS.names.index(name), float(reflectance), paint=paint)


def colour(
    rng: Rng, hue: tuple[float, float], saturation: tuple[float, float], value: tuple[float, float]
) -> Colour:
    """Draw a colour between bounds, all of 0 to 1; now and then one beyond them."""
    if rng.random() < _ANY:
        hue, saturation, value = (0.0, 1.0), (0.0, 0.8), (0.15, 0.95)
    return colorsys.hsv_to_rgb(rng.uniform(*hue), rng.uniform(*saturation), rng.uniform(*value))


def _darker(of: Colour, factor: float) -> Colour:
    red, green, blue = of
    return (red * factor, green * factor, blue * factor)


def aside(rng: Rng) -> Rng:
    """Begin a stream for details, so that what is drawn from the first one stays as it is."""
    return np.random.default_rng(int(rng.bit_generator.state["state"]["state"]))


def shaded(of: Material) -> Material:
    """Make what is seen of a material in a gap or a recess, where hardly any light comes."""
    base = _darker(of.paint.colour, 0.3)
    return of._replace(paint=of.paint._replace(colour=base, accent=_darker(base, 0.8)))


def wood(rng: Rng, name: str) -> Material:
    """Wood, from birch to wenge."""
    base = colour(rng, (0.05, 0.12), (0.25, 0.7), (0.22, 0.85))
    paint = Paint(base, _darker(base, rng.uniform(0.6, 0.9)), "grain", rng.uniform(0.01, 0.05))
    return material(name, paint, rng.uniform(0.35, 0.8))


def lacquer(rng: Rng, name: str) -> Material:
    """Painted or plastic: white, grey, black, or of a colour."""
    kind = rng.choice(["white", "grey", "black", "vivid"], p=[0.35, 0.2, 0.2, 0.25])
    value = {"white": (0.8, 1.0), "grey": (0.35, 0.75), "black": (0.04, 0.2), "vivid": (0.3, 0.9)}
    saturation = (0.3, 0.9) if kind == "vivid" else (0.0, 0.08)
    base = colour(rng, (0.0, 1.0), saturation, value[str(kind)])
    dull = rng.uniform(0.08, 0.3) if kind == "black" else rng.uniform(0.3, 0.85)
    return material(name, Paint(base, _darker(base, 0.95), "plain", 0.3), dull)


def metal(rng: Rng, name: str) -> Material:
    """Steel, chrome, aluminium: some of it sends little back."""
    base = colour(rng, (0.5, 0.7), (0.0, 0.1), (0.2, 0.85))
    return material(name, Paint(base, _darker(base, 0.9)), rng.uniform(0.15, 0.6))


def cloth(rng: Rng, name: str) -> Material:
    """Covers and clothes."""
    base = colour(rng, (0.0, 1.0), (0.0, 0.75), (0.1, 0.9))
    pattern = str(rng.choice(["weave", "plain", "blotches", "planks"], p=[0.5, 0.25, 0.15, 0.1]))
    other = colour(rng, (0.0, 1.0), (0.0, 0.7), (0.1, 0.95))
    accent = _darker(base, 0.75) if pattern == "weave" or rng.random() < 0.5 else other
    return material(name, Paint(base, accent, pattern, rng.uniform(0.005, 0.12)), _fabric(rng))


def _fabric(rng: Rng) -> float:
    return rng.uniform(0.3, 0.8)


def finish(rng: Rng, name: str) -> Material:
    """Wood or lacquer: what hard furniture is made of."""
    return (wood if rng.random() < 0.5 else lacquer)(rng, name)


def cardboard(rng: Rng, name: str) -> Material:
    """Corrugated board: brown, as wood is."""
    base = colour(rng, (0.06, 0.1), (0.25, 0.5), (0.4, 0.8))
    accent = _darker(base, rng.uniform(0.8, 0.95))
    return material(name, Paint(base, accent, "plain", rng.uniform(0.1, 0.4)), _fabric(rng))


def stone(rng: Rng, name: str) -> Material:
    """Terracotta, earthenware, paper and whatever else clutter is of."""
    base = colour(rng, (0.0, 1.0), (0.0, 0.8), (0.1, 0.95))
    other = colour(rng, (0.0, 1.0), (0.0, 0.8), (0.1, 0.95))
    pattern = str(rng.choice(["plain", "blotches"], p=[0.6, 0.4]))
    return material(name, Paint(base, other, pattern, rng.uniform(0.02, 0.15)), _fabric(rng))


def wall(rng: Rng) -> Material:
    """Plaster, wallpaper, bricks, tiles, panels."""
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
    return material("wall", Paint(base, accent, pattern, size), rng.uniform(0.4, 0.9))


def floor(rng: Rng) -> Material:
    """Boards, tiles, carpet or screed."""
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
    return material("floor", Paint(base, accent, pattern, size), rng.uniform(0.2, 0.7))


def ceiling(rng: Rng) -> Material:
    """Mostly white; tiles, plaster, concrete or boards."""
    if rng.random() < 0.1:
        return wood(rng, "ceiling")
    pale = rng.random() < 0.85
    base = colour(rng, (0.0, 1.0), (0.0, 0.08), (0.8, 1.0) if pale else (0.2, 0.6))
    pattern, size = ("tiles", 0.6) if rng.random() < 0.35 else ("plain", 0.8)
    return material("ceiling", Paint(base, _darker(base, 0.85), pattern, size), 0.8)


def sky(rng: Rng) -> Material:
    """View from a window: light, and nothing that a depth camera could measure."""
    base = colour(rng, (0.5, 0.65), (0.0, 0.35), (0.75, 1.0))
    other = colour(rng, (0.2, 0.6), (0.0, 0.4), (0.3, 1.0))
    return material("wall", Paint(base, other, "blotches", rng.uniform(0.2, 0.8)), GLASS)
