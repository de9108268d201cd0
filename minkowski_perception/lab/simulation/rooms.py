# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Rooms at random: walls with doors and windows, furniture, people, lamps.

The origin is on the floor in the middle of the room; z is up, in metres.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from minkowski_perception.lab.simulation import finishes, furniture
from minkowski_perception.lab.simulation.finishes import Rng
from minkowski_perception.lab.simulation.furniture import Maker
from minkowski_perception.lab.simulation.meshes import Mesh, Paint, box, cylinder, ellipsoid, tube
from minkowski_perception.lab.simulation.people import person
from minkowski_perception.lab.simulation.shading import Lamp, Lighting

Point = npt.NDArray[np.float64]

_SIZES = {
    # width, depth, height from and to
    "room": ((2.8, 7.5), (2.8, 6.5), (2.3, 3.2)),
    "corridor": ((7.0, 22.0), (1.5, 3.2), (2.3, 3.2)),
    "hall": ((10.0, 24.0), (8.0, 18.0), (3.2, 8.0)),
}
KINDS = tuple(_SIZES)

_SWING = 0.95
"""Metres before a door that stay free."""

_ROBOT = 0.35
"""Metres that a sensor or somebody who walks keeps from what stands around."""


class Opening(NamedTuple):
    """A door or window in a wall: from and to along it, from and to in height."""

    x0: float
    x1: float
    z0: float
    z1: float
    door: bool


@dataclass(frozen=True)
class Side:
    """One side of a room.

    Attributes:
        length: metres along the wall.
        distance: of the wall from the room's middle.
        yaw: turns what looks to -y so that it looks from the wall into the room.
    """

    length: float
    distance: float
    yaw: float

    def at(self, along: float, inwards: float = 0.0) -> Point:
        """[2] x, y of a place along the wall (0 is its middle) and in front of it."""
        cosine, sine = np.cos(self.yaw), np.sin(self.yaw)
        y = self.distance - inwards
        return np.array([cosine * along - sine * y, sine * along + cosine * y])

    def place(self, mesh: Mesh) -> Mesh:
        """Take a mesh from the wall's frame (inner face at y = 0, room at y < 0) to the room's."""
        return mesh.moved((*self.at(0.0), 0.0), self.yaw)


@dataclass(frozen=True)
class Walker:
    """Somebody who walks to and fro.

    Attributes:
        gait: shapes of a stride, `step` metres each, looking along x.
        start, end: [2] of the way.
        speed: metres a second.
    """

    gait: tuple[Mesh, ...]
    start: Point
    end: Point
    speed: float
    step: float = 0.3

    def shape(self, time: float) -> tuple[Mesh, Point]:
        """Tell what it looks like, in place, and [2] where that is, at a time in seconds."""
        length = float(np.linalg.norm(self.end - self.start))
        way = self.speed * time
        there = way % (2 * length) < length
        share = min(way % (2 * length), 2 * length - way % (2 * length)) / length
        place = self.start + share * (self.end - self.start)
        ahead = (self.end - self.start) * (1 if there else -1)
        mesh = self.gait[int(way / self.step) % len(self.gait)]
        return mesh.moved((*place, 0.0), float(np.arctan2(ahead[1], ahead[0]))), place


