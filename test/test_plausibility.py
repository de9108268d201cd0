# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from minkowski_perception import Frame
from minkowski_perception.plausibility import doubtful_unit


def scan(reach):
    points = np.random.default_rng(0).normal(0, 1, (500, 3)).astype(np.float32) * reach
    points[::7] = 0.0
    points[::11] = np.nan
    return points


@pytest.mark.parametrize("reach", [0.3, 5.0, 60.0, 120.0])
def test_points_in_metres_raise_no_doubt(reach):
    assert doubtful_unit(Frame(scan(reach))) == ""


def test_points_in_millimetres_are_recognised():
    assert "millimetres; divide" in doubtful_unit(Frame(scan(10_000.0)))


@pytest.mark.parametrize("origin", [(5e5, 5.2e6, 300.0), (0.0, 3000.0, 0.0)])
def test_points_in_map_coordinates_are_recognised(origin):
    points = scan(20.0) + np.float32(origin)
    assert "map (such as UTM); subtract" in doubtful_unit(Frame(points))


def test_a_cloud_without_returns_raises_no_doubt():
    assert doubtful_unit(Frame(np.full((5, 3), np.nan))) == ""
    assert doubtful_unit(Frame(np.zeros((0, 3)))) == ""
