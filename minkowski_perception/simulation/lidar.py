# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Spinning LiDARs: where their rays go, which of them come back, and with what noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from minkowski_perception.simulation.meshes import Mesh


class Scene:
    """A mesh made ready for ray casting."""

    def __init__(self, mesh: Mesh) -> None:
        """Index the triangles.

        Raises:
            ImportError: Open3D, or a system library that it needs, is missing.
        """
        o3d = _open3d()
        self.mesh = mesh
        # One thread, so that the index, and with it every tie between triangles, is the same.
        self._scene = o3d.t.geometry.RaycastingScene(nthreads=1)
        self._scene.add_triangles(o3d.core.Tensor(mesh.vertices), o3d.core.Tensor(mesh.triangles))

    def cast(
        self, rays: npt.NDArray[np.float32]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.uint32], npt.NDArray[np.float32]]:
        """First hits of [R, 6] rays (origin, unit direction).

        Returns:
            Distances [R] (infinite without a hit), triangles [R], surface normals [R, 3].
        """
        hits = self._scene.cast_rays(_open3d().core.Tensor(rays))
        return (
            hits["t_hit"].numpy(),
            hits["primitive_ids"].numpy(),
            hits["primitive_normals"].numpy(),
        )


def _open3d() -> Any:
    try:
        import open3d
    except ImportError as error:
        raise ImportError(
            f"the simulator casts rays with Open3D, which cannot be imported ({error}); "
            "install it with: pip install open3d-cpu; apt install libusb-1.0-0"
        ) from error
    return open3d


class Scan(NamedTuple):
    """What one turn of a LiDAR measured, in the order of time.

    Attributes:
        points: [N, 3] float32, metres, in the sensor's frame.
        intensity: [N] float32, 0 to 1.
        labels: [N] uint8.
        scenes: [N] uint8, which of the scenes each point lies on.
    """

    points: npt.NDArray[np.float32]
    intensity: npt.NDArray[np.float32]
    labels: npt.NDArray[np.uint8]
    scenes: npt.NDArray[np.uint8]


@dataclass(frozen=True)
class LidarModel:
    """A spinning LiDAR.

    Attributes:
        name: what options call it.
        elevations: of the beams, degrees, up is positive.
        azimuth_steps: firings in one turn.
        rate_hz: turns in a second.
        min_range, max_range: metres; what lies outside is not reported.
        range_noise: standard deviation, metres.
        reach: metres at which a white surface, seen face on, is missed once in e times.
        dropout: share of returns that is lost for no reason.
    """

    name: str
    elevations: tuple[float, ...]
    azimuth_steps: int
    rate_hz: float = 10.0
    min_range: float = 0.9
    max_range: float = 100.0
    range_noise: float = 0.02
    reach: float = 300.0
    dropout: float = 0.02

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

    def scan(
        self,
        scenes: Sequence[Scene],
        pose: npt.NDArray[np.float64],
        rng: np.random.Generator,
    ) -> Scan:
        """One turn, all of it seen from one pose, as if its motion were compensated.

        A return is the likelier, the brighter, the nearer and the less grazing its surface is.
        """
        directions = self.directions(rng.random())
        rays = np.empty((len(directions), 6), dtype=np.float32)
        rays[:, :3] = pose[:3, 3]
        rays[:, 3:] = directions @ pose[:3, :3].T.astype(np.float32)
        distance = np.full(len(rays), np.inf, dtype=np.float32)
        reflectance = np.zeros(len(rays), dtype=np.float32)
        facing = np.zeros(len(rays), dtype=np.float32)
        fuzz = np.zeros(len(rays), dtype=np.float32)
        labels, scene_of = np.zeros((2, len(rays)), dtype=np.uint8)
        for index, scene in enumerate(scenes):
            hit, triangle, normal = scene.cast(rays)
            nearer = np.flatnonzero(hit < distance)
            distance[nearer] = hit[nearer]
            scene_of[nearer] = index
            labels[nearer] = scene.mesh.labels[triangle[nearer]]
            reflectance[nearer] = scene.mesh.reflectances[triangle[nearer]]
            fuzz[nearer] = scene.mesh.fuzz[triangle[nearer]]
            facing[nearer] = np.abs(np.sum(rays[nearer, 3:] * normal[nearer], axis=1))

        brightness = reflectance * (0.2 + 0.8 * facing)
        seen = 1.0 - np.exp(-brightness * (self.reach / np.maximum(distance, 1.0)) ** 2)
        returned = rng.random(len(rays)) < (1.0 - self.dropout) * seen
        # What stands out from a surface stops grazing rays well before it.
        distance -= rng.random(len(rays), np.float32) * fuzz / np.maximum(facing, 0.15)
        distance += rng.normal(0.0, self.range_noise, len(rays)).astype(np.float32)
        returned &= (distance >= self.min_range) & (distance <= self.max_range)

        kept = np.flatnonzero(returned)
        glow = reflectance[kept] * (0.7 + 0.3 * facing[kept]) * np.exp(-distance[kept] / 150.0)
        glow += rng.normal(0.0, 0.03, len(kept)) + rng.normal(0.0, 0.1, len(kept)) * glow
        return Scan(
            points=directions[kept] * distance[kept, None],
            intensity=np.clip(glow, 0.0, 1.0).astype(np.float32),
            labels=labels[kept],
            scenes=scene_of[kept],
        )


def _steps(start: float, stop: float, count: int) -> tuple[float, ...]:
    return tuple(float(angle) for angle in np.linspace(start, stop, count))


# Beam angles from the makers' manuals: Velodyne VLP-16, VLP-32C, HDL-64E, Hesai Pandar64, Ouster.
LIDARS = {
    model.name: model
    for model in (
        LidarModel("vlp16", _steps(-15, 15, 16), 900, range_noise=0.02, min_range=0.5),
        LidarModel(
            "vlp32",
            (
                *(-25, -15.639, -11.31, -8.843, -7.254, -6.148, -5.333, -4.667, -4),
                *_steps(-3.667, 1.667, 17),
                *(2.333, 3.333, 4.667, 7, 10.333, 15),
            ),
            900,
            max_range=150.0,
        ),
        LidarModel("hdl64", _steps(-24.9, -8.87, 32) + _steps(-8.33, 2, 32), 1024, max_range=80.0),
        LidarModel(
            "pandar64",
            (-25, -19, *_steps(-14, -7, 8), *_steps(-6, 2, 49), 3, 5, 8, 11, 15),
            1800,
            max_range=150.0,
        ),
        LidarModel("os1_64", _steps(-22.5, 22.5, 64), 1024, min_range=0.5, reach=220.0),
    )
}


def get_lidar(name: str) -> LidarModel:
    """Look up a LiDAR by its name.

    Raises:
        ValueError: there is none; the message lists those that there are.
    """
    if name not in LIDARS:
        raise ValueError(f"unknown lidar '{name}'; choose one of {', '.join(LIDARS)}")
    return LIDARS[name]
