# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

import numpy as np
import pytest

from minkowski_perception.frame import Frame
from minkowski_perception.lab.simulation.noise import Noise
from minkowski_perception.lab.training.sensor_noise import distortion, measured

NONE = Noise(jitter=0.0, elastic=0.0, dropout=0.0, gain=(1.0, 1.0), offset=0.0)


def some_frame(count=20_000):
    draw = np.random.default_rng(0)
    return Frame(
        draw.uniform(-30, 30, (count, 3)).astype(np.float32),
        intensity=draw.uniform(0, 1, count).astype(np.float32),
        labels=np.arange(count) % 19,
    )


def in_simulation(frame, noise, rng):
    frame = noise(frame, rng)
    return frame.subset(frame.valid)


def test_zero_noise_keeps_the_valid_points_as_they_are():
    frame = some_frame()
    frame.points[::7] = np.nan
    same = measured(frame, NONE, np.random.default_rng(1))
    np.testing.assert_array_equal(same.points, frame.points[frame.valid])
    np.testing.assert_array_equal(same.intensity, frame.intensity[frame.valid])
    np.testing.assert_array_equal(same.labels, frame.labels[frame.valid])


@pytest.mark.parametrize("kind", ["jitter", "elastic"])
def test_displacements_have_the_given_standard_deviation(kind):
    frame = some_frame()
    noise = replace(NONE, **{kind: 0.1})
    off = measured(frame, noise, np.random.default_rng(1)).points - frame.points
    np.testing.assert_allclose(off.std(axis=0), 0.1, rtol=0.05)
    np.testing.assert_allclose(off.mean(axis=0), 0.0, atol=0.02)
    np.testing.assert_allclose(np.corrcoef(off.T), np.eye(3), atol=0.15)


@pytest.mark.parametrize("noise", [replace(NONE, dropout=0.5), replace(NONE, offset=0.2), Noise()])
def test_dropout_and_intensity_are_distributed_as_in_simulation(noise):
    frame = some_frame(2000)
    figures = []
    for function in (in_simulation, measured):
        rng = np.random.default_rng(2)
        frames = [function(frame, noise, rng) for _ in range(300)]
        intensity = np.array([noisy.intensity.mean() for noisy in frames])
        figures.append((np.mean([len(noisy) for noisy in frames]), intensity.mean()))
    assert figures[0] == pytest.approx(figures[1], rel=0.03)


@pytest.mark.parametrize("distance", [0.5, 1.0, 2.0, 5.0, 10.0, 13.0])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_distortion_has_the_correlation_of_the_simulated_one_over_any_distance(axis, distance):
    draw = np.random.default_rng(3)
    points = draw.uniform(-30, 30, (4000, 3)).astype(np.float32)
    apart = points.copy()
    apart[:, axis] += distance
    both = Frame(np.concatenate([points, apart]))
    correlations = []
    for function in (in_simulation, measured):
        rng = np.random.default_rng(4)
        products = []
        for _ in range(6):
            noisy = function(both, replace(NONE, elastic=1.0), rng)
            off = noisy.points - both.points
            products.append((off[:4000] * off[4000:]).mean())
        correlations.append(np.mean(products))
    assert correlations[0] == pytest.approx(correlations[1], abs=0.03)


def test_a_frame_without_points_has_no_distortion():
    assert distortion(np.zeros((0, 3), np.float32), 2.0, np.random.default_rng(0)).shape == (0, 3)
