# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

pytest.importorskip("open3d", reason="needs open3d to simulate")

from minkowski_perception.frame import Frame
from minkowski_perception.lab.adaptation.like_sensor import View, like_lidar
from minkowski_perception.lab.simulation.lidar import get_lidar


@pytest.mark.parametrize("name", ["vlp16", "vlp32", "hdl64", "os1_64", "os1_128", "pandar64"])
@pytest.mark.parametrize("width", [360.0, 90.0])
def test_a_lidar_that_loses_some_rays_is_most_like_itself(name, width):
    directions = get_lidar(name).sweep()[0]
    azimuth = np.degrees(np.arctan2(directions[:, 1], directions[:, 0]))
    rng = np.random.default_rng(0)
    kept = (np.abs(azimuth) <= width / 2) & (rng.random(len(directions)) < 0.85)
    distances = rng.uniform(2.0, 50.0, len(directions)).astype(np.float32)

    assert like_lidar([Frame(directions[kept] * distances[kept, None])]) == name


def test_frames_without_points_are_like_no_sensor():
    assert View.of(np.zeros((0, 3), np.float32)) is None
    with pytest.raises(ValueError, match="like no sensor"):
        like_lidar([Frame(np.zeros((0, 3), np.float32))])
