# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

pytest.importorskip("open3d", exc_type=ImportError)

from minkowski_perception.lab.simulation.lidar import Scene
from minkowski_perception.lab.simulation.street import Street, _lanes


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_lanes_of_the_sensor_are_free(seed):
    street = Street(seed, 120.0)
    static = Scene(street.static)
    for d in [street.lane, *street.sidewalks]:
        positions = np.arange(2.0, 116.0, 1.0)
        start = np.array([street.ground.position(s, d) for s in positions])
        end = np.array([street.ground.position(s + 1.0, d) for s in positions])
        for height in (0.4, 1.0, 1.7):
            rays = np.concatenate([start, end - start], axis=1).astype(np.float32)
            rays[:, 2] += height
            assert static.cast(rays)[0].min() > 1.0


@pytest.mark.parametrize("outer", [2.4, 3.0, 7.0])
def test_lanes_lie_within_their_half_of_the_road(outer):
    for seed in range(20):
        lanes = _lanes(np.random.default_rng(seed), 0.4, outer)
        assert 0.4 < lanes[0] <= lanes[-1] < outer


def test_actors_move_at_their_speed():
    street = Street(0, 120.0)
    far_away = np.array([-1000.0, 0.0])
    positions = []
    for time in (0.0, 0.5):
        vertices = street.moving(time, far_away).vertices
        sizes = [len(actor.shape(time).vertices) for actor in street.actors]
        actors = np.split(vertices, np.cumsum(sizes)[:-1])
        positions.append(np.array([actor.mean(axis=0) for actor in actors]))
    moved = np.linalg.norm(positions[1] - positions[0], axis=1)
    speeds = np.array([np.hypot(*actor.speed) for actor in street.actors])
    stays = np.array([5.0 < actor.s < 110.0 for actor in street.actors])
    assert stays.sum() > 5
    # Outer lanes of bends are longer, and a gait shifts the mean of a walker slightly.
    np.testing.assert_allclose(moved[stays], 0.5 * speeds[stays], rtol=0.1, atol=0.1)


def test_actors_that_would_collide_with_the_sensor_are_left_out():
    street = Street(0, 120.0)
    actor = street.actors[0]
    everyone = street.moving(0.0, np.array([-1000.0, 0.0]))
    others = street.moving(0.0, np.array([actor.s, actor.d]))
    assert len(others.vertices) <= len(everyone.vertices) - len(actor.shape(0.0).vertices)
