# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Random parks, meadows and orchards: a path through grass, plants and a few people."""

from __future__ import annotations

import numpy as np

from minkowski_perception.lab.simulation import (
    buildings,
    plants,
    road_users,
    street_furniture,
    vehicles,
)
from minkowski_perception.lab.simulation.ground import Ground, Patch
from minkowski_perception.lab.simulation.meshes import Mesh
from minkowski_perception.lab.simulation.scenery import HALF_WIDTH, Actor, Scenery
from minkowski_perception.lab.simulation.surfaces import LABELS, Maker

_PATH = {
    # class: share of the paths, range of reflectance, range of roughness in metres
    "sidewalk": (0.35, (0.2, 0.6), (0.002, 0.012)),
    "road": (0.3, (0.1, 0.5), (0.002, 0.015)),
    "other-ground": (0.1, (0.15, 0.5), (0.01, 0.03)),
    "terrain": (0.25, (0.15, 0.5), (0.01, 0.05)),
}
_GRASS = (0.25, 0.65), (0.015, 0.12)
"""Ranges of the reflectance of grass, and of its roughness in metres."""

_LAYOUTS = ("scattered", "rows", "wood")
"""How trees stand."""


class Park(Scenery):
    """Random park; the same seed and length give the same park, bit for bit."""

    def __init__(self, seed: int, length: float = 250.0) -> None:
        self._rng = rng = np.random.default_rng([seed, 5])
        self.length = length
        self._half = half = float(rng.uniform(0.8, 3.5))
        names = list(_PATH)
        self._path = str(rng.choice(names, p=[_PATH[name][0] for name in names]))
        self._crossings = [
            (float(s - wide), float(s + wide))
            for s in np.arange(rng.uniform(20, 90), length, rng.uniform(40, 120))
            for wide in [rng.uniform(0.6, 2.0)]
        ]
        ground = Ground(rng, length, HALF_WIDTH, (-half, half), self._patches())
        spare = max(half - 0.6, 0.0)
        super().__init__(rng, ground, length, float(rng.uniform(-spare, spare)), [])
        crossings = [(s0, -HALF_WIDTH, s1, HALF_WIDTH) for s0, s1 in self._crossings]
        self._occupied = np.vstack([self._occupied, *crossings])
        self._place_beside_path()
        self._place_trees()
        self._place_low_plants()
        self._place_far()
        self.static = Mesh.merge(self._static_parts)
        self.actors = self._draw_actors()

    def _patches(self) -> list[Patch]:
        """Draw the grass, mown and tall, and the paths through it."""
        rng = self._rng

        def patch(name: str, extent: tuple[float, float, float, float], level: float) -> Patch:
            tones, bumps = _GRASS if name == "grass" else _PATH[name][1:]
            label = LABELS.names.index("terrain" if name == "grass" else name)
            return Patch(*extent, label, rng.uniform(*tones), level, rng.uniform(*bumps))

        patches = [patch("grass", (0.0, self.length, -HALF_WIDTH, HALF_WIDTH), 0.0)]
        for _ in range(rng.integers(0, 12)):
            s, d = rng.uniform(0, self.length), rng.uniform(-40, 40)
            long, wide = rng.uniform(5, 60), rng.uniform(2, 25)
            patches.append(patch("grass", (s, s + long, d, d + wide), rng.uniform(0.0, 0.1)))
        level = rng.uniform(-0.06, 0.02)
        for s0, s1 in self._crossings:
            patches.append(patch(self._path, (s0, s1, -HALF_WIDTH, HALF_WIDTH), level))
        if rng.random() < 0.3:
            start = self._half + rng.uniform(0.8, 8.0)
            end = start + rng.uniform(1.0, 2.5)
            low, high = (start, end) if rng.random() < 0.5 else (-end, -start)
            patches.append(patch("sidewalk", (0.0, self.length, low, high), level))
        patches.append(patch(self._path, (0.0, self.length, -self._half, self._half), level))
        return patches

    # Static objects --------------------------------------------------------------------------

    def _along(self, gap: tuple[float, float]) -> list[float]:
        """Draw positions s, `gap` metres (minimum, maximum) apart."""
        positions = np.cumsum(self._rng.uniform(*gap, int(self.length / gap[0]) + 2))
        return [float(s) for s in positions if s < self.length]

    def _scatter(
        self, maker: Maker, gap: tuple[float, float], near: float, far: float, sink: float = 0.0
    ) -> None:
        """Place objects on both sides, from `near` to `far` metres beside the path's edge."""
        rng = self._rng
        for s in self._along(gap):
            d = rng.choice([-1, 1]) * (self._half + rng.uniform(near, far))
            self._place(maker(rng), s, float(d), rng.uniform(0, 2 * np.pi), sink)

    def _place_beside_path(self) -> None:
        """Place benches, bins, posts, lamps, people, fences and hedges along the path."""
        rng = self._rng
        for sign in (-1, 1):
            edge, facing = sign * (self._half + rng.uniform(0.2, 1.0)), 0.0 if sign < 0 else np.pi
            for maker, gap, share in (
                (street_furniture.lamp_post, (14, 40), 0.4),
                (street_furniture.utility_pole, (25, 50), 0.15),
                (street_furniture.traffic_sign, (30, 120), 0.3),
                (street_furniture.post, (2, 30), 0.4),
            ):
                if rng.random() < share:
                    for s in self._along(gap):
                        self._place(maker(rng), s, edge, facing)
            if rng.random() < 0.35:
                out = sign * (self._half + rng.uniform(0.8, 6.0))
                length, fenced = rng.uniform(3, 9), rng.random() < 0.6
                for s in self._along((length + 0.1, length + 3.0)):
                    if fenced:
                        mesh = street_furniture.fence(rng, length)
                    else:
                        height, depth = rng.uniform((0.4, 0.4), (2.5, 1.2))
                        mesh = plants.hedge(rng, length, height, depth)
                    self._place(mesh, s, out)
        many = 1.0 / self._density
        self._scatter(street_furniture.clutter, (8 * many, 40 * many), 0.3, 12.0)
        self._scatter(street_furniture.structure, (40, 200), 1.0, 20.0)
        self._scatter(street_furniture.barrier, (40, 200), 0.5, 20.0)
        self._scatter(road_users.bicycle, (20 * many, 100 * many), 0.3, 8.0)
        self._scatter(road_users.person, (8 * many, 30 * many), 0.3, 20.0)
        if rng.random() < 0.4:
            self._scatter(vehicles.car, (20, 120), 1.5, 30.0)
            self._scatter(vehicles.truck, (40, 200), 2.0, 30.0)
            self._scatter(vehicles.other_vehicle, (60, 250), 2.0, 30.0)

    def _place_trees(self) -> None:
        rng = self._rng
        layout = rng.choice(_LAYOUTS, p=[0.5, 0.25, 0.25])
        if layout == "rows":
            apart, spacing = rng.uniform(3.0, 8.0), rng.uniform(3.0, 8.0)
            grown = plants.tree if rng.random() < 0.6 else plants.thicket
            rows = self._half + rng.uniform(1.0, 4.0) + apart * np.arange(rng.integers(1, 4))
            for d in (*rows, *-rows):
                for s in self._along((spacing, spacing + 1.0)):
                    at = float(d + rng.normal(0, 0.15))
                    self._place(grown(rng), s, at, rng.uniform(0, 2 * np.pi), 0.05)
            return
        gap = (0.7, 2.5) if layout == "wood" else (2.0, 9.0)
        self._scatter(plants.tree, gap, 1.0, 25.0, 0.05)
        if layout == "wood":
            self._scatter(plants.bush, (2.0, 5.0), 0.5, 20.0, 0.05)

    def _place_low_plants(self) -> None:
        """Place bushes, thickets and tall grass."""
        rng = self._rng
        bare = rng.uniform(0.3, 1.8)
        self._scatter(plants.bush, (2 * bare, 8 * bare), 0.3, 25.0, 0.05)
        self._scatter(plants.thicket, (4 * bare, 20 * bare), 2.0, 35.0, 0.05)

        def tall_grass(rng: np.random.Generator) -> Mesh:
            return plants.bed(rng, rng.uniform(2.0, 7.0), rng.uniform(1.0, 4.0))

        if rng.random() < 0.7:
            self._scatter(tall_grass, (2 * bare, 10 * bare), 1.5, 20.0)

    def _place_far(self) -> None:
        """Place trees and a few buildings far from the path."""
        rng = self._rng
        self._scatter(plants.tree, (2, 8), 20.0, 60.0, 0.05)
        if rng.random() < 0.5:
            for s in self._along((30, 150)):
                width, depth, height = rng.uniform((8, 8, 3), (25, 14, 12))
                house = buildings.building(rng, width, depth, height, rng.random() < 0.6)
                sign = float(rng.choice([-1, 1]))
                self._place(house, s, sign * rng.uniform(20, 55), 0.0 if sign > 0 else np.pi)

    # Moving objects --------------------------------------------------------------------------

    def _draw_actors(self) -> tuple[Actor, ...]:
        rng = self._rng
        actors: list[Actor] = []
        for s in self._spaced_by_traffic((10, 40)):
            d = float(rng.uniform(-self._half - 0.3, self._half + 0.3))
            pace = float(rng.choice([-1, 1])) * rng.uniform(0.7, 2.5)
            if rng.random() < 0.25:
                actors.append(self._vehicle(road_users.bicyclist, s, d, 2.5 * pace))
            else:
                actors.append(Actor(self._gait(0.0 if pace > 0 else np.pi), s, d, (pace, 0.0)))
        for s in self._spaced_by_traffic((20, 80)):
            d, yaw = rng.uniform(-20, 20), rng.uniform(0, 2 * np.pi)
            pace = rng.uniform(0.5, 2.0)
            speed = float(pace * np.cos(yaw)), float(pace * np.sin(yaw))
            actors.append(Actor(self._gait(yaw), s, float(d), speed))
        if self._path == "road" and self._half > 1.5 and rng.random() < 0.5:
            makers = (vehicles.car, vehicles.truck, vehicles.other_vehicle)
            for s in self._spaced_by_traffic((40, 150)):
                maker = makers[rng.choice(3, p=[0.6, 0.25, 0.15])]
                actors.append(self._vehicle(maker, s, 0.0, float(rng.uniform(1.5, 7.0))))
        return tuple(actors)
