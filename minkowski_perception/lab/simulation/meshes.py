# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Triangle meshes with a material per triangle, and the basic shapes of all scenes."""

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
    """Appearance of a surface to a colour camera.

    Attributes:
        colour: red, green, blue, 0 to 1, gamma-encoded (not linear in light).
        accent: second colour of the pattern.
        pattern: one of `PATTERNS`.
        size: period of the pattern, metres.
    """

    colour: tuple[float, float, float]
    accent: tuple[float, float, float]
    pattern: str = "plain"
    size: float = 0.1


PATTERNS = ("plain", "grain", "planks", "tiles", "weave", "blotches")
"""Plain; wood grain; boards; squares with joints; cloth; irregular patches."""

PAINT = np.dtype([("colour", "3f4"), ("accent", "3f4"), ("pattern", "u1"), ("size", "f4")])
"""Record of one triangle's `Paint`; `pattern` is an index into `PATTERNS`."""

_GREY = Paint((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


class Material(NamedTuple):
    """Properties of a surface that sensors measure.

    Attributes:
        label: class index.
        reflectance: share of infrared light that it reflects; 1 is white, retro-reflectors,
            which send light back to its source, have more.
        scatter_depth: thickness in metres of the layer of blades or leaves on the surface. LiDAR
            returns come from anywhere within the layer.
        paint: appearance to a colour camera.
    """

    label: int
    reflectance: float
    scatter_depth: float = 0.0
    paint: Paint = _GREY


@dataclass(frozen=True)
class Mesh:
    """Triangle mesh with a material per triangle.

    Attributes:
        vertices: [V, 3] float32, metres.
        triangles: [T, 3] uint32, indices into `vertices`.
        labels: [T] uint8.
        reflectances: [T] float32.
        scatter_depth: [T] float32, metres.
        paints: [T] `PAINT`.
    """

    vertices: npt.NDArray[np.float32]
    triangles: npt.NDArray[np.uint32]
    labels: npt.NDArray[np.uint8]
    reflectances: npt.NDArray[np.float32]
    scatter_depth: npt.NDArray[np.float32]
    paints: npt.NDArray[np.void]

    @classmethod
    def of(cls, material: Material, vertices: npt.ArrayLike, triangles: npt.ArrayLike) -> Mesh:
        """Return a mesh of one material."""
        corners = np.asarray(triangles, dtype=np.uint32).reshape(-1, 3)
        return cls(
            np.asarray(vertices, dtype=np.float32).reshape(-1, 3),
            corners,
            np.full(len(corners), material.label, dtype=np.uint8),
            np.full(len(corners), material.reflectance, dtype=np.float32),
            np.full(len(corners), material.scatter_depth, dtype=np.float32),
            _paints(material.paint, len(corners)),
        )

    @classmethod
    def merge(cls, meshes: Sequence[Mesh]) -> Mesh:
        """Return the union of meshes; an empty mesh without any."""
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
            np.concatenate([mesh.scatter_depth for mesh in meshes]),
            np.concatenate([mesh.paints for mesh in meshes]),
        )

    def moved(self, offset: Vector = (0.0, 0.0, 0.0), yaw: float = 0.0) -> Mesh:
        """Return the mesh rotated about z by `yaw` radians, then shifted by `offset` metres."""
        turn = np.array(
            [[np.cos(yaw), np.sin(yaw), 0], [-np.sin(yaw), np.cos(yaw), 0], [0, 0, 1]], np.float32
        )
        vertices = self.vertices @ turn + np.asarray(offset, dtype=np.float32)
        return replace(self, vertices=vertices)

    def posed(self, pose: npt.NDArray[np.floating]) -> Mesh:
        """Return the mesh moved by a [4, 4] pose."""
        vertices = self.vertices @ pose[:3, :3].T + pose[:3, 3]
        return replace(self, vertices=vertices.astype(np.float32))

    def relabelled(self, label: int) -> Mesh:
        """Return the mesh with one label for all triangles."""
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
    """Return an axis-aligned box; `size` is its full extent along x, y, z."""
    return Mesh.of(material, _BOX_CORNERS * np.asarray(size) + np.asarray(centre), _BOX_TRIANGLES)


@lru_cache
def _tube_triangles(sides: int) -> npt.NDArray[np.uint32]:
    """Return the triangles of a closed tube.

    The vertices are the bottom ring, the top ring, the bottom centre and the top centre.
    """
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
    """Return a closed cylinder between two points; a truncated cone where the radii differ."""
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
    """Return a tube along a polyline, one cylinder per segment."""
    return Mesh.merge([cylinder(material, a, b, radius, sides=sides) for a, b in pairwise(points)])


@lru_cache
def _sphere(rings: int, sides: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.intp]]:
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
    """Return a coarse axis-aligned ellipsoid."""
    vertices, triangles = _sphere(rings, sides)
    return Mesh.of(material, vertices * np.asarray(radii) + np.asarray(centre), triangles)


def prism(material: Material, profile: npt.ArrayLike, half_width: npt.ArrayLike) -> Mesh:
    """Return a profile in the x-z plane, extruded to both sides along y.

    Args:
        material: material of all faces.
        profile: [K, 2] corners x, z of a polygon, star-shaped about the mean of its corners.
        half_width: half the extent along y in metres, a scalar or [K], one per corner.
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
    """Return one small random triangle at each of the [N, 3] centres; rays pass between them."""
    corners = centres[:, None, :] + rng.normal(0.0, size / 2, (len(centres), 3, 3))
    return Mesh.of(material, corners, np.arange(3 * len(centres)))


def relief(
    u: npt.NDArray[np.floating],
    v: npt.NDArray[np.floating],
    level: npt.NDArray[np.floating],
    label: npt.NDArray[np.integer],
    reflectance: npt.NDArray[np.floating],
    scatter_depth: npt.NDArray[np.floating],
) -> Mesh:
    """Return a height field over a grid, with vertical walls at steps between cells.

    The ground with its kerbs and the facades with their windows are reliefs.

    Args:
        u: [U + 1] grid lines, ascending.
        v: [V + 1] grid lines, ascending.
        level: [U, V] heights of cells, or [U, V, 4] heights of their corners in the order
            (u, v), (u', v), (u', v'), (u, v').
        label: [U, V] labels of cells; a wall takes the material of its higher cell.
        reflectance: [U, V] reflectances of cells.
        scatter_depth: [U, V] scatter depths of cells, metres.

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
    # Shared edges of neighbours: corner indices in the first and in the second cell.
    for low, high, edge, opposite in (
        (cell[:-1], cell[1:], (1, 2), (0, 3)),
        (cell[:, :-1], cell[:, 1:], (3, 2), (0, 1)),
    ):
        a = low.ravel()[:, None] * 4 + np.array(edge)
        b = high.ravel()[:, None] * 4 + np.array(opposite)
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
        scatter_depth.ravel()[owner].astype(np.float32),
        _paints(_GREY, len(triangles)),
    )
