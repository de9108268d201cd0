# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from maker_checks import check_maker

from minkowski_perception.lab.simulation.plants import bed, bush, hedge, thicket, tree


@pytest.mark.parametrize(
    ("maker", "classes", "top"),
    [
        (tree, {"trunk", "vegetation"}, (3.0, 18.0)),
        (bush, {"vegetation"}, (0.3, 4.5)),
        (thicket, {"vegetation"}, (1.0, 5.5)),
    ],
)
def test_plants_have_plausible_heights(maker, classes, top):
    _, tops = check_maker(maker, classes)
    assert top[0] < tops.min() <= tops.max() < top[1]


def test_hedges_fill_their_box():
    extents, _ = check_maker(lambda rng: hedge(rng, 5.0, 1.5, 0.8), {"vegetation"})
    assert (extents > (4.8, 0.5, 1.4)).all()
    assert (extents < (6.5, 2.3, 3.2)).all()


def test_beds_are_low_and_fill_their_rectangle():
    extents, tops = check_maker(lambda rng: bed(rng, 4.0, 1.2), {"vegetation"})
    assert tops.max() < 1.1
    assert np.median(tops) < 0.6
    assert (extents[:, :2] < (4.9, 2.1)).all()
    assert np.median(extents[:, 0]) > 3.4


def test_rays_pass_between_leaves():
    mesh = bush(np.random.default_rng(0))
    corners = mesh.vertices[mesh.triangles]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    largest = np.linalg.norm(normals, axis=1).max() / 2
    assert largest < 0.2 * np.prod(np.ptp(mesh.vertices, axis=0)[:2])
