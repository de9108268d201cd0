# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Synthetic LiDAR scan on which engines are compared before the first real scan arrives."""

from __future__ import annotations

import numpy as np

from minkowski_perception.frame import Frame

_HEIGHT = 1.7  # metres, sensor above the ground
_WALL = 9.0  # metres, to the walls on the left and right
_MAX_RANGE = 60.0  # metres


def trial_frame(rays: int, seed: int = 0) -> Frame:
    """Return a scan of a street between two walls, with the point density of a LiDAR.

    Args:
        rays: number of rays; each gives a point with the intensity of its surface and a random
            colour.
        seed: seed of the random ray directions.
    """
    rng = np.random.default_rng(seed)
    azimuth = rng.uniform(-np.pi, np.pi, rays)
    elevation = np.radians(rng.uniform(-25.0, 3.0, rays))
    level = np.cos(elevation)
    directions = np.stack(
        [level * np.cos(azimuth), level * np.sin(azimuth), np.sin(elevation)], axis=1
    )
    with np.errstate(divide="ignore"):
        to_wall = _WALL / np.abs(directions[:, 1])
        to_ground = np.where(elevation < 0.0, -_HEIGHT / directions[:, 2], np.inf)
    distance = np.minimum(np.minimum(to_wall, to_ground), _MAX_RANGE)
    points = directions * distance[:, None] + rng.normal(0.0, 0.02, (rays, 3))
    return Frame(
        points.astype(np.float32),
        intensity=np.where(to_ground < to_wall, 0.2, 0.4).astype(np.float32),
        colour=rng.integers(0, 256, (rays, 3), dtype=np.uint8),
    )