class Room:
    """A room: what stands still, who moves, and where a sensor can go.

    The same seed and kind make the same room, to the bit.

    Args:
        seed: draws all of it.
        kind: one of `KINDS`.

    Attributes:
        size: [3] width (x), depth (y), height.
        static: the mesh of all that stands still.
        walkers: who moves.
        sights: [S, 3] tops of what stands around.
        lighting: the lamps, and how a camera takes their light.

    Raises:
        ValueError: there is no such kind; the message lists those that there are.
    """

    def __init__(self, seed: int, kind: str = "room") -> None:
        if kind not in _SIZES:
            raise ValueError(f"unknown room '{kind}'; choose one of {', '.join(KINDS)}")
        self._rng = rng = np.random.default_rng([seed, 10 + KINDS.index(kind)])
        self.kind = kind
        self.size = np.array([rng.uniform(*span) for span in _SIZES[kind]])
        width, depth, self._height = (float(x) for x in self.size)
        self._sides = [
            Side(width, depth / 2, 0.0),
            Side(width, depth / 2, np.pi),
            Side(depth, width / 2, np.pi / 2),
            Side(depth, width / 2, -np.pi / 2),
        ]
        # From x, y to x, y.
        self._taken = np.zeros((0, 4))
        self._parts: list[Mesh] = []
        self.sights = np.zeros((0, 3))
        self._lamps: list[Lamp] = []
        self._build()
        self._light()
        self._furnish()
        self.static = Mesh.merge(self._parts)
        self.walkers = self._populate()
        warm = rng.uniform(0.85, 1.15)
        self.lighting = Lighting(
            tuple(self._lamps[:3]),
            ambient=rng.uniform(0.25, 0.9),
            tint=(warm, 1.0, 1.0 / warm),
            brightness=rng.uniform(0.3, 0.6),
            noise=rng.uniform(0.005, 0.03),
        )

    # The shell -------------------------------------------------------------------------------

    def _build(self) -> None:
        rng, height = self._rng, self._height
        around = rng.uniform(1.3, 3.0)
        broad = self.size[:2] + 2 * around + 1.0
        self._parts += [
            box(finishes.floor(rng), (0, 0, -0.05), (*broad, 0.1)),
            box(finishes.ceiling(rng), (0, 0, height + 0.05), (*broad, 0.1)),
        ]
        plaster, outside = finishes.wall(rng), finishes.wall(rng)
        thick = rng.uniform(0.1, 0.3)
        frame, leaf = finishes.finish(rng, "wall"), finishes.finish(rng, "wall")
        with_windows = rng.random(4) < (0.45 if self.kind != "corridor" else 0.2)
        skirting = finishes.finish(rng, "wall") if rng.random() < 0.6 else None
        for side, windows in zip(self._sides, with_windows, strict=True):
            stuff = plaster if rng.random() < 0.85 else finishes.wall(rng)
            openings = self._openings(side, bool(windows))
            edges = [-side.length / 2 - thick, side.length / 2 + thick]
            for opening in openings:
                edges[-1:-1] = [opening.x0, opening.x1]
            parts = [
                box(stuff, ((a + b) / 2, thick / 2, height / 2), (b - a, thick, height))
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
                parts.append(box(stuff, (x, thick / 2, above), (wide, thick, height - z1)))
                if z0 > 0:
                    parts.append(box(stuff, (x, thick / 2, below), (wide, thick, z0)))
                hung = self._door if door else self._window
                parts.append(hung(wide, z1 - z0, thick, frame, leaf).moved((x, 0.0, z0)))
                if door:
                    self._take(side, x, wide / 2, 0.0, _SWING)
                elif z0 < 0.3:
                    self._take(side, x, wide / 2, 0.0, 0.3)
            parts += self._hangings(side, openings)
            parts.append(box(outside, (0, around + thick, height / 2), (broad.max(), 0.1, height)))
            self._parts.append(side.place(Mesh.merge(parts)))
        self._structure(plaster)

    def _openings(self, side: Side, windows: bool) -> list[Opening]:
        """Doors and windows along a wall, from its beginning on."""
        rng, openings = self._rng, []
        x = -side.length / 2 + rng.uniform(0.25, 1.5)
        top = min(rng.uniform(1.98, 2.15), self._height - 0.1)
        door = 0.35 if self.kind == "room" else 0.45
        sill = rng.choice([rng.uniform(0.75, 1.1), 0.05], p=[0.8, 0.2])
        lintel = min(self._height - 0.15, rng.uniform(2.0, 2.6) + 0.3 * (self._height - 2.3))
        while x < side.length / 2 - 0.3:
            wide = rng.uniform(0.75, 1.0) * (1.8 if rng.random() < 0.15 else 1.0)
            if rng.random() < door and x + wide < side.length / 2 - 0.15:
                openings.append(Opening(x, x + wide, 0.0, top, True))
                door *= 0.6
            else:
                wide = rng.uniform(0.7, 2.4)
                if windows and x + wide < side.length / 2 - 0.15:
                    openings.append(Opening(x, x + wide, sill, lintel, False))
            x += wide + rng.uniform(0.3, 2.0)
        return openings

    def _door(
        self,
        wide: float,
        high: float,
        thick: float,
        frame: finishes.Material,
        leaf: finishes.Material,
    ) -> Mesh:
        """Draw a door in its opening: shut, ajar into the room or outwards, or only its frame."""
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
        knob = finishes.metal(rng, "wall")
        door = [
            box(leaf, (width / 2, 0.02, high / 2), (width, 0.04, high - 0.02)),
            box(knob, (width - 0.1, 0.02, 1.02), (0.12, 0.13, 0.025)),
        ]
        if rng.random() < 0.2:
            door.append(box(finishes.sky(rng), (width / 2, 0.02, 1.5), (0.5 * width, 0.042, 0.7)))
        angle = 0.0 if state == "shut" else rng.uniform(0.3, 1.7) * (-1 if state == "in" else 1)
        swung = Mesh.merge(door).moved(yaw=angle)
        if hinge > 0:
            swung.vertices[:, 0] *= -1  # it hangs on the other side
        y = 0.0 if state == "in" else thick - 0.05 if state == "out" else rng.uniform(0.0, 0.06)
        return Mesh.merge([*parts, swung.moved((hinge * width / 2, y, 0.0))])

    def _window(
        self,
        wide: float,
        high: float,
        thick: float,
        frame: finishes.Material,
        leaf: finishes.Material,
    ) -> Mesh:
        """Draw a window in its opening: panes, sill, and perhaps a blind, a curtain, a heater."""
        rng, y = self._rng, 0.75 * thick
        parts = [box(finishes.sky(rng), (0, y, high / 2), (wide, 0.01, high))]
        panes = max(round(wide / rng.uniform(0.6, 1.2)), 1)
        parts += [
            box(frame, (x, y, high / 2), (0.06, 0.06, high))
            for x in np.linspace(-wide / 2 + 0.03, wide / 2 - 0.03, panes + 1)
        ]
        parts += [box(frame, (0, y, z), (wide, 0.06, 0.06)) for z in (0.03, high - 0.03)]
        parts.append(box(leaf, (0, 0.3 * thick, -0.01), (wide + 0.1, thick + 0.1, 0.03)))
        if rng.random() < 0.25:
            drop = rng.uniform(0.2, 1.0) * high
            cloth = finishes.cloth(rng, "wall")  # it hangs flat
            parts.append(box(cloth, (0, 0.03, high - drop / 2), (wide, 0.02, drop)))
        if rng.random() < 0.3:
            cloth, long = finishes.cloth(rng, "other"), rng.uniform(0.2, 0.5) * wide
            for side in (-1, 1):
                at = side * (wide / 2 - long / 2 + 0.15)
                parts.append(_curtain(rng, cloth, long, high + 0.15).moved((at, -0.1, -0.1)))
        return Mesh.merge(parts)

    def _hangings(self, side: Side, openings: list[Opening]) -> list[Mesh]:
        """Pictures, boards, heaters and switches where the wall is free."""
        rng, parts = self._rng, []
        for x in np.arange(-side.length / 2 + 0.6, side.length / 2 - 0.6, rng.uniform(0.9, 2.5)):
            wide, high = rng.uniform((0.2, 0.2), (1.2, 1.0))
            free = all(
                x + wide / 2 < opening.x0 - 0.1 or x - wide / 2 > opening.x1 + 0.1
                for opening in openings
            )
            if not free or rng.random() < 0.5:
                continue
            kind = rng.choice(["picture", "board", "heater"], p=[0.55, 0.25, 0.2])
            if kind == "picture":
                rim, art = finishes.finish(rng, "wall"), finishes.stone(rng, "wall")
                z = rng.uniform(1.3, 1.7)
                parts.append(box(rim, (x, -0.01, z), (wide, 0.025, high)))
                parts.append(box(art, (x, -0.024, z), (wide - 0.06, 0.004, high - 0.06)))
            elif kind == "board":
                white = finishes.lacquer(rng, "wall")
                parts.append(box(white, (x, -0.012, 1.5), (max(wide, 0.8), 0.025, max(high, 0.6))))
            else:
                stuff = finishes.lacquer(rng, "other")
                heater = furniture.radiator(finishes.aside(rng), stuff, max(wide, 0.5))
                parts.append(heater.moved((x, 0.0, 0.0)))
                self._take(side, float(x), wide / 2, 0.0, 0.12)
        return parts

    def _structure(self, plaster: finishes.Material) -> None:
        """Columns, beams, a chimney breast."""
        rng = self._rng
        half = self.size[:2] / 2
        if self.kind == "hall" and rng.random() < 0.7:
            gap, wide = rng.uniform(4.0, 7.0), rng.uniform(0.25, 0.6)
            stuff = plaster if rng.random() < 0.5 else finishes.wall(rng)
            tall = rng.random() < 0.5
            for x in np.arange(-half[0] + gap, half[0] - 2.0, gap):
                for y in np.arange(-half[1] + gap, half[1] - 2.0, gap):
                    if tall:
                        ends = (x, y, 0), (x, y, self._height)
                        column = cylinder(stuff, *ends, wide / 2, sides=18)
                    else:
                        column = box(stuff, (x, y, self._height / 2), (wide, wide, self._height))
                    self._stand(column, np.zeros(2), 0.0)
        elif rng.random() < 0.25:
            corner = half * rng.choice([-1, 1], 2)
            wide = rng.uniform(0.3, 0.8)
            block = box(plaster, (*corner, self._height / 2), (wide, wide, self._height))
            self._stand(block, np.zeros(2), 0.0, margin=-1.0)
        if rng.random() < 0.25:
            stuff = finishes.ceiling(rng)
            deep = rng.uniform(0.1, 0.35)
            for x in np.arange(-half[0] + rng.uniform(0.3, 1.5), half[0], rng.uniform(0.8, 3.0)):
                place = (x, 0, self._height - deep / 2)
                self._parts.append(box(stuff, place, (rng.uniform(0.1, 0.3), 2 * half[1], deep)))

    def _light(self) -> None:
        """Lamps at the ceiling, and light from outside."""
        rng, half, z = self._rng, self.size[:2] / 2, self._height
        tint = finishes.colour(rng, (0.08, 0.14), (0.0, 0.3), (0.95, 1.0))
        shine = finishes.material("ceiling", Paint((1, 1, 1), (1, 1, 0.95)), 0.8)
        pendant = rng.random() < 0.3 and z < 4.0
        shade = finishes.lacquer(rng, "other")
        apart = rng.uniform(1.8, 3.5) * (1.0 if self.kind != "hall" else 1.6)
        counts = np.maximum((self.size[:2] / apart).astype(int), 1)
        places = [
            (float(x), float(y))
            for x in (np.arange(counts[0]) - (counts[0] - 1) / 2) * apart
            for y in (np.arange(counts[1]) - (counts[1] - 1) / 2) * apart
        ]
        for x, y in places:
            if pendant:
                low = z - rng.uniform(0.4, 0.9)
                self._parts.append(tube(shade, [(x, y, low), (x, y, z)], 0.01, sides=4))
                self._parts.append(ellipsoid(shade, (x, y, low), (0.17, 0.17, 0.12), 8, 14))
            else:
                panel = rng.choice([0.6, 1.2]), rng.choice([0.15, 0.6])
                self._parts.append(box(shine, (x, y, z - 0.02), (*panel, 0.05)))
        for k in rng.permutation(len(places))[:2]:
            x, y = places[k]
            lamp = Lamp((x, y, z - 0.35), rng.uniform(1.0, 4.0) * (z / 2.5) ** 2, tint)
            self._lamps.append(lamp)
        if rng.random() < 0.5:
            place = (*(half * rng.uniform(-0.8, 0.8, 2)), rng.uniform(1.2, 2.2))
            self._lamps.append(Lamp(place, rng.uniform(1.0, 4.0), (0.9, 0.95, 1.0)))

    # Placing ---------------------------------------------------------------------------------

    def _take(self, side: Side, along: float, half: float, inwards: float, until: float) -> None:
        """Keep a strip before a wall free."""
        corners = [side.at(along - half, inwards), side.at(along + half, until)]
        self._taken = np.vstack(
            [self._taken, [*np.min(corners, axis=0), *np.max(corners, axis=0)]]
        )

    def _stand(self, mesh: Mesh, place: npt.ArrayLike, yaw: float, margin: float = 0.02) -> bool:
        """Stand a mesh in the room, unless it would touch another's or a wall; tell whether."""
        turned = mesh.moved((*np.asarray(place, dtype=float), 0.0), yaw)
        near, far = turned.vertices.min(axis=0)[:2], turned.vertices.max(axis=0)[:2]
        half = self.size[:2] / 2 - margin
        if (near < -half).any() or (far > half).any() or self._blocked(near, far, 0.03):
            return False
        self._taken = np.vstack([self._taken, [*near, *far]])
        top = min(float(turned.vertices[:, 2].max()), 1.5)
        self.sights = np.vstack([self.sights, [*(near + far) / 2, top]])
        self._parts.append(turned)
        return True

    def _blocked(self, near: npt.ArrayLike, far: npt.ArrayLike, margin: float) -> bool:
        low, high = np.asarray(near) - margin, np.asarray(far) + margin
        taken = self._taken
        touches = (taken[:, :2] < high).all(axis=1) & (taken[:, 2:] > low).all(axis=1)
        return bool(touches.any())

    # What stands in the room -----------------------------------------------------------------

    def _furnish(self) -> None:
        rng = self._rng
        area = self.size[0] * self.size[1]
        if self.kind == "corridor":
            self._along_walls(rng.uniform(0.05, 0.4), 0.65)
        else:
            groups = {"room": rng.integers(1, 4), "hall": rng.integers(2, 9)}[self.kind]
            if rng.random() < 0.6:
                self._along_walls(rng.uniform(0.2, 0.8), 1.2)
                self._group_up(int(groups))
            else:
                self._group_up(int(groups))
                self._along_walls(rng.uniform(0.2, 0.8), 1.2)
        loose: tuple[Maker, ...] = (
            furniture.carton, furniture.plant, furniture.bag, furniture.bin_,
            furniture.floor_lamp, furniture.stool, furniture.chair, furniture.office_chair,
        )  # fmt: skip
        for _ in range(int(rng.poisson(min(0.12 * area, 12.0)))):
            half = self.size[:2] / 2
            place = rng.uniform(-half, half)
            if rng.random() < 0.6:
                # Most of it stands somewhere at the edge.
                axis = rng.integers(2)
                place[axis] = np.sign(place[axis]) * (half[axis] - rng.uniform(0.15, 0.5))
            maker = loose[rng.integers(len(loose))]
            self._stand(maker(rng), place, rng.uniform(0, 2 * np.pi))
        for _ in range(int(rng.choice([0, 1, 2, 4], p=[0.45, 0.3, 0.15, 0.1]))):
            place = rng.uniform(-0.5, 0.5, 2) * self.size[:2]
            self._stand(person(rng, rng.normal(0, 0.08)), place, rng.uniform(0, 2 * np.pi))

    def _along_walls(self, share: float, deepest: float) -> None:
        rng = self._rng
        makers: tuple[Maker, ...] = (
            furniture.cupboard, furniture.shelf, furniture.desk, furniture.sofa, furniture.table,
            furniture.fridge, furniture.bench, furniture.bed, furniture.plant, furniture.carton,
            furniture.kitchen,
        )  # fmt: skip
        shares = np.array([5, 4, 3, 2, 1, 1, 1.5, 0.7, 1, 1, 2])
        for side in self._sides:
            x = -side.length / 2 + rng.uniform(0.03, 0.5)
            while x < side.length / 2 - 0.4:
                maker = makers[rng.choice(len(makers), p=shares / shares.sum())]
                thing = maker(rng)
                low, top = thing.vertices.min(axis=0), thing.vertices.max(axis=0)
                wide = float(top[0] - low[0])
                at = x - float(low[0])
                x += wide + rng.choice([0.01, rng.uniform(0.05, 0.6)])
                if rng.random() > share or top[1] - low[1] > deepest:
                    continue
                if top[2] < 1.3 and maker not in (furniture.sofa, furniture.bed, furniture.plant):
                    thing = furniture.strewn(rng, thing, 4)
                gap = float(rng.choice([0.005, rng.uniform(0.01, 0.12)]))
                place = side.at(at, gap + float(thing.vertices[:, 1].max()))
                stood = self._stand(thing, place, side.yaw, margin=0.0)
                if stood and maker is furniture.desk:
                    before = side.at(at + wide / 4, gap + float(top[1] - low[1]) + 0.35)
                    self._seat_at(before, side.yaw + np.pi, furniture.office_chair)

    def _seat_at(self, place: Point, yaw: float, maker: Maker, occupied: float = 0.12) -> None:
        """Stand a seat (yaw 0 looks to -y), now and then with somebody on it."""
        rng = self._rng
        yaw += rng.normal(0.0, 0.25)
        if self._stand(maker(rng), place, yaw) and rng.random() < occupied:
            sitter = person(rng, seat=0.46)
            self._parts.append(sitter.moved((*place, 0.0), yaw - np.pi / 2))

    def _group_up(self, count: int) -> None:
        """Tables with chairs around, seats around a low table, rows of desks or of shelves."""
        rng, half = self._rng, self.size[:2] / 2
        looks = int(rng.integers(1 << 31))
        maker = (furniture.chair, furniture.chair, furniture.office_chair, furniture.stool)[
            rng.integers(4)
        ]
        for _ in range(count):
            centre, yaw = rng.uniform(-0.75, 0.75, 2) * half, float(rng.choice([0, np.pi / 2]))
            kind = rng.choice(["table", "lounge", "desks", "shelves"], p=[0.5, 0.2, 0.2, 0.1])
            turn = np.array([[np.cos(yaw), -np.sin(yaw)], [np.sin(yaw), np.cos(yaw)]])
            if kind == "shelves" and self.kind == "hall":
                for x in np.arange(-3.0, 3.1, 1.7):
                    rack = furniture.shelf(np.random.default_rng(looks))
                    self._stand(rack, centre + turn @ (x, 0.0), yaw)
            elif kind == "lounge":
                low = furniture.strewn(rng, furniture.coffee_table(rng), 2)
                if self._stand(low, centre, yaw):
                    for place, facing in (((0, 1.0), 0.0), ((0, -1.0), np.pi), ((1.2, 0), -1.57)):
                        if rng.random() < 0.7:
                            at = centre + turn @ place
                            self._seat_at(at, yaw + facing, furniture.sofa, 0.2)
            else:
                for k in range(1 if kind == "table" else 3):
                    at = centre + turn @ (1.8 * k, 0.0)
                    board = (furniture.table if kind == "table" else furniture.desk)(rng)
                    self._table_at(furniture.strewn(rng, board, 4), board, at, yaw, maker, looks)

    def _table_at(
        self, laid: Mesh, board: Mesh, place: Point, yaw: float, maker: Maker, looks: int
    ) -> None:
        """Stand a table, and seats of one kind around it."""
        rng = self._rng
        if not self._stand(laid, place, yaw):
            return
        half = np.abs(board.vertices[:, :2]).max(axis=0)
        turn = np.array([[np.cos(yaw), -np.sin(yaw)], [np.sin(yaw), np.cos(yaw)]])
        each = max(int(2 * half[0] / 0.65), 1)
        across = (np.arange(each) - (each - 1) / 2) * 2 * half[0] / each
        tucked = rng.uniform(0.0, 0.35)
        spots = [((x, -half[1] - 0.35 + tucked / 2), np.pi) for x in across]
        spots += [((x, half[1] + 0.35 - tucked / 2), 0.0) for x in across]
        spots += [((-half[0] - 0.35, 0.0), np.pi / 2), ((half[0] + 0.35, 0.0), -np.pi / 2)]

        def alike(_: Rng) -> Mesh:
            return maker(np.random.default_rng(looks))

        for spot, facing in spots:
            if rng.random() < 0.7:
                self._seat_at(place + turn @ spot, yaw + facing, alike)

    # Who moves -------------------------------------------------------------------------------

    def _populate(self) -> tuple[Walker, ...]:
        rng, walkers = self._rng, []
        most = {"room": 3, "corridor": 4, "hall": 7}[self.kind]
        for _ in range(int(rng.integers(0, most))):
            start, end = self.way(rng, 0.3)
            if np.linalg.norm(end - start) < 0.8:
                continue
            looks = int(rng.integers(1 << 31))
            gait = tuple(
                person(np.random.default_rng(looks), stride)
                for stride in (-0.42, -0.2, 0.1, 0.42, 0.2, -0.1)
            )
            walkers.append(Walker(gait, start, end, rng.uniform(0.4, 1.4)))
        return tuple(walkers)

    def way(self, rng: Rng, clearance: float = _ROBOT) -> tuple[Point, Point]:
        """Draw a straight free way: [2] x, y of both ends, which may be the same.

        Args:
            rng: draws it.
            clearance: metres from all that stands around.
        """
        half = self.size[:2] / 2 - clearance

        def free(place: Point) -> bool:
            return not self._blocked(place, place, clearance)

        ends = rng.uniform(-half, half, (200, 2))
        starts = [place for place in ends if free(place)]
        if not starts:
            return ends[0], ends[0]
        best = starts[0], starts[0]
        for end in starts[1:12]:
            length = float(np.linalg.norm(end - starts[0]))
            steps = np.linspace(starts[0], end, max(int(length / 0.15), 2))
            reached = next((k for k, place in enumerate(steps) if not free(place)), len(steps))
            if np.linalg.norm(steps[reached - 1] - starts[0]) > np.linalg.norm(best[1] - best[0]):
                best = starts[0], steps[reached - 1]
        return best

    def moving(self, time: float, sensor: Point) -> Mesh:
        """All walkers where they are at a time.

        Args:
            time: seconds.
            sensor: [2] x, y of the sensor; who would run into it is left out.
        """
        shapes = [walker.shape(time) for walker in self.walkers]
        return Mesh.merge([mesh for mesh, place in shapes if np.linalg.norm(place - sensor) > 0.6])


def _curtain(rng: Rng, cloth: finishes.Material, long: float, high: float) -> Mesh:
    """Draw folds of cloth along x, hanging from a height."""
    x = np.linspace(-long / 2, long / 2, 25)
    y = 0.04 * np.sin(x * rng.uniform(35, 60) + rng.uniform(0, 6))
    low, top = np.stack([x, y, 0 * x], axis=1), np.stack([x, y, 0 * x + high], axis=1)
    a = np.arange(24)
    triangles = np.concatenate(
        [np.stack([a, a + 1, a + 26], axis=1), np.stack([a, a + 26, a + 25], axis=1)]
    )
    return Mesh.of(cloth, np.concatenate([low, top]), triangles)
