# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Random streets: ground, buildings, plants, street furniture, parked and moving objects."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

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

STYLES = ("dense", "gardens", "open", "yard")
"""Kinds of development along a side of a street."""

_GROUND = {
    # class: range of reflectance, range of roughness in metres
    "road": ((0.1, 0.35), (0.002, 0.01)),
    "parking": ((0.07, 0.6), (0.005, 0.016)),
    "sidewalk": ((0.28, 0.6), (0.002, 0.01)),
    "other-ground": ((0.15, 0.5), (0.015, 0.03)),
    "terrain": ((0.2, 0.6), (0.012, 0.1)),
}
_CONTRAST = (
    ("road", "parking", 1.5),
    ("road", "sidewalk", 1.3),
    ("parking", "sidewalk", 1.25),
    ("other-ground", "sidewalk", 1.25),
)
"""Pairs of paved classes and the minimum ratio of their reflectances.

Surfaces of equal reflectance cannot be told apart, so classes keep a minimum contrast.
"""

_LINE_HALF_WIDTH = 0.06
"""Metres from the middle of a painted line to its edge."""


def _draw_ground(rng: np.random.Generator) -> dict[str, tuple[float, float]]:
    """Draw the reflectance and roughness of each class of ground, with the contrasts required."""
    while True:
        ground = {
            name: (rng.uniform(*reflectance), rng.uniform(*roughness))
            for name, (reflectance, roughness) in _GROUND.items()
        }
        ratios = ((ground[a][0] / ground[b][0], least) for a, b, least in _CONTRAST)
        if all(max(ratio, 1 / ratio) > least for ratio, least in ratios):
            return ground


def _lanes(rng: np.random.Generator, inner: float, outer: float) -> tuple[float, ...]:
    """Draw |d| of the lanes of one direction, from |d| = `inner` to `outer`.

    The outermost lane may be close to the vehicles parked beside it.
    """
    count = 2 if outer - inner > 5.6 else 1
    width = (outer - inner) / count
    middles = inner + width * (np.arange(count) + 0.5)
    middles[-1] = rng.uniform(middles[-1], max(middles[-1], outer - 1.3))
    return tuple(map(float, middles))


class Strip(NamedTuple):
    """Strip of a street's cross-section: class, width and height above the road, in metres."""

    name: str
    width: float
    level: float


class Side:
    """Cross-section of one side of a street: strips from the centre line outwards.

    Args:
        rng: generator of the cross-section.
        road: half the width of the road, metres.
        style: one of `STYLES`; None draws one.

    Attributes:
        strips: strips from the centre line outwards.
        lip: height of the parking strip above the road, metres.
        parking, verge, sidewalk: extents of these strips in |d|, metres; None without one.
        in_bays: whether vehicles park in bays across the street.
        clear: width of the road that stays clear of parked vehicles, metres from the centre line.
        edge: |d| of the outer edge of the sidewalk.
        kerb: height of the kerb above the road, metres.
        setback: metres from `edge` to the buildings.
    """

    def __init__(self, rng: np.random.Generator, road: float, style: str | None = None) -> None:
        drawn = str(rng.choice(STYLES, p=[0.37, 0.36, 0.15, 0.12]))
        self.style = style or drawn
        kerb = rng.uniform(0.06, 0.2) if self.style != "open" or rng.random() < 0.5 else 0.02
        self.strips = [Strip("road", road, 0.0)]
        # A parking strip is a little above the gutter and below the kerb.
        self.lip = rng.uniform(0.015, 0.05)
        self.parking = self._add("parking", rng.uniform(1.9, 2.5), self.lip, rng.random() < 0.35)
        self.in_bays = self.parking is None and rng.random() < 0.12
        if self.in_bays:
            self.parking = self._add("parking", rng.uniform(4.6, 5.4), self.lip, True)
        on_road = self.parking is None and road > 4.6 and rng.random() < 0.5
        self.clear = road - 2.0 if on_road else road
        self.verge = self._add("terrain", rng.uniform(0.8, 3.0), kerb, rng.random() < 0.38)
        self._add("other-ground", rng.uniform(0.5, 2.5), kerb, rng.random() < 0.2)
        has_sidewalk = rng.random() < (0.6 if self.style == "open" else 0.95)
        self.sidewalk = self._add("sidewalk", rng.uniform(1.5, 5.5), kerb, has_sidewalk)
        self.edge = sum(strip.width for strip in self.strips)
        self.kerb = kerb
        setback = {"dense": (0.0, 2.5), "gardens": (2.2, 7.5), "open": (15, 30), "yard": (8, 16)}
        self.setback = rng.uniform(*setback[self.style])
        beyond = "parking" if self.style == "yard" and rng.random() < 0.7 else "terrain"
        if self.style == "dense" or (self.style == "gardens" and rng.random() < 0.15):
            beyond = "sidewalk"
        self._add(beyond, self.setback, kerb, True)
        self._add("terrain", HALF_WIDTH - self.edge - self.setback, kerb, True)

    def _add(
        self, name: str, width: float, level: float, wanted: bool
    ) -> tuple[float, float] | None:
        """Append a strip if `wanted`, and return its extent in |d|."""
        if not wanted:
            return None
        start = sum(strip.width for strip in self.strips)
        self.strips.append(Strip(name, width, level))
        return start, start + width


