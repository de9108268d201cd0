# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""RGB-D cameras: structured light or stereo, modelled as a pinhole camera with a baseline."""

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
"""Step in depth between pixels, relative to the depth, that counts as an edge."""


class Capture(NamedTuple):
    """Cloud of a depth camera: one point per pixel, row by row from the upper left.

    Attributes:
        points: [N, 3] float32, metres, in the optical frame; NaN without a measurement.
        colour: [N, 3] uint8, red, green, blue.
        labels: [N] uint8; 255 without a measurement.
        scenes: [N] uint8, index of the scene that each point lies on.
    """

    points: Array
    colour: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.uint8]
    scenes: npt.NDArray[np.uint8]


@dataclass(frozen=True)
class DepthCamera:
    """Depth camera whose second camera, or projector, is a baseline to the right.

    Depth comes from the disparity fx * baseline / depth. Noise and quantisation of disparity
    become noise and quantisation of depth that grow with the square of depth. Surfaces hidden
    from the second camera are holes.

    Attributes:
        name: name of the model, as options select it.
        width, height: pixels.
        fx, fy, cx, cy: pinhole model, pixels; pixel centres are at integers.
        baseline: metres.
        rate_hz: clouds per second.
        min_depth, max_depth: metres along z; depths outside are not reported.
        disparity_noise: standard deviation, pixels.
        disparity_step: quantisation of disparity, pixels.
        depth_step: quantisation of depth by the driver, metres.
        ragged: standard deviation of the displacement of depth edges, pixels.
        edge_loss: share of pixels at edges that are lost.
        flying: share of flying pixels at edges, which lie between the near and the far side.
        grazing: cosine of the angle of incidence at which half of the light is lost.
        reach: depth in metres at which a white surface at normal incidence is measured with
            probability 1 - 1/e.
        dropout: share of pixels that are lost at random, in patches.
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
        """Build a camera from the content of its YAML file.

        Raises:
            TypeError, ValueError: the mapping does not describe a depth camera.
        """
        camera = cls(**data)
        for name in ("width", "height", "fx", "fy", "baseline", "rate_hz", "disparity_step"):
            if not getattr(camera, name) > 0:
                raise ValueError(f"{name} must be positive, not {getattr(camera, name)}")
        return camera

    def rays(self) -> Array:
        """Return the rays through all pixels to z = 1 in the optical frame, [height * width, 3].

        Pixels go row by row from the upper left.
        """
        v, u = np.indices((self.height, self.width), dtype=np.float32).reshape(2, -1)
        x, y = (u - self.cx) / self.fx, (v - self.cy) / self.fy
        return np.stack([x, y, np.ones_like(x)], axis=1).astype(np.float32)

    def project(self, points: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
        """Return the pixels (u, v) of [N, 3] points with z > 0 in the optical frame, [N, 2]."""
        x, y, z = np.asarray(points, dtype=np.float64).T
        return np.stack([self.fx * x / z + self.cx, self.fy * y / z + self.cy], axis=1)

    def capture(
        self,
        scenes: Sequence[Scene],
        pose: npt.NDArray[np.float64],
        lighting: Lighting,
        rng: np.random.Generator,
    ) -> Capture:
        """Return a cloud whose pixels are all measured at the same time.

        Args:
            scenes: scenes that the rays are cast into.
            pose: [4, 4] pose of the optical frame in the frame of the scenes.
            lighting: light and exposure of the colours.
            rng: generator of the noise.
        """
        at_unit_depth = self.rays()
        length = np.linalg.norm(at_unit_depth, axis=1)
        rays = np.empty((len(at_unit_depth), 6), dtype=np.float32)
        rays[:, :3] = pose[:3, 3]
        rays[:, 3:] = (at_unit_depth / length[:, None]) @ pose[:3, :3].T.astype(np.float32)
        hits = first_hits(scenes, rays)
        surface = rays[:, :3] + hits.distance[:, None] * rays[:, 3:]
        colour = shade(hits, surface, scenes, lighting, rng)

        depth = hits.distance / length
        lost = self._too_dark(hits, depth, rng) | self._hidden(scenes, pose, surface, hits)
        depth[lost] = np.nan
        depth, labels, scene = self._with_edge_errors(depth, hits, rng)
        depth = self._quantised(depth, rng)
        labels[np.isnan(depth)] = UNLABELLED
        return Capture(at_unit_depth * depth[:, None], colour, labels, scene)

    def _too_dark(
        self, hits: Hits, depth: Array, rng: np.random.Generator
    ) -> npt.NDArray[np.bool_]:
        """Return which pixels receive too little light, or drop out at random, [N] bool."""
        with np.errstate(divide="ignore", invalid="ignore"):
            grazing = hits.cos_incidence**2 / (hits.cos_incidence**2 + self.grazing**2)
            light = hits.reflectance * grazing * (self.reach / depth) ** 2
        chance = 0.5 * (self._patches(rng, 1.2) + self._patches(rng, 5.0))
        return (chance > 1.0 - np.exp(-light)) | (self._patches(rng, 2.0) < self.dropout)

    def _hidden(
        self, scenes: Sequence[Scene], pose: npt.NDArray[np.float64], surface: Array, hits: Hits
    ) -> npt.NDArray[np.bool_]:
        """Return which surface points are hidden from the second camera, [N] bool."""
        second_camera = (pose[:3, 3] + self.baseline * pose[:3, 0]).astype(np.float32)
        hit = np.flatnonzero(np.isfinite(hits.distance))
        starts = np.tile(second_camera, (len(hit), 1))
        hidden = np.zeros(len(surface), dtype=bool)
        for scene in scenes:
            hidden[hit] |= scene.occluded(starts, surface[hit])
        return hidden

    def _with_edge_errors(
        self, depth: Array, hits: Hits, rng: np.random.Generator
    ) -> tuple[Array, npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
        """Return depth, labels and scenes with displaced edges, holes and flying pixels."""
        shape = (self.height, self.width)
        rows, columns = np.indices(shape)
        shifts = [
            np.rint(self.ragged * _smooth(rng.normal(size=shape), 1.5)).astype(int)
            for _ in range(2)
        ]
        source = np.ravel_multi_index(
            (rows + shifts[0], columns + shifts[1]), shape, mode="clip"
        ).ravel()
        # Pixels shift at edges only: on a slope, a shift would add noise that real depth lacks.
        known = np.nan_to_num(depth, nan=0.0, posinf=0.0)
        across_edge = np.abs(known[source] - known) > _EDGE * known
        source = np.where(across_edge, source, np.arange(depth.size))
        depth = depth[source]
        image = np.nan_to_num(depth, nan=0.0).reshape(shape)
        far = maximum_filter(image, 3).ravel()
        near = minimum_filter(np.where(image > 0, image, np.inf), 3).ravel()
        edge = np.isfinite(near) & (far - near > _EDGE * far)
        near[~edge] = 0.0
        chance = rng.random(len(depth), dtype=np.float32)
        flies = edge & (chance < self.flying) & ~np.isnan(depth)
        share = rng.random(len(depth), dtype=np.float32)
        depth[flies] = (near + share * (far - near))[flies]
        depth[edge & (self._patches(rng, 1.2) < self.edge_loss)] = np.nan
        return depth, hits.labels[source], hits.scene[source]

    def _quantised(self, depth: Array, rng: np.random.Generator) -> Array:
        """Return depth from noisy, quantised disparity; NaN out of range."""
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
        """Return values uniform in 0 to 1, correlated over `size` pixels, [N]."""
        noise = _smooth(rng.normal(size=(self.height, self.width)), size)
        return np.asarray(ndtr(noise), dtype=np.float32).ravel()


def _smooth(noise: npt.NDArray[np.float64], size: float) -> npt.NDArray[np.float64]:
    """Return noise, smoothed over `size` pixels and scaled to a standard deviation of 1."""
    smooth = gaussian_filter(noise, size, mode="wrap", truncate=3.0)
    return np.asarray(smooth / smooth.std())


def get_camera(name: str | Path) -> DepthCamera:
    """Return a packaged depth camera, by name, or that of a YAML file, by path.

    Raises:
        SensorError: no such camera (the message lists the names) or file, or malformed content.
    """
    return read_sensor("camera", name, DepthCamera.from_dict)
