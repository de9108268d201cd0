# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Triangles of labelled materials, and the few shapes that streets and rooms are built from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Vector = Sequence[float] | npt.NDArray[np.floating]


class Paint(NamedTuple):
    """What a surface looks like to a colour camera.

    Attributes:
        colour: red, green, blue, 0 to 1, as the eye sees them (not linear in light).
        accent: the second colour of the pattern.
        pattern: one of `PATTERNS`.
        size: metres from one element of the pattern to the next.
    """

    colour: tuple[float, float, float]
    accent: tuple[float, float, float]
    pattern: str = "plain"
    size: float = 0.1


PATTERNS = ("plain", "grain", "planks", "tiles", "weave", "blotches")
"""Even; along a direction, as wood; boards; squares with joints; cloth; patches."""

PAINT = np.dtype([("colour", "3f4"), ("accent", "3f4"), ("pattern", "u1"), ("size", "f4")])
"""`Paint` of one triangle, its pattern by its place in `PATTERNS`."""

_GREY = Paint((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


class Material(NamedTuple):
    """What a surface is made of.

    Attributes:
        label: its class.
        reflectance: share of (infrared) light that it sends back; 1 is white.
        fuzz: metres that blades or leaves stand out from it.
        paint: what it looks like.
    """

    label: int
    reflectance: float
    fuzz: float = 0.0
    paint: Paint = _GREY


@dataclass(frozen=True)
class Mesh:
    """Triangles, each of its own material.

    Attributes:
        vertices: [V, 3] float32, metres.
        triangles: [T, 3] uint32, rows of `vertices`.
        labels: [T] uint8.
        reflectances: [T] float32.
        fuzz: [T] float32, metres.
        paints: [T] `PAINT`.
    """

    vertices: npt.NDArray[np.float32]
    triangles: npt.NDArray[np.uint32]
    labels: npt.NDArray[np.uint8]
    reflectances: npt.NDArray[np.float32]
    fuzz: npt.NDArray[np.float32]
    paints: npt.NDArray[np.void]

    @classmethod
    def of(cls, material: Material, vertices: npt.ArrayLike, triangles: npt.ArrayLike) -> Mesh:
        """Triangles that are all of one material."""
        corners = np.asarray(triangles, dtype=np.uint32).reshape(-1, 3)
        return cls(
            np.asarray(vertices, dtype=np.float32).reshape(-1, 3),
            corners,
            np.full(len(corners), material.label, dtype=np.uint8),
            np.full(len(corners), material.reflectance, dtype=np.float32),
            np.full(len(corners), material.fuzz, dtype=np.float32),
            _paints(material.paint, len(corners)),
        )

    @classmethod
    def merge(cls, meshes: Sequence[Mesh]) -> Mesh:
        """One mesh of many (of none: an empty one)."""
        if not meshes:
            return cls.of(Material(0, 0.0), [], [])
        starts = np.cumsum([0, *(len(mesh.vertices) for mesh in meshes[:-1])])
        return cls(
            np.concatenate([mesh.vertices for mesh in meshes]),
            np.concatenate(
                [
                    mesh.triangles + np.uint32(start)
                    for mesh, start in zip(meshes, starts, strict=True)
                ]
            ),
            np.concatenate([mesh.labels for mesh in meshes]),
            np.concatenate([mesh.reflectances for mesh in meshes]),
            np.concatenate([mesh.fuzz for mesh in meshes]),
            np.concatenate([mesh.paints for mesh in meshes]),
        )

    def moved(self, offset: Vector = (0.0, 0.0, 0.0), yaw: float = 0.0) -> Mesh:
        """Turn the mesh about z by `yaw` radians, then shift it by `offset` metres."""
        turn = np.array(
            [[np.cos(yaw), np.sin(yaw), 0], [-np.sin(yaw), np.cos(yaw), 0], [0, 0, 1]], np.float32
        )
        vertices = self.vertices @ turn + np.asarray(offset, dtype=np.float32)
        return replace(self, vertices=vertices)

    def relabelled(self, label: int) -> Mesh:
        """Give everything one label."""
        return replace(self, labels=np.full_like(self.labels, label))


def _paints(paint: Paint, count: int) -> npt.NDArray[np.void]:
    pattern = PATTERNS.index(paint.pattern)
    one = np.array((paint.colour, paint.accent, pattern, paint.size), dtype=PAINT)
    return np.repeat(one, count)


_BOX_CORNERS = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]) / 2
_BOX_TRIANGLES = np.array(
    [
        [0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1],
        [2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4], [1, 5, 7], [1, 7, 3],
    ]
)  # fmt: skip


