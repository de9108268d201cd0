# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Random rooms: walls with doors and windows, furniture, people and lamps.

The origin is on the floor at the centre of the room; z is up; units are metres.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from minkowski_perception.lab.simulation import furniture, materials
from minkowski_perception.lab.simulation.furniture import Maker
from minkowski_perception.lab.simulation.materials import Rng
from minkowski_perception.lab.simulation.meshes import (
    Material,
    Mesh,
    Paint,
    box,
    cylinder,
    ellipsoid,
    tube,
)
from minkowski_perception.lab.simulation.people import person
from minkowski_perception.lab.simulation.shading import Lamp, Lighting

Point = npt.NDArray[np.float64]

_SIZES = {
    # ranges of width, depth and height
    "room": ((2.8, 7.5), (2.8, 6.5), (2.3, 3.2)),
    "corridor": ((7.0, 22.0), (1.5, 3.2), (2.3, 3.2)),
    "hall": ((10.0, 24.0), (8.0, 18.0), (3.2, 8.0)),
}
KINDS = tuple(_SIZES)

_DOOR_CLEARANCE = 0.95
"""Metres in front of a door that stay free."""

_SENSOR_CLEARANCE = 0.35
"""Metres between the path of a sensor and the furniture."""


class Opening(NamedTuple):
    """Door or window in a wall: its extent along the wall, x0 to x1, and in height, z0 to z1."""

    x0: float
    x1: float
    z0: float
    z1: float
    door: bool


@dataclass(frozen=True)
class Wall:
    """Wall of a room.

    The wall's frame has x along the wall, its inner face at y = 0 and the room at y < 0.

    Attributes:
        length: metres along the wall.
        distance: distance from the centre of the room, metres.
        yaw: rotation from the wall's frame to the room's, radians.
    """

    length: float
    distance: float
    yaw: float

    def at(self, along: float, inwards: float = 0.0) -> Point:
        """Return x, y of a point `along` the wall from its middle and `inwards` of it, [2]."""
        cosine, sine = np.cos(self.yaw), np.sin(self.yaw)
        y = self.distance - inwards
        return np.array([cosine * along - sine * y, sine * along + cosine * y])

    def to_room(self, mesh: Mesh) -> Mesh:
        """Return a mesh of the wall's frame in the frame of the room."""
        return mesh.moved((*self.at(0.0), 0.0), self.yaw)


@dataclass(frozen=True)
class Walker:
    """Person who walks back and forth on a straight path.

    Attributes:
        gait: meshes of a stride, facing x, each shown for `step` metres.
        start, end: [2] ends of the path.
        speed: m/s.
        step: metres.
    """

    gait: tuple[Mesh, ...]
    start: Point
    end: Point
    speed: float
    step: float = 0.3

    def shape(self, time: float) -> tuple[Mesh, Point]:
        """Return the mesh in the frame of the room, and its x, y, at a time in seconds."""
        length = float(np.linalg.norm(self.end - self.start))
        travelled = self.speed * time
        in_cycle = travelled % (2 * length)
        share = min(in_cycle, 2 * length - in_cycle) / length
        position = self.start + share * (self.end - self.start)
        ahead = (self.end - self.start) * (1 if in_cycle < length else -1)
        mesh = self.gait[int(travelled / self.step) % len(self.gait)]
        return mesh.moved((*position, 0.0), float(np.arctan2(ahead[1], ahead[0]))), position


