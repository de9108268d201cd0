# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""LiDAR models: ray directions, returns and their noise."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.spatial.transform import Rotation, Slerp

from minkowski_perception.lab.simulation.scene import Hits, Scene, first_hits
from minkowski_perception.lab.simulation.sensors import read_sensor

_STEPS = 10
"""Time steps of a skewed sweep. In each, the world is static and the sensor moves uniformly."""


class Scan(NamedTuple):
    """Points of one sweep of a LiDAR, in the order of time.

    Attributes:
        points: [N, 3] float32, metres, in the sensor's frame.
        intensity: [N] float32, 0 to 1, see `Response`.
        labels: [N] uint8.
        scenes: [N] uint8, index of the scene that each point lies on.
        time: [N] float32, seconds from the start of the sweep.
    """

    points: npt.NDArray[np.float32]
    intensity: npt.NDArray[np.float32]
    labels: npt.NDArray[np.uint8]
    scenes: npt.NDArray[np.uint8]
    time: npt.NDArray[np.float32]


class Rosette(NamedTuple):
    """Non-repetitive petal pattern of two counter-rotating prisms.

    Attributes:
        turns: revolutions per second of each prism; negative for reverse rotation.
        deflection: angle in degrees by which each prism deflects the ray.
        points: rays per second.
    """

    turns: tuple[float, float]
    deflection: float
    points: int


class Response(NamedTuple):
    """How a LiDAR turns the light of a return into intensity.

    The ranges of `draw` contain the HDL-64E of SemanticKITTI, the HDL-32E of nuScenes and the
    Pandar64 of PandaSet: their roads have a median intensity of 0.25, 0.05 and 0.02, and their
    cars, which reflect most light away from the sensor, 0.

    Attributes:
        gain: intensity of a white surface close by, at normal incidence.
        dark: share of `gain` that is subtracted; darker returns have intensity 0.
        grazing: share of intensity that is lost at grazing incidence.
        fade: range in metres over which intensity falls to 1 / e.
        beams: standard deviation of the logarithm of each beam's factor.
        seed: seed of these factors.
    """

    gain: float = 1.0
    dark: float = 0.0
    grazing: float = 0.3
    fade: float = 150.0
    beams: float = 0.0
    seed: int = 0

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Response:
        """Draw the response of one LiDAR."""
        return cls(
            gain=float(np.exp(rng.uniform(*np.log((0.2, 1.4))))),
            dark=rng.uniform(0.0, 0.07) * (rng.random() < 0.7),
            grazing=rng.uniform(0.1, 0.7),
            fade=float(np.exp(rng.uniform(*np.log((40.0, 300.0))))),
            beams=rng.uniform(0.0, 0.3) * (rng.random() < 0.6),
            seed=int(rng.integers(1 << 31)),
        )

    def intensity(
        self,
        reflectance: npt.NDArray[np.float32],
        cos_incidence: npt.NDArray[np.float32],
        distance: npt.NDArray[np.float32],
        beam: npt.NDArray[np.integer],
        rng: np.random.Generator,
    ) -> npt.NDArray[np.float32]:
        """Return the intensity of N returns, 0 to 1 in steps of 1 / 255.

        Args:
            reflectance: [N]; the light of retro-reflectors, above 1, saturates a sensitive sensor.
            cos_incidence: [N].
            distance: [N] metres.
            beam: [N] index of the beam of each return.
            rng: generator of the noise.
        """
        angle = 1.0 - self.grazing * (1.0 - cos_incidence)
        exact = reflectance * angle * np.exp(-distance / self.fade)
        noise = rng.normal(0.0, 0.03, len(exact)), rng.normal(0.0, 0.1, len(exact))
        count = int(beam.max(initial=0)) + 1
        factors = np.exp(np.random.default_rng(self.seed).normal(0.0, self.beams, count))
        measured = self.gain * factors[beam] * (exact + noise[0] + noise[1] * exact - self.dark)
        steps = np.rint(measured.clip(0.0, 1.0) * 255.0)
        return np.asarray(steps / 255.0, dtype=np.float32)


_PLAIN = Response()