def box(material: Material, centre: Vector, size: Vector) -> Mesh:
    """Make a box with its edges along the axes."""
    return Mesh.of(material, _BOX_CORNERS * np.asarray(size) + np.asarray(centre), _BOX_TRIANGLES)


@lru_cache
def _tube_triangles(sides: int) -> npt.NDArray[np.uint32]:
    """Wall and caps of a tube: bottom ring, top ring, bottom centre, top centre."""
    ring = np.arange(sides)
    after = (ring + 1) % sides
    bottom, top = np.full(sides, 2 * sides), np.full(sides, 2 * sides + 1)
    faces = [
        (ring, after, after + sides),
        (ring, after + sides, ring + sides),
        (after, ring, bottom),
        (ring + sides, after + sides, top),
    ]
    return np.concatenate([np.stack(face, axis=1) for face in faces]).astype(np.uint32)


def cylinder(
    material: Material,
    start: Vector,
    end: Vector,
    radius: float,
    end_radius: float | None = None,
    sides: int = 8,
) -> Mesh:
    """Make a closed cylinder between two points; a cone where the radii differ."""
    low, high = np.asarray(start, dtype=float), np.asarray(end, dtype=float)
    axis = (high - low) / np.linalg.norm(high - low)
    across = np.cross(axis, (1.0, 0.0, 0.0) if abs(axis[0]) < 0.9 else (0.0, 1.0, 0.0))
    across /= np.linalg.norm(across)
    angle = np.linspace(0, 2 * np.pi, sides, endpoint=False)[:, None]
    ring = np.cos(angle) * across + np.sin(angle) * np.cross(axis, across)
    tip = radius if end_radius is None else end_radius
    return Mesh.of(
        material,
        np.concatenate([low + radius * ring, high + tip * ring, [low], [high]]),
        _tube_triangles(sides),
    )


def tube(material: Material, points: Sequence[Vector], radius: float, sides: int = 6) -> Mesh:
    """Make a bent tube through the points."""
    return Mesh.merge([cylinder(material, a, b, radius, sides=sides) for a, b in pairwise(points)])


@lru_cache
def _sphere(rings: int, sides: int) -> tuple[npt.NDArray, npt.NDArray]:
    polar = np.linspace(0, np.pi, rings + 1)[:, None]
    round_ = np.linspace(0, 2 * np.pi, sides, endpoint=False)[None, :]
    vertices = np.stack(
        np.broadcast_arrays(
            np.sin(polar) * np.cos(round_), np.sin(polar) * np.sin(round_), np.cos(polar)
        ),
        axis=-1,
    ).reshape(-1, 3)
    ring, side = np.meshgrid(np.arange(rings), np.arange(sides), indexing="ij")
    a = (ring * sides + side).ravel()
    b = (ring * sides + (side + 1) % sides).ravel()
    triangles = np.concatenate(
        [np.stack([a, a + sides, b + sides], axis=1), np.stack([a, b + sides, b], axis=1)]
    )
    return vertices, triangles


def ellipsoid(
    material: Material, centre: Vector, radii: Vector, rings: int = 6, sides: int = 8
) -> Mesh:
    """Make a coarse ellipsoid with its axes along the axes."""
    vertices, triangles = _sphere(rings, sides)
    return Mesh.of(material, vertices * np.asarray(radii) + np.asarray(centre), triangles)


