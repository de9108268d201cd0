# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Outdoor materials: label, reflectance and scatter depth of a surface, for LiDARs.

Indoor materials, which also have colours, are in `materials`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from minkowski_perception.lab.simulation.meshes import Material, Mesh
from minkowski_perception.labels import UNLABELLED, LabelSet

LABELS = LabelSet.load("semantickitti19")

Rng = np.random.Generator
Maker = Callable[[Rng], Mesh]
"""Draws a random object that stands on the ground at its origin; x forward, y left, z up."""

GLASS = 5e-6
"""Reflectance of a window: almost no ray returns, even from close by."""


def make_material(name: str, reflectance: float, scatter_depth: float = 0.0) -> Material:
    """Return a material of the class `name` of semantickitti19; an empty name is no class."""
    label = LABELS.names.index(name) if name else UNLABELLED
    return Material(label, float(reflectance), scatter_depth)


def vehicle_paint(rng: Rng, name: str) -> Material:
    """Draw the paint of a vehicle of the class `name`.

    Most paint is dark, or reflects light like a mirror: little of it returns to the sensor.
    """
    tones = [rng.uniform(0.006, 0.04), rng.uniform(0.03, 0.12), rng.uniform(0.12, 0.5)]
    return make_material(name, rng.choice([*tones, rng.uniform(0.5, 0.8)], p=[0.4, 0.3, 0.2, 0.1]))


def retro_reflector(rng: Rng, name: str) -> Material:
    """Draw a retro-reflective material, from a worn plate to a new sign."""
    return make_material(name, np.exp(rng.uniform(*np.log((0.6, 8.0)))))
