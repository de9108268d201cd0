# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from minkowski_perception.lab.simulation.ground import Ground, Patch


@pytest.fixture(params=range(3))
def ground(request) -> Ground:
    patches = [
        Patch(0.0, 100.0, -40.0, 40.0, 16, 0.3, level=0.1, roughness=0.0),
        Patch(0.0, 100.0, -3.0, 3.0, 8, 0.2, roughness=0.0),
        Patch(20.0, 25.0, -40.0, 40.0, 9, 0.2, level=0.05, roughness=0.0),
    ]
    return Ground(np.random.default_rng(request.param), 100.0, 40.0, (-3.0, 3.0), patches)


def test_later_patches_cover_earlier_ones(ground):
    heights = {}
    for s, d, label in [(10.0, 0.0, 8), (10.0, 10.0, 16), (22.0, 10.0, 9), (22.0, 0.0, 9)]:
        position = ground.position(s, d)
        middles = ground.mesh.vertices[ground.mesh.triangles].mean(axis=1)
        nearest = np.argmin(np.linalg.norm(middles - position, axis=1))
        assert ground.mesh.labels[nearest] == label
        heights[s, d] = position[2] - middles[nearest, 2]
    assert np.abs(list(heights.values())).max() < 0.1


def test_s_measures_metres_along_the_centre_line(ground):
    line = np.array([ground.position(s, 0.0)[:2] for s in np.arange(0.0, 19.5, 0.5)])
    np.testing.assert_allclose(np.linalg.norm(np.diff(line, axis=0), axis=1), 0.5, rtol=1e-2)


def test_d_increases_to_the_left_of_the_heading(ground):
    heading = float(ground.heading(50.0))
    across = ground.position(50.0, 2.0)[:2] - ground.position(50.0, -2.0)[:2]
    np.testing.assert_allclose(across, [-4 * np.sin(heading), 4 * np.cos(heading)], atol=1e-6)


def test_a_kerb_has_the_height_of_its_patch(ground):
    step = ground.position(10.0, 3.01)[2] - ground.position(10.0, 2.99)[2]
    assert step == pytest.approx(0.1, abs=5e-3)
