# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

pytest.importorskip("open3d", exc_type=ImportError)

from minkowski_perception.lab.simulation.meshes import Material, Mesh, Paint, box
from minkowski_perception.lab.simulation.scene import Scene, first_hits

RED, BLUE = Paint((1, 0, 0), (1, 0, 0)), Paint((0, 0, 1), (0, 0, 1), "tiles", 0.3)
NEAR = box(Material(1, 0.5, 0.1, RED), (2.5, 0, 0), (1.0, 2.0, 2.0))
FAR = box(Material(2, 0.7, 0.0, BLUE), (5.5, 0, 0), (1.0, 20.0, 20.0))


def rays(*directions: tuple[float, float, float]) -> np.ndarray:
    unit = np.array(directions) / np.linalg.norm(directions, axis=1, keepdims=True)
    return np.hstack([np.zeros_like(unit), unit]).astype(np.float32)


def test_hits_have_the_properties_of_the_nearest_surface():
    hits = first_hits(
        [Scene(FAR), Scene(Mesh.merge([])), Scene(NEAR)], rays((1, 0, 0), (1, 1, 0), (-1, 0, 0))
    )
    np.testing.assert_allclose(hits.distance, (2.0, 5 * np.sqrt(2), np.inf), rtol=1e-6)
    np.testing.assert_array_equal(hits.scene[:2], (2, 0))
    np.testing.assert_array_equal(hits.labels[:2], (1, 2))
    np.testing.assert_allclose(hits.reflectance[:2], (0.5, 0.7))
    np.testing.assert_allclose(hits.scatter_depth[:2], (0.1, 0.0))
    np.testing.assert_allclose(hits.cos_incidence[:2], (1.0, np.sqrt(0.5)), rtol=1e-6)
    np.testing.assert_allclose(hits.normal[:2], ((-1, 0, 0), (-1, 0, 0)), atol=1e-6)
    np.testing.assert_array_equal(hits.paints["colour"][:2], ((1, 0, 0), (0, 0, 1)))


def test_normals_face_the_ray_for_either_winding():
    corners = [(3, -1, -1), (3, 1, -1), (3, 0, 1)]
    for order in ((0, 1, 2), (2, 1, 0)):
        triangle = Mesh.of(Material(0, 1.0), corners, [order])
        hits = first_hits([Scene(triangle)], rays((1, 0, 0)))
        np.testing.assert_allclose(hits.normal, [(-1, 0, 0)], atol=1e-6)


def test_segments_are_occluded_by_surfaces_except_at_their_ends():
    scene = Scene(NEAR)
    start = np.zeros((4, 3), dtype=np.float32)
    end = np.array([(4, 0, 0), (2, 0, 0), (1, 0, 0), (4, 8, 0)], dtype=np.float32)
    assert scene.occluded(start, end).tolist() == [True, False, False, False]
    assert scene.occluded(end, start).tolist() == [True, False, False, False]
    assert not scene.occluded(start, end, until=0.4).any()
    assert not Scene(Mesh.merge([])).occluded(start, end).any()
