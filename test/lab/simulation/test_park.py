# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

pytest.importorskip("open3d", exc_type=ImportError)

from minkowski_perception.lab.simulation.drive import PARK, simulate_drive
from minkowski_perception.lab.simulation.park import Park
from minkowski_perception.lab.simulation.scene import Scene
from minkowski_perception.lab.simulation.surfaces import LABELS


@pytest.mark.parametrize("seed", [0, 1])
def test_the_lane_of_the_sensor_is_free(seed):
    park = Park(seed, 120.0)
    static = Scene(park.static)
    positions = np.arange(2.0, 116.0, 1.0)
    start = np.array([park.ground.position(s, park.lane) for s in positions])
    end = np.array([park.ground.position(s + 1.0, park.lane) for s in positions])
    for height in (0.4, 1.0, 1.7):
        rays = np.concatenate([start, end - start], axis=1).astype(np.float32)
        rays[:, 2] += height
        assert static.cast(rays)[0].min() > 1.0


def test_a_park_is_mostly_grass_and_plants():
    counts = np.zeros(256, dtype=int)
    for seed in range(2):
        (frame,) = simulate_drive(seed, "vlp16", 1, style=PARK)
        counts += np.bincount(frame.labels, minlength=256)
    green = [LABELS.names.index(name) for name in ("terrain", "vegetation")]
    assert counts[green].sum() > 0.6 * counts.sum()
    assert counts[LABELS.names.index("traffic-sign")] < 0.01 * counts.sum()


def test_paths_have_several_kinds_of_ground():
    labels = []
    for seed in range(12):
        park = Park(seed, 20.0)
        down = np.array([[*park.ground.position(10.0, 0.0), 0.0, 0.0, -1.0]], dtype=np.float32)
        down[:, 2] += 0.3
        static = Scene(park.static)
        labels.append(LABELS.names[static.mesh.labels[static.cast(down)[1][0]]])
    assert set(labels) >= {"sidewalk", "road", "terrain"}


def test_people_and_riders_move_through_a_park():
    park = Park(0, 200.0)
    speeds = np.array([np.hypot(*actor.speed) for actor in park.actors])
    assert len(speeds) > 3
    assert speeds.min() > 0.3


def test_equal_seeds_give_equal_parks():
    first, second = (Park(3, 60.0).static for _ in range(2))
    np.testing.assert_array_equal(first.vertices, second.vertices)
    np.testing.assert_array_equal(first.labels, second.labels)
