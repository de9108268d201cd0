# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Ray casting: what rays hit first, and what is there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from minkowski_perception.lab.simulation.meshes import PAINT, Mesh
from minkowski_perception.lab.simulation.open3d_library import import_open3d

_NEARLY = 0.998


class Scene:
    """A mesh made ready for ray casting."""

    def __init__(self, mesh: Mesh) -> None:
        """Index the triangles.

        Raises:
            ImportError: Open3D, or a system library that it needs, is missing.
        """
        o3d = import_open3d()
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
        hits = self._scene.cast_rays(import_open3d().core.Tensor(rays))
        return (
            hits["t_hit"].numpy(),
            hits["primitive_ids"].numpy(),
            hits["primitive_normals"].numpy(),
        )

    def between(
        self,
        start: npt.NDArray[np.float32],
        end: npt.NDArray[np.float32],
        until: float = _NEARLY,
    ) -> npt.NDArray[np.bool_]:
        """[R] bool: whether anything lies on the way from places to others, both [R, 3].

        Args:
            start: where from; the surface that a way starts on is not in it.
            end: where to.
            until: the share of the way that counts; the surface that it ends on does not.
        """
        rays = np.concatenate([start, end - start], axis=1)
        if not len(self.mesh.triangles):
            return np.zeros(len(rays), dtype=bool)
        o3d = import_open3d()
        blocked = self._scene.test_occlusions(o3d.core.Tensor(rays), 1.0 - _NEARLY, until)
        return np.asarray(blocked.numpy())


class Hits(NamedTuple):
    """What each of R rays hit first in several scenes.

    Attributes:
        distance: [R] float32, metres; infinite without a hit.
        scene: [R] uint8, which of the scenes.
        normal: [R, 3] float32, of the surface, unit length, towards where the ray came from.
        facing: [R] float32, cosine between the ray and the normal.
        labels: [R] uint8.
        reflectance: [R] float32.
        fuzz: [R] float32, metres.
        paints: [R] `PAINT`.
    """

    distance: npt.NDArray[np.float32]
    scene: npt.NDArray[np.uint8]
    normal: npt.NDArray[np.float32]
    facing: npt.NDArray[np.float32]
    labels: npt.NDArray[np.uint8]
    reflectance: npt.NDArray[np.float32]
    fuzz: npt.NDArray[np.float32]
    paints: npt.NDArray[np.void]

    def where(self, chosen: npt.NDArray[np.bool_], others: Hits) -> Hits:
        """Take these hits where `chosen` [R] is true, and `others` elsewhere."""
        pairs: Iterable[tuple[Any, Any]] = zip(self, others, strict=True)
        return Hits(
            *(np.where(chosen if a.ndim == 1 else chosen[:, None], a, b) for a, b in pairs)
        )


def first_hits(scenes: Sequence[Scene], rays: npt.NDArray[np.float32]) -> Hits:
    """Cast [R, 6] rays (origin, unit direction) into all scenes; the nearest surface counts."""
    count = len(rays)
    hits = Hits(
        np.full(count, np.inf, dtype=np.float32),
        np.zeros(count, dtype=np.uint8),
        np.zeros((count, 3), dtype=np.float32),
        np.zeros(count, dtype=np.float32),
        np.zeros(count, dtype=np.uint8),
        np.zeros(count, dtype=np.float32),
        np.zeros(count, dtype=np.float32),
        np.zeros(count, dtype=PAINT),
    )
    for index, scene in enumerate(scenes):
        if not len(scene.mesh.triangles):
            continue
        distance, triangle, normal = scene.cast(rays)
        nearer = np.flatnonzero(distance < hits.distance)
        triangle, along = triangle[nearer], np.sum(rays[nearer, 3:] * normal[nearer], axis=1)
        hits.distance[nearer] = distance[nearer]
        hits.scene[nearer] = index
        hits.normal[nearer] = normal[nearer] * -np.sign(along)[:, None]
        hits.facing[nearer] = np.abs(along)
        hits.labels[nearer] = scene.mesh.labels[triangle]
        hits.reflectance[nearer] = scene.mesh.reflectances[triangle]
        hits.fuzz[nearer] = scene.mesh.fuzz[triangle]
        hits.paints[nearer] = scene.mesh.paints[triangle]
    return hits
