# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What a LiDAR drives through outdoors: static objects on a ground, and moving ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from minkowski_perception.lab.simulation import road_users
from minkowski_perception.lab.simulation.ground import Ground
from minkowski_perception.lab.simulation.meshes import Mesh
from minkowski_perception.lab.simulation.surfaces import Maker

HALF_WIDTH = 70.0
"""Metres from the centre line to the edge of the ground."""


@dataclass(frozen=True)
class Actor:
    """Object that moves at constant velocity in street coordinates.

    Attributes:
        gait: meshes of a cycle of motion, each shown for `step` metres.
        s, d: position at time 0.
        speed: (along s, along d), m/s.
        step: metres.
    """

    gait: tuple[Mesh, ...]
    s: float
    d: float
    speed: tuple[float, float]
    step: float = 0.35

    def at(self, time: float) -> tuple[float, float]:
        """Return the street coordinates s, d at a time in seconds."""
        return self.s + self.speed[0] * time, self.d + self.speed[1] * time

    def shape(self, time: float) -> Mesh:
        """Return the mesh at a time in seconds, at the origin."""
        travelled = float(np.hypot(*self.speed)) * time
        return self.gait[int(travelled / self.step) % len(self.gait)]


class Scenery:
    """Ground along a centre line, with the objects on it: what streets and parks have in common.

    Args:
        rng: generator of the objects.
        ground: maps street coordinates to x, y, z.
        length: metres.
        lane: d of the lane for traffic along s, in which the sensor may drive.
        sidewalks: d of the free lane on each sidewalk.

    Attributes:
        length, ground, lane, sidewalks: as above.
        static: mesh of all static objects, in the frame of the street.
        actors: moving objects.
    """

    static: Mesh
    actors: tuple[Actor, ...]

    def __init__(
        self,
        rng: np.random.Generator,
        ground: Ground,
        length: float,
        lane: float,
        sidewalks: list[float],
    ) -> None:
        self._rng = rng
        self.ground = ground
        self.length = length
        self.lane = lane
        self.sidewalks = sidewalks
        # Rectangles from s, d to s, d; the sensor's lanes stay free.
        free = [(lane, 1.3), *((d, 0.35) for d in sidewalks)]
        self._occupied = np.array([(0.0, d - half, length, d + half) for d, half in free])
        self._static_parts: list[Mesh] = [ground.mesh]
        self._density = rng.uniform(0.4, 1.6)

    def _place(self, mesh: Mesh, s: float, d: float, yaw: float = 0.0, sink: float = 0.0) -> None:
        """Place a mesh, unless its parts below 1.8 m would touch another object."""
        turned = mesh.moved(yaw=yaw)
        low = turned.vertices[turned.vertices[:, 2] < 1.8][:, :2]
        near, far = np.add(low.min(axis=0), (s, d)), np.add(low.max(axis=0), (s, d))
        taken = self._occupied
        touches = (taken[:, 0] < far[0]) & (taken[:, 2] > near[0])
        touches &= (taken[:, 1] < far[1]) & (taken[:, 3] > near[1])
        inside = 0.0 < s < self.length and abs(d) < HALF_WIDTH
        if touches.any() or not inside:
            return
        self._occupied = np.vstack([taken, [*near, *far]])
        offset = self.ground.position(s, d) - (0.0, 0.0, sink)
        self._static_parts.append(turned.moved(offset, float(self.ground.heading(s))))

    def _spaced_by_traffic(self, gap: tuple[float, float]) -> list[float]:
        """Draw positions s along the whole length, closer together in denser traffic."""
        gaps = self._rng.uniform(*gap, int(2 * self.length / gap[0])) / self._density
        return [float(s) for s in np.cumsum(gaps) if s < self.length]

    def _vehicle(self, maker: Maker, s: float, d: float, speed: float) -> Actor:
        """Draw a vehicle that drives along s, or against it at negative speed."""
        mesh = maker(self._rng).moved(yaw=0.0 if speed > 0 else np.pi)
        return Actor((mesh,), s, d + self._rng.normal(0, 0.12), (speed, 0.0))

    def _gait(self, yaw: float) -> tuple[Mesh, ...]:
        """Draw a person in four phases of a stride."""
        seed = int(self._rng.integers(1 << 31))
        return tuple(
            road_users.person(np.random.default_rng(seed), stride).moved(yaw=yaw)
            for stride in (-0.45, 0.0, 0.45, 0.0)
        )

    def moving(self, time: float, sensor: npt.NDArray[np.float64]) -> Mesh:
        """Return the mesh of all actors at a time, in the frame of the street.

        Args:
            time: seconds.
            sensor: [2] s, d of the sensor; actors that would collide with it are left out.
        """
        meshes = []
        for actor in self.actors:
            s, d = actor.at(time)
            # An actor that leaves at one end of the street enters at the other.
            s %= self.length
            mesh = actor.shape(time)
            extent = np.add(np.abs(mesh.vertices[:, :2]).max(axis=0), (4.0, 0.5))
            if (np.abs(sensor - (s, d)) > extent).any():
                offset = self.ground.position(s, d)
                meshes.append(mesh.moved(offset, float(self.ground.heading(s))))
        return Mesh.merge(meshes)
