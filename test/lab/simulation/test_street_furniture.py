# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from maker_checks import check_maker

from minkowski_perception.lab.simulation import street_furniture
from minkowski_perception.lab.simulation.street_furniture import fence, traffic_sign
from minkowski_perception.lab.simulation.surfaces import LABELS
from minkowski_perception.labels import UNLABELLED


@pytest.mark.parametrize(
    ("name", "classes", "top"),
    [
        ("lamp_post", {"pole"}, (2.9, 11.0)),
        ("post", {"pole"}, (0.6, 4.1)),
        ("utility_pole", {"pole"}, (6.9, 11.1)),
        ("traffic_sign", {"pole", "traffic-sign"}, (1.6, 4.6)),
        ("traffic_light", {"pole"}, (2.5, 7.0)),
        ("structure", {"building"}, (0.5, 3.7)),
        ("barrier", {"fence"}, (0.3, 9.1)),
        ("clutter", {"vegetation"}, (0.3, 4.0)),
    ],
)
def test_street_furniture_has_plausible_heights(name, classes, top):
    _, tops = check_maker(getattr(street_furniture, name), classes)
    assert top[0] < tops.min() <= tops.max() < top[1]


def test_most_clutter_has_no_class_and_no_part_of_it_is_a_vehicle():
    meshes = [street_furniture.clutter(np.random.default_rng(seed)) for seed in range(60)]
    unknown = [(mesh.labels == UNLABELLED).all() for mesh in meshes]
    assert 0.75 < np.mean(unknown) < 1.0


def test_plates_of_signs_are_high_above_the_ground():
    for seed in range(20):
        mesh = traffic_sign(np.random.default_rng(seed))
        plates = mesh.triangles[mesh.labels == LABELS.names.index("traffic-sign")]
        assert mesh.vertices[plates][..., 2].min() > 0.95


def test_fences_have_the_given_length():
    extents, tops = check_maker(lambda rng: fence(rng, 6.0), {"fence"})
    assert np.abs(extents[:, 0] - 6.0).max() < 0.2
    assert 0.6 < tops.min() <= tops.max() < 2.2