class Street(Scenery):
    """Random street; the same seed, length and style give the same street, bit for bit."""

    def __init__(self, seed: int, length: float = 250.0, style: str | None = None) -> None:
        """Draw a street; `style`, one of `STYLES`, applies to both sides, None draws each."""
        self._rng = rng = np.random.default_rng([seed, 0])
        self.length = length
        self._half_road = rng.uniform(2.8, 6.0) if rng.random() < 0.75 else rng.uniform(6.0, 9.0)
        self._sides = {sign: Side(rng, self._half_road, style) for sign in (1, -1)}
        self._crossings = self._draw_crossings()
        self._islands = self._draw_islands()
        edges = (-self._sides[-1].edge, self._sides[1].edge)
        ground = Ground(rng, length, HALF_WIDTH, edges, self._patches())
        shift = 0.4 if self._islands else 0.0
        self._lanes = {sign: _lanes(rng, shift, side.clear) for sign, side in self._sides.items()}
        lane = -float(rng.choice(self._lanes[-1]))
        sidewalks = [
            sign * float(rng.uniform(side.sidewalk[0] + 0.8, side.sidewalk[1] - 0.65))
            for sign, side in self._sides.items()
            if side.sidewalk
        ]
        super().__init__(rng, ground, length, lane, sidewalks)
        for sign, side in self._sides.items():
            self._place_buildings(sign, side)
            self._place_parked(sign, side)
            self._place_furniture(sign, side)
            self._place_plants(sign, side)
        self._place_background()
        self.static = Mesh.merge(self._static_parts)
        self.actors = self._draw_actors()

    # Ground ----------------------------------------------------------------------------------

    def _draw_crossings(self) -> list[tuple[float, float, int]]:
        """Draw side streets: start s, end s, and the side (0 for both)."""
        rng = self._rng
        middles = np.arange(rng.uniform(10, 80), self.length, rng.uniform(45, 120))
        return [
            (float(s - half), float(s + half), int(rng.choice([-1, 0, 1], p=[0.35, 0.3, 0.35])))
            for s, half in zip(middles, rng.uniform(2.5, 5.0, len(middles)), strict=True)
        ]

    def _draw_islands(self) -> list[tuple[float, float]]:
        """Draw traffic islands on the centre line: start s, end s."""
        rng = self._rng
        if self._half_road < 4.0 or rng.random() > 0.5:
            return []
        starts = np.arange(rng.uniform(0, 30), self.length - 30, rng.uniform(25, 60))
        return [(float(s), float(s + rng.uniform(4, 20))) for s in starts]

    def _patches(self) -> list[Patch]:
        rng = self._rng
        ground = _draw_ground(rng)

        def patch(name: str, s0: float, s1: float, d0: float, d1: float, level: float) -> Patch:
            label = LABELS.names.index(name)
            low, high = min(d0, d1), max(d0, d1)
            return Patch(s0, s1, low, high, label, ground[name][0], level, ground[name][1])

        paint = rng.uniform(0.5, 0.9)

        def line(name: str, s0: float, s1: float, d0: float, d1: float, level: float) -> Patch:
            return patch(name, s0, s1, d0, d1, level)._replace(reflectance=paint)

        patches = []
        for sign, side in self._sides.items():
            start = 0.0
            for strip in side.strips:
                end = start + strip.width
                across = sign * start, sign * end
                patches.append(patch(strip.name, 0.0, self.length, *across, strip.level))
                start = end
            patches += [line(*marking) for marking in self._draw_bay_lines(sign, side)]
            patches += [patch(*drive) for drive in self._draw_driveways(sign, side)]
            beside = rng.uniform(1.2, 3.0) if side.sidewalk else 0.0
            out = sign * HALF_WIDTH
            for s0, s1, where in self._crossings:
                if where in (0, sign):
                    if side.sidewalk:
                        walk = s0 - beside, s1 + beside, sign * side.sidewalk[0], out
                        patches.append(patch("sidewalk", *walk, side.kerb))
                    patches.append(patch("road", s0, s1, sign * self._half_road, out, 0.0))
        patches += [line("road", *marking, 0.0) for marking in self._draw_markings()]
        patches += [patch("other-ground", s0, s1, -0.7, 0.7, 0.15) for s0, s1 in self._islands]
        return patches

    def _draw_markings(self) -> list[tuple[float, float, float, float]]:
        """Draw lines and zebra crossings on the road: s0, s1, d0, d1."""
        rng = self._rng
        markings: list[tuple[float, float, float, float]] = []
        if rng.random() < 0.6:
            period, share = rng.uniform(6, 12), rng.choice([0.35, 0.5, 1.0])
            starts = np.arange(rng.uniform(0, period), self.length, period)
            half = _LINE_HALF_WIDTH
            markings += [(s, s + share * period, -half, half) for s in starts]
        if rng.random() < 0.35:
            for d in (self._half_road - 0.2, 0.2 - self._half_road):
                markings.append((0.0, self.length, d - _LINE_HALF_WIDTH, d + _LINE_HALF_WIDTH))
        stripes = np.arange(0.4 - self._half_road, self._half_road - 0.5, 1.0)
        for s0, _, _ in self._crossings:
            if rng.random() < 0.5:
                markings += [(s0 - 4.5, s0 - 1.5, float(d), float(d) + 0.5) for d in stripes]
        return markings

    def _draw_bay_lines(
        self, sign: int, side: Side
    ) -> list[tuple[str, float, float, float, float, float]]:
        """Draw lines between parking bays: class, s0, s1, d0, d1, level."""
        rng = self._rng
        if side.parking is None or rng.random() < 0.3:
            return []
        near, far = side.parking
        gap = 2.6 if side.in_bays else 6.0
        across = sign * near, sign * far
        lines = [
            ("parking", s - _LINE_HALF_WIDTH, s + _LINE_HALF_WIDTH, *across, side.lip)
            for s in np.arange(rng.uniform(0, gap), self.length, gap)
        ]
        if rng.random() < 0.5:
            along = sign * near, sign * (near + 2 * _LINE_HALF_WIDTH)
            lines.append(("parking", 0.0, self.length, *along, side.lip))
        return lines

    def _draw_driveways(
        self, sign: int, side: Side
    ) -> list[tuple[str, float, float, float, float, float]]:
        """Draw driveways into gardens and yards: class, s0, s1, d0, d1, level."""
        rng = self._rng
        driveways: list[tuple[str, float, float, float, float, float]] = []
        if side.style not in ("gardens", "yard"):
            return driveways
        for s in np.arange(rng.uniform(5, 40), self.length, rng.uniform(20, 60)):
            if not self._in_crossing(s, sign, 6.0):
                end, out = s + rng.uniform(2.5, 4.0), side.edge + max(side.setback, 4.0)
                driveways.append(("parking", s, end, sign * side.edge, sign * out, 0.05))
                if side.verge:
                    verge = sign * side.verge[0], sign * side.verge[1]
                    driveways.append(("sidewalk", s, end, *verge, 0.04))
        return driveways

    def _in_crossing(self, s: float, sign: int, margin: float = 0.0) -> bool:
        """Return whether s is within `margin` metres of a side street on that side."""
        return any(
            where in (0, sign) and s0 - margin < s < s1 + margin
            for s0, s1, where in self._crossings
        )

    def _spaced(self, gap: tuple[float, float], sign: int, margin: float = 2.0) -> list[float]:
        """Draw positions s, `gap` metres (minimum, maximum) apart, outside side streets."""
        gaps = self._rng.uniform(*gap, int(self.length / gap[0]) + 2)
        positions = np.cumsum(gaps)
        return [
            float(s)
            for s in positions
            if s < self.length and not self._in_crossing(s, sign, margin)
        ]

    # Static objects --------------------------------------------------------------------------

    def _place_buildings(self, sign: int, side: Side) -> None:
        rng = self._rng
        pitched = rng.random() < (0.85 if side.style == "gardens" else 0.4)
        heights = {"dense": (6, 22), "gardens": (3, 8), "open": (3, 8), "yard": (4, 12)}
        typical = rng.uniform(*heights[side.style])
        gap = {"dense": 0.3, "gardens": 5.0, "open": 45.0, "yard": 14.0}[side.style]
        s = rng.uniform(-10, 5)
        while s < self.length:
            width = rng.uniform(7, 16) if side.style != "yard" else rng.uniform(12, 35)
            depth = rng.uniform(8, 14)
            middle = s + width / 2
            s += width + rng.exponential(gap)
            if any(self._in_crossing(at, sign, 2.0) for at in np.linspace(s - width, s, 8)):
                s = max(
                    (s1 + 3.0 for s0, s1, w in self._crossings if w in (0, sign) and s0 < s),
                    default=s,
                )
                continue
            height = max(2.8, typical * rng.uniform(0.75, 1.3))
            front = side.edge + side.setback + abs(rng.normal(0, 0.5 if gap < 1 else 1.5))
            house = buildings.building(rng, width, depth, height, pitched)
            # Fronts face -y: the centre line, from the left side.
            self._place(house, middle, sign * front, 0.0 if sign > 0 else np.pi)
            if rng.random() < 0.35:
                self._place_at_front(sign, front, middle - width / 2, middle + width / 2)
        if side.setback > 2.0 and rng.random() < 0.85:
            self._place_enclosures(sign, side)

    def _place_at_front(self, sign: int, front: float, start: float, end: float) -> None:
        """Place beds, bushes and clutter at the foot of a house, which hide parts of it."""
        rng = self._rng
        for s in np.arange(start + 1.0, end - 1.0, rng.uniform(1.5, 4.0)):
            kind = rng.random()
            if kind < 0.4:
                mesh, out = plants.bed(rng, rng.uniform(1.0, 2.5), rng.uniform(0.4, 0.8)), 0.7
            elif kind < 0.75:
                mesh = plants.hedge(rng, rng.uniform(0.8, 2.0), rng.uniform(0.5, 2.5), 0.5)
                out = 0.6
            else:
                mesh, out = street_furniture.clutter(rng), 1.1
            self._place(mesh, float(s), sign * (front - out - rng.uniform(0.0, 0.3)))

    def _place_enclosures(self, sign: int, side: Side) -> None:
        """Place fences and hedges between the sidewalk and the gardens."""
        rng = self._rng
        length = rng.uniform(4, 9)
        mixed = rng.random() < 0.5
        kind = rng.choice(["fence", "hedge"], p=[0.4, 0.6])
        for s in self._spaced((length + 0.3, length + 4.0), sign, margin=length / 2 + 2.5):
            if mixed and rng.random() < 0.4:
                kind = rng.choice(["fence", "hedge"])
            if kind == "fence":
                mesh = street_furniture.fence(rng, length)
            else:
                low = rng.random() < 0.4
                height = rng.uniform(0.3, 0.8) if low else rng.uniform(0.8, 2.8)
                depth = rng.uniform(0.4, 1.1)
                mesh = plants.hedge(rng, length, height, depth)
            self._place(mesh, s, sign * (side.edge + 0.7))

    def _place_parked(self, sign: int, side: Side) -> None:
        """Place parked vehicles at the kerb, in bays, in yards and in driveways."""
        rng = self._rng
        makers: Sequence[Maker] = (
            vehicles.car, vehicles.truck, vehicles.other_vehicle, road_users.motorcycle,
        )  # fmt: skip
        shares = np.array([0.77, 0.13, 0.06, 0.04])
        along = 0.0 if sign < 0 else np.pi
        rate = rng.uniform(0.0, 0.95)

        def park(s: float, d: float, yaw: float) -> None:
            maker = makers[rng.choice(len(makers), p=shares)]
            turn = rng.choice([0.0, np.pi], p=[0.8, 0.2]) + rng.normal(0, 0.03)
            self._place(maker(rng), s, sign * d, yaw + turn)

        if side.parking:
            middle = (side.parking[0] + side.parking[1]) / 2
            gap = (2.7, 3.3) if side.in_bays else (5.3, 7.0)
            yaw = np.pi / 2 if side.in_bays else along
            for s in self._spaced(gap, sign, margin=4.0):
                if rng.random() < rate:
                    park(s, middle + rng.normal(0, 0.1), yaw)
        elif side.clear < self._half_road:
            for s in self._spaced((5.5, 9.0), sign, margin=5.0):
                if rng.random() < rate:
                    park(s, self._half_road - 0.95 + rng.normal(0, 0.08), along)
        if side.style in ("gardens", "yard"):
            deep = side.edge + np.arange(3.5, max(side.setback - 2.5, 4.0), 6.0)
            gap = (6.0, 25.0) if side.style == "gardens" else (2.8, 6.0)
            for row in deep:
                for s in self._spaced(gap, sign):
                    if rng.random() < rate:
                        park(s, row, np.pi / 2)
        for s0, s1, where in self._crossings:
            if where in (0, sign):
                for d in np.arange(side.edge + 6, 50, 7.0):
                    if rng.random() < 0.35:
                        park(rng.choice([s0 + 1.2, s1 - 1.2]), d, np.pi / 2)

    def _place_furniture(self, sign: int, side: Side) -> None:
        """Place poles, signs, bicycles, motorcycles, people and clutter beside the road."""
        rng = self._rng
        outer = side.edge
        inner = side.parking[1] if side.parking else self._half_road
        # Rows are along the kerb and the outer edge of the sidewalk; its middle stays free.
        kerbside, inside = inner + 0.35, outer - 0.25
        facing = np.pi if sign > 0 else 0.0
        poles = street_furniture.utility_pole if rng.random() < 0.2 else street_furniture.lamp_post
        for s in self._spaced((14, 38), sign):
            # Arms extend to the left: over the road, from the right side.
            self._place(poles(rng), s, sign * kerbside, 0.0 if sign < 0 else np.pi)
        for s in self._spaced((8, 35), sign, margin=-1.0):
            yaw = facing + rng.choice([0.0, np.pi / 2, np.pi], p=[0.7, 0.15, 0.15])
            at = kerbside + rng.uniform(-0.1, 0.3)
            self._place(street_furniture.traffic_sign(rng), s, sign * at, yaw + rng.normal(0, 0.1))
        if rng.random() < 0.35:
            start, seed = rng.uniform(0, self.length), int(rng.integers(1 << 31))
            for s in np.arange(start, start + rng.uniform(10, 40), rng.uniform(1.2, 3.0)):
                if not self._in_crossing(s, sign):
                    bollard = street_furniture.post(np.random.default_rng(seed))
                    self._place(bollard, float(s), sign * (kerbside - 0.1))
        for s0, s1, where in self._crossings:
            for s in (s0 - 2.0, s1 + 2.0):
                if where in (0, sign) and rng.random() < 0.4:
                    self._place(street_furniture.traffic_light(rng), s, sign * kerbside, facing)
        self._place_in_rows(sign, (kerbside + 0.1, inside))
        self._place_in_yards(sign, side)

    def _place_in_rows(self, sign: int, rows: tuple[float, float]) -> None:
        """Place small objects and people along two rows, alone and in groups."""
        rng = self._rng
        for maker, (least, most), apart in (
            (street_furniture.post, (15, 50), 2.0),
            (street_furniture.clutter, (6, 25), 1.2),
            (street_furniture.structure, (18, 80), 2.5),
            (street_furniture.barrier, (14, 60), 2.0),
            (road_users.bicycle, (6, 20), 1.6),
            (road_users.motorcycle, (14, 40), 1.8),
            (road_users.person, (10, 30), 0.8),
        ):
            two_wheeler = maker in (road_users.bicycle, road_users.motorcycle)
            for s in self._spaced((least / self._density, most / self._density), sign):
                row = float(rng.choice(rows))
                across = two_wheeler and rng.random() < 0.5
                yaw = (0.5 if across else 0.0) * np.pi + rng.choice([0.0, np.pi])
                for member in range(rng.choice([1, 2, 3, 5], p=[0.55, 0.2, 0.15, 0.1])):
                    turn = rng.uniform(0, 2 * np.pi) if maker is road_users.person else yaw
                    at = s + member * rng.uniform(0.8, 1.2) * (0.7 if across else apart)
                    self._place(maker(rng), at, sign * row, turn + rng.normal(0, 0.1))

    def _place_in_yards(self, sign: int, side: Side) -> None:
        """Place clutter, trailers and small structures in gardens and yards."""
        rng = self._rng
        if side.setback < 3.0:
            return
        for maker, gap in (
            (street_furniture.clutter, (5, 25)),
            (street_furniture.structure, (15, 60)),
            (street_furniture.barrier, (20, 80)),
            (vehicles.trailer, (30, 120)),
        ):
            for s in self._spaced(gap, sign):
                d = side.edge + rng.uniform(0.8, side.setback - 0.8)
                self._place(maker(rng), s, sign * d, rng.uniform(0, 2 * np.pi))

    def _place_plants(self, sign: int, side: Side) -> None:
        rng = self._rng
        rows: list[tuple[Maker, tuple[float, float], Callable[[], float]]] = []
        if side.verge and rng.random() < 0.8:
            middle = (side.verge[0] + side.verge[1]) / 2
            rows.append((plants.tree, (6, 16), lambda: middle))
            rows.append((plants.bush, (2, 9), lambda: middle + rng.normal(0, 0.3)))
        if side.verge and rng.random() < 0.5:
            self._place_beds(sign, side.verge)
        elif rng.random() < 0.55:
            inner = side.parking[1] if side.parking else self._half_road
            rows.append((plants.tree, (7, 22), lambda: inner + 0.6))
        if side.setback > 2.0:
            depth = side.setback

            def in_garden() -> float:
                return float(side.edge + rng.uniform(1.5, depth))

            bare = rng.uniform(0.3, 1.5) * 6 / min(depth, 15.0)
            rows.append((plants.tree, (4 * bare, 18 * bare), in_garden))
            rows.append((plants.bush, (1.5 * bare, 5 * bare), in_garden))
            if rng.random() < 0.65:
                rows.append((plants.thicket, (1.5, 1.5 + 2.0 * bare), in_garden))
        for maker, gap, draw_d in rows:
            for s in self._spaced(gap, sign, margin=1.0):
                self._place(maker(rng), s, sign * draw_d(), rng.uniform(0, 2 * np.pi), sink=0.05)

    def _place_beds(self, sign: int, verge: tuple[float, float]) -> None:
        """Place beds along a verge, as wide as it or narrower."""
        rng = self._rng
        length, wide = rng.uniform(2.5, 8.0), verge[1] - verge[0]
        depth = wide * rng.uniform(0.5, 0.95)
        for s in self._spaced((length + 0.2, length + 6.0), sign, margin=length / 2 + 0.5):
            bed = plants.bed(rng, length, depth)
            self._place(bed, s, sign * (verge[0] + verge[1]) / 2)

    def _place_background(self) -> None:
        """Place trees, bushes and houses behind the buildings."""
        rng = self._rng
        for sign, side in self._sides.items():
            start = side.edge + side.setback + 14.0
            for s in self._spaced((3, 12), sign, margin=4.0):
                d = rng.uniform(min(start, 50), HALF_WIDTH - 5)
                kind = rng.random()
                if kind < 0.5:
                    mesh = plants.tree(rng)
                elif kind < 0.7:
                    mesh = plants.bush(rng)
                else:
                    width, depth, height = rng.uniform((8, 8, 4), (16, 12, 12))
                    mesh = buildings.building(rng, width, depth, height, rng.random() < 0.6)
                self._place(mesh, s, sign * d, 0.0 if sign > 0 else np.pi)

    # Moving objects --------------------------------------------------------------------------

    def _draw_actors(self) -> tuple[Actor, ...]:
        rng = self._rng
        actors: list[Actor] = []
        pace = rng.uniform(4.0, 13.0)
        traffic = (vehicles.car, vehicles.truck, vehicles.other_vehicle, road_users.motorcyclist)
        riders = (road_users.bicyclist, road_users.motorcyclist)
        for direction in (1, -1):
            # Traffic drives on the right, and riders to the right of it.
            lanes, clear = self._lanes[-direction], self._sides[-direction].clear
            beside = min(lanes[-1] + 1.6, clear - 0.4)
            for lane in lanes:
                # Cars in a queue are close together, and slow.
                queue = rng.random() < 0.2
                speed = (
                    direction * pace * (rng.uniform(0.1, 0.4) if queue else rng.uniform(0.8, 1))
                )
                for s in self._spaced_by_traffic((8, 16) if queue else (14, 50)):
                    maker = traffic[rng.choice(4, p=[0.65, 0.16, 0.09, 0.1])]
                    actors.append(self._vehicle(maker, s, -direction * lane, speed))
            for s in self._spaced_by_traffic((15, 45)):
                maker = riders[rng.choice(2, p=[0.75, 0.25])]
                speed = direction * rng.uniform(2.5, 7.0)
                actors.append(self._vehicle(maker, s, -direction * beside, speed))
        for sign, side in self._sides.items():
            walk = side.sidewalk or (side.clear - 0.7, side.clear + 0.4)
            for s in self._spaced_by_traffic((8, 32)):
                d = sign * rng.uniform(walk[0] + 0.3, walk[1] - 0.3)
                pace = float(rng.choice([-1, 1])) * rng.uniform(0.7, 1.9)
                kind = rng.choice(["walks", "crosses", "rides"], p=[0.76, 0.12, 0.12])
                if kind == "rides":
                    actors.append(self._vehicle(road_users.bicyclist, s, d, 2.0 * pace))
                elif kind == "crosses":
                    gait = self._gait(-sign * np.pi / 2)
                    actors.append(Actor(gait, s, d, (0.0, -sign * abs(pace))))
                else:
                    gait = self._gait(0.0 if pace > 0 else np.pi)
                    actors.append(Actor(gait, s, d, (pace, 0.0)))
        return tuple(actors)