class Room:
    """Random room: static mesh, walkers, lighting, and free paths for a sensor.

    The same seed and kind give the same room, bit for bit.

    Args:
        seed: seed of the room.
        kind: one of `KINDS`.

    Attributes:
        size: [3] width (x), depth (y), height.
        static: mesh of all static objects.
        walkers: people who walk.
        targets: [S, 3] tops of the objects in the room.
        lighting: lamps and the exposure of a camera.

    Raises:
        ValueError: unknown kind; the message lists the valid ones.
    """

    def __init__(self, seed: int, kind: str = "room") -> None:
        if kind not in _SIZES:
            raise ValueError(f"unknown room '{kind}'; choose one of {', '.join(KINDS)}")
        self._rng = rng = np.random.default_rng([seed, 10 + KINDS.index(kind)])
        self.kind = kind
        self.size = np.array([rng.uniform(*span) for span in _SIZES[kind]])
        width, depth, self._height = (float(x) for x in self.size)
        self._walls = [
            Wall(width, depth / 2, 0.0),
            Wall(width, depth / 2, np.pi),
            Wall(depth, width / 2, np.pi / 2),
            Wall(depth, width / 2, -np.pi / 2),
        ]
        # Rectangles from x, y to x, y.
        self._occupied = np.zeros((0, 4))
        self._parts: list[Mesh] = []
        self.targets = np.zeros((0, 3))
        self._lamps: list[Lamp] = []
        self._build_walls()
        self._place_lamps()
        self._place_furniture()
        self.static = Mesh.merge(self._parts)
        self.walkers = self._draw_walkers()
        warm = rng.uniform(0.85, 1.15)
        self.lighting = Lighting(
            tuple(self._lamps[:3]),
            ambient=rng.uniform(0.25, 0.9),
            tint=(warm, 1.0, 1.0 / warm),
            brightness=rng.uniform(0.3, 0.6),
            noise=rng.uniform(0.005, 0.03),
        )

    # Walls and openings ----------------------------------------------------------------------

    def _build_walls(self) -> None:
        """Build the floor, the ceiling, the walls and, behind openings, an outer wall."""
        rng, height = self._rng, self._height
        around = rng.uniform(1.3, 3.0)
        broad = self.size[:2] + 2 * around + 1.0
        self._parts += [
            box(materials.floor(rng), (0, 0, -0.05), (*broad, 0.1)),
            box(materials.ceiling(rng), (0, 0, height + 0.05), (*broad, 0.1)),
        ]
        plaster, outside = materials.wall(rng), materials.wall(rng)
        thick = rng.uniform(0.1, 0.3)
        frame, leaf = (
            materials.wood_or_lacquer(rng, "wall"),
            materials.wood_or_lacquer(rng, "wall"),
        )
        with_windows = rng.random(4) < (0.45 if self.kind != "corridor" else 0.2)
        skirting = materials.wood_or_lacquer(rng, "wall") if rng.random() < 0.6 else None
        for wall, windows in zip(self._walls, with_windows, strict=True):
            material = plaster if rng.random() < 0.85 else materials.wall(rng)
            openings = self._openings(wall, bool(windows))
            edges = [-wall.length / 2 - thick, wall.length / 2 + thick]
            for opening in openings:
                edges[-1:-1] = [opening.x0, opening.x1]
            parts = [
                box(material, ((a + b) / 2, thick / 2, height / 2), (b - a, thick, height))
                for a, b in zip(edges[::2], edges[1::2], strict=True)
            ]
            if skirting:
                parts += [
                    box(skirting, ((a + b) / 2, 0, 0.04), (b - a, 0.025, 0.08))
                    for a, b in zip(edges[::2], edges[1::2], strict=True)
                ]
            for x0, x1, z0, z1, door in openings:
                x, wide = (x0 + x1) / 2, x1 - x0
                above, below = (z1 + height) / 2, z0 / 2
                parts.append(box(material, (x, thick / 2, above), (wide, thick, height - z1)))
                if z0 > 0:
                    parts.append(box(material, (x, thick / 2, below), (wide, thick, z0)))
                draw = self._door if door else self._window
                parts.append(draw(wide, z1 - z0, thick, frame, leaf).moved((x, 0.0, z0)))
                if door:
                    self._reserve(wall, x, wide / 2, _DOOR_CLEARANCE)
                elif z0 < 0.3:
                    self._reserve(wall, x, wide / 2, 0.3)
            parts += self._wall_objects(wall, openings)
            parts.append(box(outside, (0, around + thick, height / 2), (broad.max(), 0.1, height)))
            self._parts.append(wall.to_room(Mesh.merge(parts)))
        self._place_structure(plaster)

    def _openings(self, wall: Wall, windows: bool) -> list[Opening]:
        """Draw doors and, if `windows`, windows along a wall, from one end to the other."""
        rng, openings = self._rng, []
        x = -wall.length / 2 + rng.uniform(0.25, 1.5)
        top = min(rng.uniform(1.98, 2.15), self._height - 0.1)
        door = 0.35 if self.kind == "room" else 0.45
        sill = rng.choice([rng.uniform(0.75, 1.1), 0.05], p=[0.8, 0.2])
        lintel = min(self._height - 0.15, rng.uniform(2.0, 2.6) + 0.3 * (self._height - 2.3))
        while x < wall.length / 2 - 0.3:
            wide = rng.uniform(0.75, 1.0) * (1.8 if rng.random() < 0.15 else 1.0)
            if rng.random() < door and x + wide < wall.length / 2 - 0.15:
                openings.append(Opening(x, x + wide, 0.0, top, True))
                door *= 0.6
            else:
                wide = rng.uniform(0.7, 2.4)
                if windows and x + wide < wall.length / 2 - 0.15:
                    openings.append(Opening(x, x + wide, sill, lintel, False))
            x += wide + rng.uniform(0.3, 2.0)
        return openings

    def _door(
        self,
        wide: float,
        high: float,
        thick: float,
        frame: Material,
        leaf: Material,
    ) -> Mesh:
        """Draw a door in its opening: shut, open inwards or outwards, or only its frame."""
        rng = self._rng
        parts = [
            box(frame, (side * (wide / 2 + 0.02), thick / 2, high / 2), (0.06, thick + 0.03, high))
            for side in (-1, 1)
        ]
        parts.append(box(frame, (0, thick / 2, high + 0.02), (wide + 0.1, thick + 0.03, 0.06)))
        state = rng.choice(["shut", "in", "out", "none"], p=[0.55, 0.15, 0.15, 0.15])
        if state == "none":
            return Mesh.merge(parts)
        width, hinge = wide - 0.06, rng.choice([-1.0, 1.0])
        knob = materials.metal(rng, "wall")
        door = [
            box(leaf, (width / 2, 0.02, high / 2), (width, 0.04, high - 0.02)),
            box(knob, (width - 0.1, 0.02, 1.02), (0.12, 0.13, 0.025)),
        ]
        if rng.random() < 0.2:
            door.append(box(materials.sky(rng), (width / 2, 0.02, 1.5), (0.5 * width, 0.042, 0.7)))
        angle = 0.0 if state == "shut" else rng.uniform(0.3, 1.7) * (-1 if state == "in" else 1)
        swung = Mesh.merge(door).moved(yaw=angle)
        if hinge > 0:
            swung.vertices[:, 0] *= -1  # hinges on the other side
        y = 0.0 if state == "in" else thick - 0.05 if state == "out" else rng.uniform(0.0, 0.06)
        return Mesh.merge([*parts, swung.moved((hinge * width / 2, y, 0.0))])

    def _window(
        self,
        wide: float,
        high: float,
        thick: float,
        frame: Material,
        leaf: Material,
    ) -> Mesh:
        """Draw a window in its opening: panes, sill, and perhaps a blind or curtains."""
        rng, y = self._rng, 0.75 * thick
        parts = [box(materials.sky(rng), (0, y, high / 2), (wide, 0.01, high))]
        panes = max(round(wide / rng.uniform(0.6, 1.2)), 1)
        parts += [
            box(frame, (x, y, high / 2), (0.06, 0.06, high))
            for x in np.linspace(-wide / 2 + 0.03, wide / 2 - 0.03, panes + 1)
        ]
        parts += [box(frame, (0, y, z), (wide, 0.06, 0.06)) for z in (0.03, high - 0.03)]
        parts.append(box(leaf, (0, 0.3 * thick, -0.01), (wide + 0.1, thick + 0.1, 0.03)))
        if rng.random() < 0.25:
            drop = rng.uniform(0.2, 1.0) * high
            cloth = materials.cloth(rng, "wall")  # a blind: flat, so labelled as wall
            parts.append(box(cloth, (0, 0.03, high - drop / 2), (wide, 0.02, drop)))
        if rng.random() < 0.3:
            cloth, long = materials.cloth(rng, "other"), rng.uniform(0.2, 0.5) * wide
            for side in (-1, 1):
                at = side * (wide / 2 - long / 2 + 0.15)
                parts.append(_curtain(rng, cloth, long, high + 0.15).moved((at, -0.1, -0.1)))
        return Mesh.merge(parts)

    def _wall_objects(self, wall: Wall, openings: list[Opening]) -> list[Mesh]:
        """Draw pictures, boards and heaters on the free parts of a wall."""
        rng, parts = self._rng, []
        for x in np.arange(-wall.length / 2 + 0.6, wall.length / 2 - 0.6, rng.uniform(0.9, 2.5)):
            wide, high = rng.uniform((0.2, 0.2), (1.2, 1.0))
            free = all(
                x + wide / 2 < opening.x0 - 0.1 or x - wide / 2 > opening.x1 + 0.1
                for opening in openings
            )
            if not free or rng.random() < 0.5:
                continue
            kind = rng.choice(["picture", "board", "heater"], p=[0.55, 0.25, 0.2])
            if kind == "picture":
                rim, art = (
                    materials.wood_or_lacquer(rng, "wall"),
                    materials.ceramic_or_paper(rng, "wall"),
                )
                z = rng.uniform(1.3, 1.7)
                parts.append(box(rim, (x, -0.01, z), (wide, 0.025, high)))
                parts.append(box(art, (x, -0.024, z), (wide - 0.06, 0.004, high - 0.06)))
            elif kind == "board":
                white = materials.lacquer(rng, "wall")
                parts.append(box(white, (x, -0.012, 1.5), (max(wide, 0.8), 0.025, max(high, 0.6))))
            else:
                material = materials.lacquer(rng, "other")
                heater = furniture.radiator(materials.derived_rng(rng), material, max(wide, 0.5))
                parts.append(heater.moved((x, 0.0, 0.0)))
                self._reserve(wall, float(x), wide / 2, 0.12)
        return parts

    def _place_structure(self, plaster: Material) -> None:
        """Place columns, beams or a chimney breast."""
        rng = self._rng
        half = self.size[:2] / 2
        if self.kind == "hall" and rng.random() < 0.7:
            gap, wide = rng.uniform(4.0, 7.0), rng.uniform(0.25, 0.6)
            material = plaster if rng.random() < 0.5 else materials.wall(rng)
            tall = rng.random() < 0.5
            for x in np.arange(-half[0] + gap, half[0] - 2.0, gap):
                for y in np.arange(-half[1] + gap, half[1] - 2.0, gap):
                    if tall:
                        ends = (x, y, 0), (x, y, self._height)
                        column = cylinder(material, *ends, wide / 2, sides=18)
                    else:
                        column = box(
                            material, (x, y, self._height / 2), (wide, wide, self._height)
                        )
                    self._place(column, np.zeros(2), 0.0)
        elif rng.random() < 0.25:
            corner = half * rng.choice([-1, 1], 2)
            wide = rng.uniform(0.3, 0.8)
            block = box(plaster, (*corner, self._height / 2), (wide, wide, self._height))
            self._place(block, np.zeros(2), 0.0, margin=-1.0)
        if rng.random() < 0.25:
            material = materials.ceiling(rng)
            deep = rng.uniform(0.1, 0.35)
            for x in np.arange(-half[0] + rng.uniform(0.3, 1.5), half[0], rng.uniform(0.8, 3.0)):
                centre = (x, 0, self._height - deep / 2)
                size = (rng.uniform(0.1, 0.3), 2 * half[1], deep)
                self._parts.append(box(material, centre, size))

    def _place_lamps(self) -> None:
        """Place lamps at the ceiling and, in half of the rooms, one with the tint of daylight."""
        rng, half, z = self._rng, self.size[:2] / 2, self._height
        tint = materials.colour(rng, (0.08, 0.14), (0.0, 0.3), (0.95, 1.0))
        shine = materials.make_material("ceiling", Paint((1, 1, 1), (1, 1, 0.95)), 0.8)
        pendant = rng.random() < 0.3 and z < 4.0
        shade = materials.lacquer(rng, "other")
        apart = rng.uniform(1.8, 3.5) * (1.0 if self.kind != "hall" else 1.6)
        counts = np.maximum((self.size[:2] / apart).astype(int), 1)
        positions = [
            (float(x), float(y))
            for x in (np.arange(counts[0]) - (counts[0] - 1) / 2) * apart
            for y in (np.arange(counts[1]) - (counts[1] - 1) / 2) * apart
        ]
        for x, y in positions:
            if pendant:
                low = z - rng.uniform(0.4, 0.9)
                self._parts.append(tube(shade, [(x, y, low), (x, y, z)], 0.01, sides=4))
                self._parts.append(ellipsoid(shade, (x, y, low), (0.17, 0.17, 0.12), 8, 14))
            else:
                panel = rng.choice([0.6, 1.2]), rng.choice([0.15, 0.6])
                self._parts.append(box(shine, (x, y, z - 0.02), (*panel, 0.05)))
        for k in rng.permutation(len(positions))[:2]:
            x, y = positions[k]
            lamp = Lamp((x, y, z - 0.35), rng.uniform(1.0, 4.0) * (z / 2.5) ** 2, tint)
            self._lamps.append(lamp)
        if rng.random() < 0.5:
            position = (*(half * rng.uniform(-0.8, 0.8, 2)), rng.uniform(1.2, 2.2))
            self._lamps.append(Lamp(position, rng.uniform(1.0, 4.0), (0.9, 0.95, 1.0)))

    # Placing ---------------------------------------------------------------------------------

    def _reserve(self, wall: Wall, along: float, half: float, depth: float) -> None:
        """Keep a strip of the floor along a wall free of furniture."""
        corners = [wall.at(along - half), wall.at(along + half, depth)]
        self._occupied = np.vstack(
            [self._occupied, [*np.min(corners, axis=0), *np.max(corners, axis=0)]]
        )

    def _place(
        self, mesh: Mesh, position: npt.ArrayLike, yaw: float, margin: float = 0.02
    ) -> bool:
        """Place a mesh in the room, unless it would touch an object or a wall.

        Returns:
            Whether the mesh was placed.
        """
        turned = mesh.moved((*np.asarray(position, dtype=float), 0.0), yaw)
        near, far = turned.vertices.min(axis=0)[:2], turned.vertices.max(axis=0)[:2]
        half = self.size[:2] / 2 - margin
        if (near < -half).any() or (far > half).any() or self._blocked(near, far, 0.03):
            return False
        self._occupied = np.vstack([self._occupied, [*near, *far]])
        top = min(float(turned.vertices[:, 2].max()), 1.5)
        self.targets = np.vstack([self.targets, [*(near + far) / 2, top]])
        self._parts.append(turned)
        return True

    def _blocked(self, near: npt.ArrayLike, far: npt.ArrayLike, margin: float) -> bool:
        low, high = np.asarray(near) - margin, np.asarray(far) + margin
        taken = self._occupied
        touches = (taken[:, :2] < high).all(axis=1) & (taken[:, 2:] > low).all(axis=1)
        return bool(touches.any())

    # Furniture and people --------------------------------------------------------------------

    def _place_furniture(self) -> None:
        rng = self._rng
        area = self.size[0] * self.size[1]
        if self.kind == "corridor":
            self._place_along_walls(rng.uniform(0.05, 0.4), 0.65)
        else:
            groups = {"room": rng.integers(1, 4), "hall": rng.integers(2, 9)}[self.kind]
            if rng.random() < 0.6:
                self._place_along_walls(rng.uniform(0.2, 0.8), 1.2)
                self._place_groups(int(groups))
            else:
                self._place_groups(int(groups))
                self._place_along_walls(rng.uniform(0.2, 0.8), 1.2)
        loose: tuple[Maker, ...] = (
            furniture.carton, furniture.plant, furniture.bag, furniture.bin_,
            furniture.floor_lamp, furniture.stool, furniture.chair, furniture.office_chair,
        )  # fmt: skip
        for _ in range(int(rng.poisson(min(0.12 * area, 12.0)))):
            half = self.size[:2] / 2
            position = rng.uniform(-half, half)
            if rng.random() < 0.6:
                # Most loose objects are near a wall.
                axis = rng.integers(2)
                position[axis] = np.sign(position[axis]) * (half[axis] - rng.uniform(0.15, 0.5))
            maker = loose[rng.integers(len(loose))]
            self._place(maker(rng), position, rng.uniform(0, 2 * np.pi))
        for _ in range(int(rng.choice([0, 1, 2, 4], p=[0.45, 0.3, 0.15, 0.1]))):
            position = rng.uniform(-0.5, 0.5, 2) * self.size[:2]
            self._place(person(rng, rng.normal(0, 0.08)), position, rng.uniform(0, 2 * np.pi))

    def _place_along_walls(self, share: float, deepest: float) -> None:
        """Place furniture on a share of the walls' length, none deeper than `deepest` metres."""
        rng = self._rng
        makers: tuple[Maker, ...] = (
            furniture.cupboard, furniture.shelf, furniture.desk, furniture.sofa, furniture.table,
            furniture.fridge, furniture.bench, furniture.bed, furniture.plant, furniture.carton,
            furniture.kitchen,
        )  # fmt: skip
        shares = np.array([5, 4, 3, 2, 1, 1, 1.5, 0.7, 1, 1, 2])
        for wall in self._walls:
            x = -wall.length / 2 + rng.uniform(0.03, 0.5)
            while x < wall.length / 2 - 0.4:
                maker = makers[rng.choice(len(makers), p=shares / shares.sum())]
                mesh = maker(rng)
                low, top = mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)
                wide = float(top[0] - low[0])
                at = x - float(low[0])
                x += wide + rng.choice([0.01, rng.uniform(0.05, 0.6)])
                if rng.random() > share or top[1] - low[1] > deepest:
                    continue
                if top[2] < 1.3 and maker not in (furniture.sofa, furniture.bed, furniture.plant):
                    mesh = furniture.with_tabletop_objects(rng, mesh, 4)
                gap = float(rng.choice([0.005, rng.uniform(0.01, 0.12)]))
                position = wall.at(at, gap + float(mesh.vertices[:, 1].max()))
                placed = self._place(mesh, position, wall.yaw, margin=0.0)
                if placed and maker is furniture.desk:
                    in_front = wall.at(at + wide / 4, gap + float(top[1] - low[1]) + 0.35)
                    self._place_seat(in_front, wall.yaw + np.pi, furniture.office_chair)

    def _place_seat(
        self, position: Point, yaw: float, maker: Maker, occupied: float = 0.12
    ) -> None:
        """Place a seat (yaw 0 faces -y) and, with probability `occupied`, a person on it."""
        rng = self._rng
        yaw += rng.normal(0.0, 0.25)
        if self._place(maker(rng), position, yaw) and rng.random() < occupied:
            sitter = person(rng, seat=0.46)
            self._parts.append(sitter.moved((*position, 0.0), yaw - np.pi / 2))

    def _place_groups(self, count: int) -> None:
        """Place groups: tables with chairs, lounges, rows of desks or of shelves."""
        rng, half = self._rng, self.size[:2] / 2
        seed = int(rng.integers(1 << 31))
        maker = (furniture.chair, furniture.chair, furniture.office_chair, furniture.stool)[
            rng.integers(4)
        ]
        for _ in range(count):
            centre, yaw = rng.uniform(-0.75, 0.75, 2) * half, float(rng.choice([0, np.pi / 2]))
            kind = rng.choice(["table", "lounge", "desks", "shelves"], p=[0.5, 0.2, 0.2, 0.1])
            turn = np.array([[np.cos(yaw), -np.sin(yaw)], [np.sin(yaw), np.cos(yaw)]])
            if kind == "shelves" and self.kind == "hall":
                for x in np.arange(-3.0, 3.1, 1.7):
                    rack = furniture.shelf(np.random.default_rng(seed))
                    self._place(rack, centre + turn @ (x, 0.0), yaw)
            elif kind == "lounge":
                low = furniture.with_tabletop_objects(rng, furniture.coffee_table(rng), 2)
                if self._place(low, centre, yaw):
                    for offset, facing in (((0, 1.0), 0.0), ((0, -1.0), np.pi), ((1.2, 0), -1.57)):
                        if rng.random() < 0.7:
                            at = centre + turn @ offset
                            self._place_seat(at, yaw + facing, furniture.sofa, 0.2)
            else:
                for k in range(1 if kind == "table" else 3):
                    at = centre + turn @ (1.8 * k, 0.0)
                    board = (furniture.table if kind == "table" else furniture.desk)(rng)
                    laid = furniture.with_tabletop_objects(rng, board, 4)
                    self._place_table(laid, board, at, yaw, maker, seed)

    def _place_table(
        self, laid: Mesh, board: Mesh, position: Point, yaw: float, maker: Maker, seed: int
    ) -> None:
        """Place a table and identical seats around it.

        Args:
            laid: table with the objects on it.
            board: table without them, which gives the size.
            position: [2] x, y.
            yaw: radians.
            maker: maker of the seats.
            seed: seed of the seats.
        """
        rng = self._rng
        if not self._place(laid, position, yaw):
            return
        half = np.abs(board.vertices[:, :2]).max(axis=0)
        turn = np.array([[np.cos(yaw), -np.sin(yaw)], [np.sin(yaw), np.cos(yaw)]])
        each = max(int(2 * half[0] / 0.65), 1)
        across = (np.arange(each) - (each - 1) / 2) * 2 * half[0] / each
        tucked = rng.uniform(0.0, 0.35)
        seats = [((x, -half[1] - 0.35 + tucked / 2), np.pi) for x in across]
        seats += [((x, half[1] + 0.35 - tucked / 2), 0.0) for x in across]
        seats += [((-half[0] - 0.35, 0.0), np.pi / 2), ((half[0] + 0.35, 0.0), -np.pi / 2)]

        def same_seat(_: Rng) -> Mesh:
            return maker(np.random.default_rng(seed))

        for offset, facing in seats:
            if rng.random() < 0.7:
                self._place_seat(position + turn @ offset, yaw + facing, same_seat)

    # Motion ----------------------------------------------------------------------------------

    def _draw_walkers(self) -> tuple[Walker, ...]:
        rng, walkers = self._rng, []
        most = {"room": 3, "corridor": 4, "hall": 7}[self.kind]
        for _ in range(int(rng.integers(0, most))):
            start, end = self.free_path(rng, 0.3)
            if np.linalg.norm(end - start) < 0.8:
                continue
            seed = int(rng.integers(1 << 31))
            gait = tuple(
                person(np.random.default_rng(seed), stride)
                for stride in (-0.42, -0.2, 0.1, 0.42, 0.2, -0.1)
            )
            walkers.append(Walker(gait, start, end, rng.uniform(0.4, 1.4)))
        return tuple(walkers)

    def free_path(self, rng: Rng, clearance: float = _SENSOR_CLEARANCE) -> tuple[Point, Point]:
        """Draw a straight path free of obstacles.

        Args:
            rng: generator of the path.
            clearance: distance to all objects, metres.

        Returns:
            [2] x, y of both ends, which may coincide. In a room without free space, they are a
            random point.
        """
        half = self.size[:2] / 2 - clearance

        def free(point: Point) -> bool:
            return not self._blocked(point, point, clearance)

        ends = rng.uniform(-half, half, (200, 2))
        starts = [point for point in ends if free(point)]
        if not starts:
            return ends[0], ends[0]
        best = starts[0], starts[0]
        for end in starts[1:12]:
            length = float(np.linalg.norm(end - starts[0]))
            steps = np.linspace(starts[0], end, max(int(length / 0.15), 2))
            reached = next((k for k, point in enumerate(steps) if not free(point)), len(steps))
            if np.linalg.norm(steps[reached - 1] - starts[0]) > np.linalg.norm(best[1] - best[0]):
                best = starts[0], steps[reached - 1]
        return best

    def moving(self, time: float, sensor: Point) -> Mesh:
        """Return the mesh of all walkers at a time.

        Args:
            time: seconds.
            sensor: [2] x, y of the sensor; walkers that would collide with it are left out.
        """
        shapes = [walker.shape(time) for walker in self.walkers]
        return Mesh.merge([mesh for mesh, at in shapes if np.linalg.norm(at - sensor) > 0.6])


def _curtain(rng: Rng, cloth: Material, long: float, high: float) -> Mesh:
    """Draw a curtain with folds along x, `long` metres wide and `high` metres tall."""
    x = np.linspace(-long / 2, long / 2, 25)
    y = 0.04 * np.sin(x * rng.uniform(35, 60) + rng.uniform(0, 6))
    low, top = np.stack([x, y, 0 * x], axis=1), np.stack([x, y, 0 * x + high], axis=1)
    a = np.arange(24)
    triangles = np.concatenate(
        [np.stack([a, a + 1, a + 26], axis=1), np.stack([a, a + 26, a + 25], axis=1)]
    )
    return Mesh.of(cloth, np.concatenate([low, top]), triangles)
