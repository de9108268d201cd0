# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from maker_checks import check_maker

from minkowski_perception.lab.simulation.buildings import building


@pytest.mark.parametrize("pitched", [True, False])
def test_buildings_have_the_given_size_a_roof_and_a_base_in_the_ground(pitched):
    extents, tops = check_maker(
        lambda rng: building(rng, 10.0, 8.0, 6.0, pitched), {"building"}, 20
    )
    assert (np.abs(extents[:, 0] - 10.5) < 1.5).all()
    assert (extents[:, 1] > 7.9).all()
    assert (tops > (7.2 if pitched else 6.1)).all()
    assert (tops < 14.0).all()
    assert (extents[:, 2] - tops > 1.9).all()


def test_some_fronts_have_deep_niches_and_parts_before_the_wall():
    fronts = []
    for seed in range(30):
        mesh = building(np.random.default_rng(seed), 10.0, 8.0, 9.0, pitched=False)
        y = mesh.vertices[np.abs(mesh.vertices[:, 0]) < 4.0, 1]
        fronts.append((y.min() < -0.45, ((y > 0.5) & (y < 1.9)).any()))
    assert (np.mean(fronts, axis=0) > 0.2).all()


def test_walls_vary_in_tone_and_depth():
    tones, depths = [], []
    for seed in range(10):
        mesh = building(np.random.default_rng(seed), 10.0, 8.0, 6.0, pitched=False)
        corners = mesh.vertices[mesh.triangles]
        front = (np.ptp(corners[..., 1], axis=1) < 1e-3) & (np.abs(corners[:, 0, 1]) < 0.4)
        tones.append(mesh.reflectances[front].std() / mesh.reflectances[front].mean())
        depths.append(np.ptp(corners[front][..., 1]))
    assert np.median(tones) > 0.1
    assert np.median(depths) > 0.05
