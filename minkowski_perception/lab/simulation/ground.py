# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Ground of a street: labelled patches along a curved, sloped centre line.

Street coordinates are `s`, metres along the centre line, and `d`, metres to the left of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from minkowski_perception.lab.simulation.meshes import relief


class Patch(NamedTuple):
    """Rectangle of ground from s0 to s1 and from d0 to d1, `level` metres above the road.

    `roughness`, metres, is the standard deviation of its heights, and its scatter depth.
    """

    s0: float
    s1: float
    d0: float
    d1: float
    label: int
    reflectance: float
    level: float = 0.0
    roughness: float = 0.005


class Ground:
    """Mesh of patches along a random centre line; later patches cover earlier ones.

    Args:
        rng: generator of the centre line, the slopes and the roughness.
        length: length of the street, metres.
        half_width: distance from the centre line to the edge of the ground, metres.
        edge: d of the right and left edge of the street, beyond which banks rise or fall.
        patches: patches, the first of which covers everything.

    Attributes:
        mesh: mesh of the ground.
    """

    def __init__(
        self,
        rng: np.random.Generator,
        length: float,
        half_width: float,
        edge: tuple[float, float],
        patches: Sequence[Patch],
    ) -> None:
        self._edge = edge
        self._bank = rng.normal(0.0, rng.choice([0.04, 0.1]), 2) * (rng.random(2) < 0.7)
        self._camber = rng.uniform(0.0, 0.025)
        self._slope = rng.normal(0.0, 0.015)
        wave = rng.uniform(120.0, 400.0)
        # The radius of bends exceeds half_width, so that street coordinates stay unique.
        self._bend = rng.uniform(-1.0, 1.0) * wave / (2 * np.pi * 1.4 * half_width)
        self._bend = float(np.clip(self._bend, -0.5, 0.5))
        self._bend_rate, self._bend_phase = 2 * np.pi / wave, rng.uniform(0, 2 * np.pi)
        self._hill = rng.normal(0.0, 0.6)
        self._hill_rate, self._hill_phase = 2 * np.pi / rng.uniform(80, 300), rng.uniform(0, 6.28)
        self._line_s = np.arange(-5.0, length + 5.0, 0.5)
        heading = self.heading(self._line_s)
        steps = 0.5 * np.stack([np.cos(heading), np.sin(heading)], axis=1)
        self._line_xy = np.cumsum(steps, axis=0) - steps[0]
        self._build(patches, half_width, length, rng)

    def _build(
        self,
        patches: Sequence[Patch],
        half_width: float,
        length: float,
        rng: np.random.Generator,
    ) -> None:
        near = np.arange(-22.0, 22.1, 1.0)
        far = np.arange(24.0, half_width, 4.0)
        borders_s = [edge for patch in patches for edge in (patch.s0, patch.s1)]
        borders_d = [edge for patch in patches for edge in (patch.d0, patch.d1)]
        self._s = _grid_lines(np.arange(0.0, length + 1, 2.0), borders_s, 0.0, length)
        self._d = _grid_lines(
            np.concatenate([-far, near, far]), borders_d, -half_width, half_width
        )
        middle_s, middle_d = _middles(self._s), _middles(self._d)
        shape = len(middle_s), len(middle_d)
        self._level = np.zeros(shape)
        label = np.zeros(shape, dtype=np.uint8)
        reflectance, roughness = np.zeros(shape), np.zeros(shape)
        for patch in patches:
            rows = (middle_s > patch.s0) & (middle_s < patch.s1)
            columns = (middle_d > patch.d0) & (middle_d < patch.d1)
            inside = np.ix_(rows, columns)
            self._level[inside] = patch.level
            label[inside] = patch.label
            reflectance[inside] = patch.reflectance
            roughness[inside] = patch.roughness
        # Dirt, wear and repairs vary the tone along and across the street.
        stains = rng.uniform(0.0, 0.15) * rng.normal(size=shape)
        stains += rng.uniform(0.0, 0.1) * rng.normal(size=(1, shape[1]))
        reflectance = (reflectance * np.exp(stains)).clip(0.02, 1.0)
        bumps = rng.normal(0.0, 1.0, (len(self._s), len(self._d)))
        corners = np.stack([bumps[:-1, :-1], bumps[1:, :-1], bumps[1:, 1:], bumps[:-1, 1:]], -1)
        level = self._level[..., None] + corners * roughness[..., None]
        flat = relief(self._s, self._d, level, label, reflectance, roughness)
        self.mesh = replace(flat, vertices=self._lift(flat.vertices).astype(np.float32))

    def heading(self, s: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Return the heading of the centre line at s, radians from x."""
        return self._bend * np.sin(self._bend_rate * np.asarray(s) + self._bend_phase)

    def _lift(self, points: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
        """Return x, y, z of [N, 3] points s, d and height above the road, [N, 3]."""
        s, d, level = points.T
        heading = self.heading(s)
        x = np.interp(s, self._line_s, self._line_xy[:, 0]) - d * np.sin(heading)
        y = np.interp(s, self._line_s, self._line_xy[:, 1]) + d * np.cos(heading)
        right, left = self._edge
        z = self._hill * np.sin(self._hill_rate * s + self._hill_phase) + self._slope * s
        z = z - self._camber * np.minimum(np.abs(d), 6.0)
        z = z + self._bank[0] * np.maximum(right - d, 0) + self._bank[1] * np.maximum(d - left, 0)
        return np.stack([x, y, z + level], axis=1).astype(np.float64)

    def position(self, s: float, d: float) -> npt.NDArray[np.float64]:
        """Return x, y, z of the ground at street coordinates s, d, [3]."""
        row = np.clip(np.searchsorted(self._s, s) - 1, 0, len(self._s) - 2)
        column = np.clip(np.searchsorted(self._d, d) - 1, 0, len(self._d) - 2)
        position: npt.NDArray[np.float64] = self._lift(
            np.array([[s, d, self._level[row, column]]])
        )[0]
        return position


def _middles(lines: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return (lines[1:] + lines[:-1]) / 2


def _grid_lines(
    even: npt.NDArray[np.float64], borders: Sequence[float], low: float, high: float
) -> npt.NDArray[np.float64]:
    """Return grid lines at all borders, and even lines that are not close to a border."""
    exact = np.unique(np.clip([low, high, *borders], low, high))
    distance = np.abs(even[:, None] - exact[None, :]).min(axis=1)
    return np.unique(
        np.concatenate([exact, even[(distance > 0.3) & (even > low) & (even < high)]])
    )
