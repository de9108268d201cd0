# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from maker_checks import check_maker

from minkowski_perception.lab.simulation.vehicles import car, other_vehicle, truck


@pytest.mark.parametrize(
    ("maker", "name", "length", "width", "top"),
    [
        (car, "car", (3.4, 6.3), (1.6, 2.6), (1.3, 2.8)),
        (truck, "truck", (4.9, 11.5), (1.8, 3.2), (1.6, 4.2)),
        (other_vehicle, "other-vehicle", (2.5, 14.3), (1.2, 3.0), (0.8, 4.8)),
    ],
)
def test_vehicles_have_plausible_sizes_and_stand_on_the_ground(maker, name, length, width, top):
    extents, tops = check_maker(maker, {name})
    assert length[0] < extents[:, 0].min() <= extents[:, 0].max() < length[1]
    assert width[0] < extents[:, 1].min() <= extents[:, 1].max() < width[1]
    assert top[0] < tops.min() <= tops.max() < top[1]
    np.testing.assert_allclose(extents[:, 2], tops, atol=0.05)
