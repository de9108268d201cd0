# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from minkowski_perception.lab.simulation.carrier import carrier
from minkowski_perception.labels import UNLABELLED


@pytest.mark.parametrize("height", [0.3, 0.8, 1.9])
def test_bodies_have_no_class_and_stand_on_the_ground_around_the_sensor(height):
    meshes = [carrier(np.random.default_rng(seed), height) for seed in range(40)]
    bodies = [mesh for mesh in meshes if len(mesh.triangles)]
    assert 10 < len(bodies) < 30
    for mesh in bodies:
        assert (mesh.labels == UNLABELLED).all()
        low, high = mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)
        # A body that is too high for its sensor sinks into the ground.
        assert -height - 1.7 < low[2] < -0.2 * height
        assert high[2] < 1.0
        # The free lane of a sensor on a sidewalk is 0.35 m wide to each side, on a road 1.3 m.
        assert max(-low[1], high[1]) < (1.3 if height > 1.4 else 0.35)


@pytest.mark.parametrize("height", [0.3, 0.8, 1.9])
def test_no_part_of_a_body_is_at_the_sensor(height):
    for seed in range(40):
        vertices = carrier(np.random.default_rng(seed), height).vertices
        assert np.linalg.norm(vertices, axis=1).min(initial=1.0) > 0.05
