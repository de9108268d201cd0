# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Depth cameras with colour: structured light or stereo, seen as one camera and its baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter, maximum_filter, minimum_filter
from scipy.special import ndtr

from minkowski_perception.lab.simulation.scene import Hits, Scene, first_hits
from minkowski_perception.lab.simulation.sensors import read_sensor
from minkowski_perception.lab.simulation.shading import Lighting, shade
from minkowski_perception.labels import UNLABELLED

Array = npt.NDArray[np.float32]

_EDGE = 0.04
"""Step in depth from pixel to pixel, as a share of it, that is an edge and no slope."""


class Shot(NamedTuple):
    """What a depth camera measured: all its pixels, row by row from the upper left.

    Attributes:
        points: [N, 3] float32, metres, in the optical frame; NaN without a measurement.
        colour: [N, 3] uint8, red, green, blue.
        labels: [N] uint8; 255 without a measurement.
        scenes: [N] uint8, which of the scenes each point lies on.
    """

    points: Array
    colour: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.uint8]
    scenes: npt.NDArray[np.uint8]


@dataclass(frozen=True)
class DepthCamera:
    """A depth camera whose second eye, or projector, is a baseline to the right.

    Depth comes from disparity, fx * baseline / depth: noise and steps of disparity are noise and
    steps of depth that grow with its square. What the second eye does not see is a hole.

    Attributes:
        name: what options call it.
        width, height: pixels.
        fx, fy, cx, cy: pinhole model, pixels; pixel centres are at whole numbers.
        baseline: metres.
        rate_hz: clouds in a second.
        min_depth, max_depth: metres along z; what lies outside is not reported.
        disparity_noise: standard deviation, pixels.
        disparity_step: pixels.
        depth_step: metres; what the driver rounds depth to.
        ragged: standard deviation of how far edges are from where they should be, pixels.
        edge_loss: share of pixels beside an edge that are lost.
        flying: share of pixels beside an edge that lie somewhere between its sides.
        grazing: cosine of incidence at which half of the light is lost to the side.
        reach: metres at which a white surface, seen face on, is missed once in e times.
        dropout: share of pixels that are lost for no reason, in patches.
    """

    name: str
    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    baseline: float = 0.075
    rate_hz: float = 10.0
    min_depth: float = 0.4
    max_depth: float = 8.0
    disparity_noise: float = 0.05
    disparity_step: float = 0.125
    depth_step: float = 0.001
    ragged: float = 0.8
    edge_loss: float = 0.3
    flying: float = 0.0
    grazing: float = 0.12
    reach: float = 9.0
    dropout: float = 0.001

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> DepthCamera:
        """Build a camera from what its YAML says.

        Raises:
            TypeError, ValueError: the mapping does not describe a depth camera.
        """
        camera = cls(**data)
        for name in ("width", "height", "fx", "fy", "baseline", "rate_hz", "disparity_step"):
            if not getattr(camera, name) > 0:
                raise ValueError(f"{name} must be positive, not {getattr(camera, name)}")
        return camera

    def rays(self) -> Array:
        """[height * width, 3]: through each pixel, row by row, to z = 1 in the optical frame."""
        v, u = np.indices((self.height, self.width), dtype=np.float32).reshape(2, -1)
        x, y = (u - self.cx) / self.fx, (v - self.cy) / self.fy
        return np.stack([x, y, np.ones_like(x)], axis=1).astype(np.float32)

    def project(self, points: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
        """[N, 2] pixels (u, v) of [N, 3] points in the optical frame, with z > 0."""
        x, y, z = np.asarray(points, dtype=np.float64).T
        return np.stack([self.fx * x / z + self.cx, self.fy * y / z + self.cy], axis=1)

    def shoot(
        self,
        scenes: Sequence[Scene],
        pose: npt.NDArray[np.float64],
        lighting: Lighting,
        rng: np.random.Generator,
    ) -> Shot:
        """One cloud, all of it seen at one moment.

        Args:
            scenes: what there is.
            pose: [4, 4], takes points of the optical frame to that of the scenes.
            lighting: for the colours.
            rng: draws the noise.
        """
        through = self.rays()
        length = np.linalg.norm(through, axis=1)
        rays = np.empty((len(through), 6), dtype=np.float32)
        rays[:, :3] = pose[:3, 3]
        rays[:, 3:] = (through / length[:, None]) @ pose[:3, :3].T.astype(np.float32)
        hits = first_hits(scenes, rays)
        surface = rays[:, :3] + hits.distance[:, None] * rays[:, 3:]
        colour = shade(hits, surface, scenes, lighting, rng)

        depth = hits.distance / length
        lost = self._lost(hits, depth, rng) | self._shadowed(scenes, pose, surface, hits)
        depth[lost] = np.nan
        depth, labels, scene = self._frayed(depth, hits, rng)
        depth = self._quantised(depth, rng)
        labels[np.isnan(depth)] = UNLABELLED
        return Shot(through * depth[:, None], colour, labels, scene)

    def _lost(self, hits: Hits, depth: Array, rng: np.random.Generator) -> npt.NDArray[np.bool_]:
        """[N] bool: pixels to which too little light comes back."""
        with np.errstate(divide="ignore", invalid="ignore"):
            grazing = hits.facing**2 / (hits.facing**2 + self.grazing**2)
            light = hits.reflectance * grazing * (self.reach / depth) ** 2
        chance = 0.5 * (self._patches(rng, 1.2) + self._patches(rng, 5.0))
        return (chance > 1.0 - np.exp(-light)) | (self._patches(rng, 2.0) < self.dropout)

    def _shadowed(
        self, scenes: Sequence[Scene], pose: npt.NDArray[np.float64], surface: Array, hits: Hits
    ) -> npt.NDArray[np.bool_]:
        """[N] bool: what the second eye does not see."""
        eye = (pose[:3, 3] + self.baseline * pose[:3, 0]).astype(np.float32)
        seen = np.flatnonzero(np.isfinite(hits.distance))
        eyes = np.tile(eye, (len(seen), 1))
        shadowed = np.zeros(len(surface), dtype=bool)
        for scene in scenes:
            shadowed[seen] |= scene.between(eyes, surface[seen])
        return shadowed

    def _frayed(
        self, depth: Array, hits: Hits, rng: np.random.Generator
    ) -> tuple[Array, npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
        """Depth, labels and scenes with ragged edges, and holes and flying pixels beside them."""
        shape = (self.height, self.width)
        rows, columns = np.indices(shape)
        jumps = [
            np.rint(self.ragged * _smooth(rng.normal(size=shape), 1.5)).astype(int)
            for _ in range(2)
        ]
        source = np.ravel_multi_index(
            (rows + jumps[0], columns + jumps[1]), shape, mode="clip"
        ).ravel()
        # On a slope a pixel aside would be noise, which real depth has not.
        known = np.nan_to_num(depth, nan=0.0, posinf=0.0)
        jumped = np.abs(known[source] - known) > _EDGE * known
        source = np.where(jumped, source, np.arange(depth.size))
        depth = depth[source]
        image = np.nan_to_num(depth, nan=0.0).reshape(shape)
        far = maximum_filter(image, 3).ravel()
        near = minimum_filter(np.where(image > 0, image, np.inf), 3).ravel()
        edge = np.isfinite(near) & (far - near > _EDGE * far)
        near[~edge] = 0.0
        chance = rng.random(len(depth), dtype=np.float32)
        flies = edge & (chance < self.flying) & ~np.isnan(depth)
        place = rng.random(len(depth), dtype=np.float32)
        depth[flies] = (near + place * (far - near))[flies]
        depth[edge & (self._patches(rng, 1.2) < self.edge_loss)] = np.nan
        return depth, hits.labels[source], hits.scene[source]

    def _quantised(self, depth: Array, rng: np.random.Generator) -> Array:
        """Depth as read from noisy disparity in steps; NaN out of range."""
        noise = _smooth(rng.normal(size=(self.height, self.width)), 0.7).ravel()
        disparity = (self.fx * self.baseline / depth).astype(np.float64)
        disparity += self.disparity_noise * noise
        disparity = np.round(disparity / self.disparity_step) * self.disparity_step
        with np.errstate(divide="ignore"):
            exact = self.fx * self.baseline / disparity
        depth = (np.round(exact / self.depth_step) * self.depth_step).astype(np.float32)
        depth[~((depth >= self.min_depth) & (depth <= self.max_depth))] = np.nan
        return depth

    def _patches(self, rng: np.random.Generator, size: float) -> Array:
        """[N] uniform in 0 to 1, alike in neighbours up to `size` pixels away."""
        noise = _smooth(rng.normal(size=(self.height, self.width)), size)
        return np.asarray(ndtr(noise), dtype=np.float32).ravel()


def _smooth(noise: npt.NDArray[np.float64], size: float) -> npt.NDArray[np.float64]:
    """White noise of deviation 1, smoothed over `size` pixels, of deviation 1 again."""
    smooth = gaussian_filter(noise, size, mode="wrap", truncate=3.0)
    return np.asarray(smooth / smooth.std())


def get_camera(name: str | Path) -> DepthCamera:
    """Look up a depth camera by its name, or read it from a YAML file by its path.

    Raises:
        SensorError: there is none (the message lists those that there are), or it is malformed.
    """
    return read_sensor("camera", name, DepthCamera.from_dict)