def prism(material: Material, profile: npt.ArrayLike, half_width: npt.ArrayLike) -> Mesh:
    """Draw a profile in x and z out to both sides in y.

    Args:
        material: of all faces.
        profile: [K, 2] corners x, z, seen all from their mean (star-shaped).
        half_width: metres in y, one for all corners or [K] of them.
    """
    corners = np.asarray(profile, dtype=float)
    count = len(corners)
    half = np.broadcast_to(np.asarray(half_width, dtype=float), (count,))
    left = np.stack([corners[:, 0], half, corners[:, 1]], axis=1)
    right = left * (1, -1, 1)
    vertices = np.concatenate([left, right, [left.mean(axis=0)], [right.mean(axis=0)]])
    return Mesh.of(material, vertices, _tube_triangles(count))


def leaves(
    rng: np.random.Generator,
    material: Material,
    centres: npt.NDArray[np.floating],
    size: float,
) -> Mesh:
    """One small triangle of random shape at each of the [N, 3] centres: porous to rays."""
    corners = centres[:, None, :] + rng.normal(0.0, size / 2, (len(centres), 3, 3))
    return Mesh.of(material, corners, np.arange(3 * len(centres)))


def relief(
    u: npt.NDArray[np.floating],
    v: npt.NDArray[np.floating],
    level: npt.NDArray[np.floating],
    label: npt.NDArray[np.integer],
    reflectance: npt.NDArray[np.floating],
    fuzz: npt.NDArray[np.floating],
) -> Mesh:
    """Rectangles at their own levels over a grid, with walls at the steps between them.

    Ground with kerbs is such a relief, and so is a facade with its windows.

    Args:
        u: [U + 1] grid lines, ascending.
        v: [V + 1] grid lines, ascending.
        level: [U, V] height of each cell, or [U, V, 4] of its corners in the order
            (u, v), (u', v), (u', v'), (u, v').
        label: [U, V] of each cell; a wall has that of its higher side.
        reflectance: [U, V] of each cell.
        fuzz: [U, V] of each cell, metres.

    Returns:
        A mesh in coordinates u, v, level.
    """
    if level.ndim == 2:
        level = np.repeat(level[..., None], 4, axis=2)
    rows, columns = label.shape
    corners = np.empty((rows, columns, 4, 3))
    corners[..., 0] = np.stack([u[:-1], u[1:], u[1:], u[:-1]], axis=1)[:, None, :]
    corners[..., 1] = np.stack([v[:-1], v[:-1], v[1:], v[1:]], axis=1)[None, :, :]
    corners[..., 2] = level
    cell = np.arange(rows * columns, dtype=np.uint32).reshape(rows, columns)
    quads, owners = [cell[..., None].reshape(-1, 1) * 4 + np.arange(4)], [cell.ravel()]
    # Facing edges of neighbours: their corner numbers in the lower and in the upper cell.
    for low, high, edge, facing in (
        (cell[:-1], cell[1:], (1, 2), (0, 3)),
        (cell[:, :-1], cell[:, 1:], (3, 2), (0, 1)),
    ):
        a = low.ravel()[:, None] * 4 + np.array(edge)
        b = high.ravel()[:, None] * 4 + np.array(facing)
        heights = corners[..., 2].ravel()
        rise = heights[b] - heights[a]
        step = np.abs(rise).max(axis=1) > 1e-4
        quads.append(np.concatenate([a, b[:, ::-1]], axis=1)[step])
        owners.append(np.where(rise.mean(axis=1) > 0, high.ravel(), low.ravel())[step])
    quad, owner = np.concatenate(quads), np.concatenate(owners)
    triangles = np.concatenate([quad[:, [0, 1, 2]], quad[:, [0, 2, 3]]])
    owner = np.concatenate([owner, owner])
    return Mesh(
        corners.reshape(-1, 3).astype(np.float32),
        triangles.astype(np.uint32),
        label.ravel()[owner].astype(np.uint8),
        reflectance.ravel()[owner].astype(np.float32),
        fuzz.ravel()[owner].astype(np.float32),
        _paints(_GREY, len(triangles)),
    )
