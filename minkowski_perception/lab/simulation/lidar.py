# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""LiDARs: where their rays go, which of them come back, and with what noise."""

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

_SPANS = 10
"""Parts of a turn in each of which the world stands still, and the sensor moves evenly."""


class Scan(NamedTuple):
    """What one turn of a LiDAR measured, in the order of time.

    Attributes:
        points: [N, 3] float32, metres, in the sensor's frame.
        intensity: [N] float32, 0 to 1.
        labels: [N] uint8.
        scenes: [N] uint8, which of the scenes each point lies on.
        time: [N] float32, seconds from the start of the turn.
    """

    points: npt.NDArray[np.float32]
    intensity: npt.NDArray[np.float32]
    labels: npt.NDArray[np.uint8]
    scenes: npt.NDArray[np.uint8]
    time: npt.NDArray[np.float32]


class Rosette(NamedTuple):
    """Two prisms that turn against each other and draw petals, never the same ones twice.

    Attributes:
        turns: of each prism, in a second; backwards where negative.
        deflection: degrees by which each prism bends the ray.
        points: rays in a second.
    """

    turns: tuple[float, float]
    deflection: float
    points: int


@dataclass(frozen=True)
class LidarModel:
    """A LiDAR: one that spins, or one that draws a rosette around x.

    Attributes:
        name: what options call it.
        elevations: of the beams of one that spins, degrees, up is positive.
        azimuth_steps: its firings in one turn.
        rate_hz: turns, or clouds, in a second.
        min_range, max_range: metres; what lies outside is not reported.
        range_noise: standard deviation, metres.
        reach: metres at which a white surface, seen face on, is missed once in e times.
        dropout: share of returns that is lost for no reason.
        divergence: degrees from side to side of a beam; at an edge it meets two surfaces.
        pulse: metres within which two surfaces in one beam return as one, somewhere between them;
            of two further apart the stronger returns.
        rosette: where rays go if not along elevations.
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
        """Build a model from what its YAML says.

        Elevations are numbers, or evenly spaced ones: {from, to, count}.

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
            raise ValueError("either elevations and azimuth_steps, or a rosette")
        return model

    def directions(self, phase: float = 0.0) -> npt.NDArray[np.float32]:
        """[azimuth_steps * beams, 3] unit vectors, clockwise from the rear, firing by firing.

        Args:
            phase: share of an azimuth step by which all firings are late.
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
        self, turn: int = 0, phase: float = 0.0
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float64]]:
        """Where the rays of a turn go, and when.

        Args:
            turn: how many came before; only a rosette depends on it.
            phase: as in `directions`.

        Returns:
            [N, 3] unit vectors; [N] seconds from the start of the turn.
        """
        if self.rosette is None:
            firing = np.arange(self.azimuth_steps) / (self.azimuth_steps * self.rate_hz)
            return self.directions(phase), np.repeat(firing, len(self.elevations))
        turns, deflection, points = self.rosette
        time = np.arange(round(points / self.rate_hz)) / points
        angles = 2 * np.pi * np.outer(turns, turn / self.rate_hz + time + phase / points)
        # The deflections add up in the plane across the axis, as small angles do.
        aside = np.radians(deflection) * np.stack([np.cos(angles), np.sin(angles)]).sum(axis=1)
        off = np.hypot(*aside)
        across = aside * np.sinc(off / np.pi)
        return np.stack([np.cos(off), *across], axis=1).astype(np.float32), time

    def scan(
        self,
        scenes: Sequence[Scene],
        pose: npt.NDArray[np.float64],
        rng: np.random.Generator,
        turn: int = 0,
    ) -> Scan:
        """One turn, all of it seen from one pose, as if its motion were compensated.

        A return is the likelier, the brighter, the nearer and the less grazing its surface is.
        """
        directions, time = self.sweep(turn, rng.random())
        rays = np.empty((len(directions), 6), dtype=np.float32)
        rays[:, :3] = pose[:3, 3]
        rays[:, 3:] = directions @ pose[:3, :3].T.astype(np.float32)
        return self._measure(directions, time, self._see(scenes, rays, rng), rng)

    def scan_moving(
        self,
        scenes_at: Callable[[float], Sequence[Scene]],
        pose_at: Callable[[float], npt.NDArray[np.float64]],
        start: float,
        rng: np.random.Generator,
        turn: int = 0,
    ) -> Scan:
        """One turn in which the sensor and the world go on moving: skewed, as it is measured.

        Args:
            scenes_at: the scenes at a time, seconds.
            pose_at: the [4, 4] pose of the sensor in them at a time.
            start: of the turn.
            rng: draws the noise.
            turn: how many came before.
        """
        directions, time = self.sweep(turn, rng.random())
        progress = time * self.rate_hz * _SPANS
        span = np.minimum(progress, _SPANS - 1).astype(int)
        borders = start + np.arange(_SPANS + 1) / (_SPANS * self.rate_hz)
        poses = np.stack([pose_at(float(border)) for border in borders])
        seen: list[Hits] = []
        for index in range(_SPANS):
            shares, of_ray = np.unique(progress[span == index] - index, return_inverse=True)
            (x0, x1), turns = poses[index : index + 2, :3, 3], poses[index : index + 2, :3, :3]
            turned = Slerp([0, 1], Rotation.from_matrix(turns))(shares.clip(0, 1)).as_matrix()
            rays = np.empty((len(of_ray), 6), dtype=np.float32)
            rays[:, :3] = (x0 + shares[:, None] * (x1 - x0))[of_ray]
            rays[:, 3:] = np.einsum("rij,rj->ri", turned[of_ray], directions[span == index])
            scenes = scenes_at(float(borders[index] + borders[index + 1]) / 2)
            seen.append(self._see(scenes, rays, rng))
        hits = Hits(*(np.concatenate(parts) for parts in zip(*seen, strict=True)))
        return self._measure(directions, time, hits, rng)

    def _see(
        self, scenes: Sequence[Scene], rays: npt.NDArray[np.float32], rng: np.random.Generator
    ) -> Hits:
        """Hits of beams: of their axes, and of a ray beside it where they diverge."""
        hits = first_hits(scenes, rays)
        if not self.divergence:
            return hits
        beside = rays.copy()
        # Four standard deviations from side to side: where a Gaussian beam is down to 1 / e^2.
        beside[:, 3:] += rng.normal(0.0, np.radians(self.divergence) / 4, (len(rays), 3))
        beside[:, 3:] /= np.linalg.norm(beside[:, 3:], axis=1, keepdims=True)
        others = first_hits(scenes, beside)
        share = rng.random(len(rays), np.float32)
        with np.errstate(invalid="ignore"):
            between = hits.distance + share * (others.distance - hits.distance)
            joined = np.abs(others.distance - hits.distance) <= self.pulse
            stronger = _brightness(hits) / hits.distance**2 >= (
                _brightness(others) / others.distance**2
            )
        returned = hits.where(np.where(joined, share < 0.5, stronger), others)
        return returned._replace(distance=np.where(joined, between, returned.distance))

    def _measure(
        self,
        directions: npt.NDArray[np.float32],
        time: npt.NDArray[np.float64],
        hits: Hits,
        rng: np.random.Generator,
    ) -> Scan:
        distance = hits.distance.copy()
        seen = 1.0 - np.exp(-_brightness(hits) * (self.reach / np.maximum(distance, 1.0)) ** 2)
        returned = rng.random(len(distance)) < (1.0 - self.dropout) * seen
        # What stands out from a surface stops grazing rays well before it.
        stands_out = rng.random(len(distance), np.float32) * hits.fuzz
        distance -= stands_out / np.maximum(hits.facing, 0.15)
        distance += rng.normal(0.0, self.range_noise, len(distance)).astype(np.float32)
        returned &= (distance >= self.min_range) & (distance <= self.max_range)

        kept = np.flatnonzero(returned)
        fade = np.exp(-distance[kept] / 150.0)
        glow = hits.reflectance[kept] * (0.7 + 0.3 * hits.facing[kept]) * fade
        glow = glow + rng.normal(0.0, 0.03, len(kept)) + rng.normal(0.0, 0.1, len(kept)) * glow
        return Scan(
            points=directions[kept] * distance[kept, None],
            intensity=np.clip(glow, 0.0, 1.0).astype(np.float32),
            labels=hits.labels[kept],
            scenes=hits.scene[kept],
            time=time[kept].astype(np.float32),
        )


def _brightness(hits: Hits) -> npt.NDArray[np.float32]:
    return hits.reflectance * (0.2 + 0.8 * hits.facing)


def get_lidar(name: str | Path) -> LidarModel:
    """Look up a LiDAR by its name, or read it from a YAML file by its path.

    Raises:
        SensorError: there is none (the message lists those that there are), or it is malformed.
    """
    return read_sensor("lidar", name, LidarModel.from_dict)