@dataclass(frozen=True)
class LidarModel:
    """LiDAR model: spinning, or with a rosette scan pattern around x.

    Attributes:
        name: name of the model, as options select it.
        elevations: elevation of each beam of a spinning LiDAR, degrees, positive upwards.
        azimuth_steps: firings per revolution of a spinning LiDAR.
        rate_hz: sweeps per second.
        min_range, max_range: metres; returns outside are not reported.
        range_noise: standard deviation, metres.
        reach: range in metres at which a white surface at normal incidence returns with
            probability 1 - 1/e.
        dropout: share of returns that are lost at random.
        divergence: full angle of a beam, degrees; a beam at an edge hits two surfaces.
        pulse: pulse length in metres. Two surfaces in a beam that are closer than this give one
            return between them; otherwise the stronger one returns.
        rosette: scan pattern of a LiDAR that does not spin.
    """

    name: str
    elevations: tuple[float, ...] = ()
    azimuth_steps: int = 0
    rate_hz: float = 10.0
    min_range: float = 0.9
    max_range: float = 100.0
    range_noise: float = 0.02
    reach: float = 300.0
    dropout: float = 0.02
    divergence: float = 0.0
    pulse: float = 0.5
    rosette: Rosette | None = None

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> LidarModel:
        """Build a model from the content of its YAML file.

        Each item of `elevations` is a number, or {from, to, count} for evenly spaced ones.

        Raises:
            KeyError, TypeError, ValueError: the mapping does not describe a LiDAR.
        """
        values = dict(data)
        values["elevations"] = tuple(
            float(angle)
            for item in values.get("elevations", ())
            for angle in (
                np.linspace(item["from"], item["to"], item["count"])
                if isinstance(item, dict)
                else [item]
            )
        )
        if rosette := values.get("rosette"):
            values["rosette"] = Rosette(**{**rosette, "turns": tuple(rosette["turns"])})
        model = cls(**values)
        if (model.rosette is None) != bool(model.elevations and model.azimuth_steps > 0):
            raise ValueError("needs either elevations and azimuth_steps, or a rosette")
        return model

    def directions(self, phase: float = 0.0) -> npt.NDArray[np.float32]:
        """Return ray directions of one revolution, clockwise from the rear.

        Args:
            phase: delay of all firings, as a share of an azimuth step.

        Returns:
            [azimuth_steps * beams, 3] float32 unit vectors, firing by firing.
        """
        azimuth = np.pi - (np.arange(self.azimuth_steps) + phase) * 2 * np.pi / self.azimuth_steps
        elevation = np.radians(self.elevations)[None, :]
        azimuth = azimuth[:, None]
        axes = (
            np.cos(elevation) * np.cos(azimuth),
            np.cos(elevation) * np.sin(azimuth),
            np.sin(elevation) * np.ones_like(azimuth),
        )
        return np.stack(axes, axis=-1).reshape(-1, 3).astype(np.float32)

    def sweep(
        self, index: int = 0, phase: float = 0.0
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float64]]:
        """Return directions and times of the rays of a sweep.

        Args:
            index: index of the sweep; only a rosette depends on it.
            phase: as in `directions`; of a rosette, a share of the interval between rays.

        Returns:
            [N, 3] float32 unit vectors; [N] float64 seconds from the start of the sweep.
        """
        if self.rosette is None:
            firing = np.arange(self.azimuth_steps) / (self.azimuth_steps * self.rate_hz)
            return self.directions(phase), np.repeat(firing, len(self.elevations))
        turns, deflection, points = self.rosette
        time = np.arange(round(points / self.rate_hz)) / points
        angles = 2 * np.pi * np.outer(turns, index / self.rate_hz + time + phase / points)
        # Deflections add up as small angles do: in the plane normal to the axis.
        deflected = np.radians(deflection) * np.stack([np.cos(angles), np.sin(angles)]).sum(axis=1)
        off_axis = np.hypot(*deflected)
        across = deflected * np.sinc(off_axis / np.pi)
        return np.stack([np.cos(off_axis), *across], axis=1).astype(np.float32), time

    def scan(
        self,
        scenes: Sequence[Scene],
        pose: npt.NDArray[np.float64],
        rng: np.random.Generator,
        index: int = 0,
        response: Response = _PLAIN,
    ) -> Scan:
        """Return a sweep measured from a single pose, like one after motion compensation.

        Bright and near surfaces return more often than dark and far ones, normal incidence more
        often than grazing incidence.

        Args:
            scenes: scenes that the rays are cast into.
            pose: [4, 4] pose of the sensor in the frame of the scenes.
            rng: generator of the noise.
            index: index of the sweep.
            response: of the sensor to light.
        """
        directions, time = self.sweep(index, rng.random())
        rays = np.empty((len(directions), 6), dtype=np.float32)
        rays[:, :3] = pose[:3, 3]
        rays[:, 3:] = directions @ pose[:3, :3].T.astype(np.float32)
        return self._measure(directions, time, self._cast_beams(scenes, rays, rng), rng, response)

    def scan_moving(
        self,
        scenes_at: Callable[[float], Sequence[Scene]],
        pose_at: Callable[[float], npt.NDArray[np.float64]],
        start: float,
        rng: np.random.Generator,
        index: int = 0,
        response: Response = _PLAIN,
    ) -> Scan:
        """Return a sweep skewed by the motion of the sensor and of the world.

        Args:
            scenes_at: gives the scenes at a time in seconds.
            pose_at: gives the [4, 4] pose of the sensor in the frame of the scenes at a time.
            start: time of the start of the sweep.
            rng: generator of the noise.
            index: index of the sweep.
            response: of the sensor to light.
        """
        directions, time = self.sweep(index, rng.random())
        progress = time * self.rate_hz * _STEPS
        step_of_ray = np.minimum(progress, _STEPS - 1).astype(int)
        borders = start + np.arange(_STEPS + 1) / (_STEPS * self.rate_hz)
        poses = np.stack([pose_at(float(border)) for border in borders])
        hits_of_steps: list[Hits] = []
        for step in range(_STEPS):
            in_step = step_of_ray == step
            shares, of_ray = np.unique(progress[in_step] - step, return_inverse=True)
            (x0, x1), turns = poses[step : step + 2, :3, 3], poses[step : step + 2, :3, :3]
            turned = Slerp([0, 1], Rotation.from_matrix(turns))(shares.clip(0, 1)).as_matrix()
            rays = np.empty((len(of_ray), 6), dtype=np.float32)
            rays[:, :3] = (x0 + shares[:, None] * (x1 - x0))[of_ray]
            rays[:, 3:] = np.einsum("rij,rj->ri", turned[of_ray], directions[in_step])
            scenes = scenes_at(float(borders[step] + borders[step + 1]) / 2)
            hits_of_steps.append(self._cast_beams(scenes, rays, rng))
        hits = Hits(*(np.concatenate(parts) for parts in zip(*hits_of_steps, strict=True)))
        return self._measure(directions, time, hits, rng, response)

    def _cast_beams(
        self, scenes: Sequence[Scene], rays: npt.NDArray[np.float32], rng: np.random.Generator
    ) -> Hits:
        """Return the hits of beams: of their axes or, where beams diverge, of a second ray too."""
        hits = first_hits(scenes, rays)
        if not self.divergence:
            return hits
        beside = rays.copy()
        # The full angle is four standard deviations: a Gaussian beam drops to 1 / e^2 there.
        beside[:, 3:] += rng.normal(0.0, np.radians(self.divergence) / 4, (len(rays), 3))
        beside[:, 3:] /= np.linalg.norm(beside[:, 3:], axis=1, keepdims=True)
        others = first_hits(scenes, beside)
        share = rng.random(len(rays), np.float32)
        with np.errstate(invalid="ignore"):
            between = hits.distance + share * (others.distance - hits.distance)
            merged = np.abs(others.distance - hits.distance) <= self.pulse
            stronger = _brightness(hits) / hits.distance**2 >= (
                _brightness(others) / others.distance**2
            )
        returned = hits.where(np.where(merged, share < 0.5, stronger), others)
        return returned._replace(distance=np.where(merged, between, returned.distance))

    def _measure(
        self,
        directions: npt.NDArray[np.float32],
        time: npt.NDArray[np.float64],
        hits: Hits,
        rng: np.random.Generator,
        response: Response,
    ) -> Scan:
        """Return the scan of hits: detected returns, with noise on range and intensity."""
        distance = hits.distance.copy()
        detected = 1.0 - np.exp(-_brightness(hits) * (self.reach / np.maximum(distance, 1.0)) ** 2)
        returned = rng.random(len(distance)) < (1.0 - self.dropout) * detected
        # At grazing incidence, blades and leaves stop rays far before the surface.
        depth = rng.random(len(distance), np.float32) * hits.scatter_depth
        distance -= depth / np.maximum(hits.cos_incidence, 0.15)
        distance += rng.normal(0.0, self.range_noise, len(distance)).astype(np.float32)
        returned &= (distance >= self.min_range) & (distance <= self.max_range)

        kept = np.flatnonzero(returned)
        intensity = response.intensity(
            hits.reflectance[kept],
            hits.cos_incidence[kept],
            distance[kept],
            kept % max(len(self.elevations), 1),
            rng,
        )
        return Scan(
            points=directions[kept] * distance[kept, None],
            intensity=intensity,
            labels=hits.labels[kept],
            scenes=hits.scene[kept],
            time=time[kept].astype(np.float32),
        )


def _brightness(hits: Hits) -> npt.NDArray[np.float32]:
    """Return the share of light that each hit reflects to the sensor, [R]."""
    return hits.reflectance * (0.2 + 0.8 * hits.cos_incidence)


def get_lidar(name: str | Path) -> LidarModel:
    """Return a packaged LiDAR model, by name, or that of a YAML file, by path.

    Raises:
        SensorError: no such model (the message lists the names) or file, or malformed content.
    """
    return read_sensor("lidar", name, LidarModel.from_dict)
