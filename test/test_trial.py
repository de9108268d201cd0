# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np

from minkowski_perception.trial import trial_frame


def test_the_trial_scan_is_reproducible_and_shows_ground_and_walls():
    frame = trial_frame(5000)
    _, y, z = frame.points.T
    ground, wall = np.abs(z + 1.7) < 0.1, np.abs(np.abs(y) - 9.0) < 0.1
    far = np.linalg.norm(frame.points, axis=1) > 59.0
    assert np.mean(ground | wall | far) > 0.99
    assert min(ground.mean(), wall.mean()) > 0.2
    assert np.array_equal(frame.points, trial_frame(5000).points)
    assert not np.array_equal(frame.points, trial_frame(5000, seed=1).points)
