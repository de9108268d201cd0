# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Ray casting: the first surface that each ray hits, and its material."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from minkowski_perception.lab.simulation.meshes import PAINT, Mesh
from minkowski_perception.lab.simulation.open3d_library import import_open3d

_END_SHARE = 0.002
"""Share of a segment at each of its ends that occlusion tests ignore."""


class Scene:
    """Mesh with an index for ray casting."""

    def __init__(self, mesh: Mesh) -> None:
        """Index the triangles.

        Raises:
            MissingPackageError: Open3D, or a system library that it needs, is missing.
        """
        o3d = import_open3d()
        self.mesh = mesh
        # One thread makes the index, and how it breaks ties between triangles, deterministic.
        self._scene = o3d.t.geometry.RaycastingScene(nthreads=1)
        self._scene.add_triangles(o3d.core.Tensor(mesh.vertices), o3d.core.Tensor(mesh.triangles))

    def cast(
        self, rays: npt.NDArray[np.float32]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.uint32], npt.NDArray[np.float32]]:
        """Return the first hits of [R, 6] rays (origin, unit direction).

        Returns:
            Distances [R] (infinite without a hit), triangles [R], surface normals [R, 3].
        """
        hits = self._scene.cast_rays(import_open3d().core.Tensor(rays))
        return (
            hits["t_hit"].numpy(),
            hits["primitive_ids"].numpy(),
            hits["primitive_normals"].numpy(),
        )

    def occluded(
        self,
        start: npt.NDArray[np.float32],
        end: npt.NDArray[np.float32],
        until: float = 1.0 - _END_SHARE,
    ) -> npt.NDArray[np.bool_]:
        """Return whether a surface occludes each of R line segments, [R] bool.

        Args:
            start: [R, 3] start points; surfaces at the start do not count.
            end: [R, 3] end points; by default, surfaces at the end do not count.
            until: share of each segment, from its start, in which surfaces count.
        """
        rays = np.concatenate([start, end - start], axis=1)
        if not len(self.mesh.triangles):
            return np.zeros(len(rays), dtype=bool)
        o3d = import_open3d()
        occluded = self._scene.test_occlusions(o3d.core.Tensor(rays), _END_SHARE, until)
        return np.asarray(occluded.numpy())


class Hits(NamedTuple):
    """First hits of R rays in several scenes.

    Attributes:
        distance: [R] float32, metres; infinite without a hit.
        scene: [R] uint8, index of the scene that was hit.
        normal: [R, 3] float32, unit normal of the surface, on the side that the ray came from.
        cos_incidence: [R] float32, cosine of the angle of incidence, 0 to 1.
        labels: [R] uint8.
        reflectance: [R] float32.
        scatter_depth: [R] float32, metres.
        paints: [R] `PAINT`.
    """

    distance: npt.NDArray[np.float32]
    scene: npt.NDArray[np.uint8]
    normal: npt.NDArray[np.float32]
    cos_incidence: npt.NDArray[np.float32]
    labels: npt.NDArray[np.uint8]
    reflectance: npt.NDArray[np.float32]
    scatter_depth: npt.NDArray[np.float32]
    paints: npt.NDArray[np.void]

    def where(self, chosen: npt.NDArray[np.bool_], others: Hits) -> Hits:
        """Return these hits where `chosen` [R] is true, and `others` elsewhere."""
        pairs: Iterable[tuple[Any, Any]] = zip(self, others, strict=True)
        return Hits(
            *(np.where(chosen if a.ndim == 1 else chosen[:, None], a, b) for a, b in pairs)
        )


def first_hits(scenes: Sequence[Scene], rays: npt.NDArray[np.float32]) -> Hits:
    """Return the nearest hits of [R, 6] rays (origin, unit direction) among all scenes."""
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
        hits.cos_incidence[nearer] = np.abs(along)
        hits.labels[nearer] = scene.mesh.labels[triangle]
        hits.reflectance[nearer] = scene.mesh.reflectances[triangle]
        hits.scatter_depth[nearer] = scene.mesh.scatter_depth[triangle]
        hits.paints[nearer] = scene.mesh.paints[triangle]
    return hits
