# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Materials of things outdoors, as LiDARs see them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from minkowski_perception.lab.simulation.meshes import Material, Mesh
from minkowski_perception.labels import UNLABELLED, LabelSet

LABELS = LabelSet.load("semantickitti19")

Rng = np.random.Generator
Maker = Callable[[Rng], Mesh]
"""Draws a thing at random: it stands on the ground at its origin; x is forward, y left, z up."""

GLASS = 5e-6
"""Reflectance of a window: hardly a ray that meets it comes back, be it ever so near."""


def material(name: str, reflectance: float, fuzz: float = 0.0) -> Material:
    """Material of a class; an empty name is no class."""
    label = LABELS.names.index(name) if name else UNLABELLED
    return Material(label, float(reflectance), fuzz)


def lacquer(rng: Rng) -> float:
    """Reflectance of a vehicle: many are dark, and dark ones send little back."""
    return float(
        rng.choice([rng.uniform(0.03, 0.12), rng.uniform(0.12, 0.5), rng.uniform(0.5, 0.8)])
    )
