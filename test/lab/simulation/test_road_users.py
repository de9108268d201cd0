# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from maker_checks import check_maker

from minkowski_perception.lab.simulation.road_users import (
    bicycle,
    bicyclist,
    motorcycle,
    motorcyclist,
    person,
)


@pytest.mark.parametrize(
    ("maker", "length", "top"),
    [
        (bicycle, (1.5, 2.3), (0.9, 1.3)),
        (bicyclist, (1.5, 2.3), (1.5, 2.1)),
        (motorcycle, (1.5, 2.6), (0.9, 1.4)),
        (motorcyclist, (1.5, 2.6), (1.4, 2.0)),
        (person, (0.2, 1.2), (0.9, 2.1)),
    ],
)
def test_road_users_have_plausible_sizes(maker, length, top):
    extents, tops = check_maker(maker, {maker.__name__})
    assert length[0] < extents[:, 0].min() <= extents[:, 0].max() < length[1]
    assert top[0] < tops.min() <= tops.max() < top[1]
    assert extents[:, 1].max() < 1.2
    np.testing.assert_allclose(extents[:, 2], tops, atol=0.15)


def test_a_stride_moves_the_feet_apart():
    standing, striding = (person(np.random.default_rng(3), stride) for stride in (0.0, 0.45))
    reach = [np.ptp(m.vertices[m.vertices[:, 2] < 0.1][:, 0]) for m in (standing, striding)]
    assert reach[1] > reach[0] + 0.3
