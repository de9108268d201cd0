# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from minkowski_perception.frame import Frame
from minkowski_perception.lab.simulation.noise import Noise

NONE = Noise(jitter=0.0, elastic=0.0, dropout=0.0, gain=(1.0, 1.0), offset=0.0)


def some_frame(count: int = 20_000) -> Frame:
    draw = np.random.default_rng(0)
    return Frame(
        draw.uniform(-30, 30, (count, 3)).astype(np.float32),
        intensity=draw.uniform(0, 1, count).astype(np.float32),
        labels=np.arange(count) % 19,
    )


def under(noise: Noise, frame: Frame, seed: int = 1) -> Frame:
    return noise(frame, np.random.default_rng(seed))


def parts(**changes: float) -> Noise:
    """Return noise that is zero except for the named parameters."""
    return Noise(**{**vars(NONE), **changes})


def test_equal_seeds_give_equal_noise_and_other_seeds_other_noise():
    frame = some_frame(100)
    first, again, other = (under(Noise(), frame, seed) for seed in (1, 1, 2))
    assert first.points.tobytes() == again.points.tobytes()
    assert first.intensity.tobytes() == again.intensity.tobytes()
    assert first.points.tobytes() != other.points.tobytes()


def test_zero_noise_changes_nothing():
    frame = some_frame()
    same = under(NONE, frame)
    np.testing.assert_array_equal(same.points, frame.points)
    np.testing.assert_array_equal(same.intensity, frame.intensity)


def test_lost_points_become_nan_at_their_index():
    frame = some_frame()
    fewer = under(parts(dropout=0.5), frame)
    assert len(fewer) == len(frame)
    assert fewer.valid.mean() == pytest.approx(0.5, abs=0.02)
    np.testing.assert_array_equal(fewer.points[fewer.valid], frame.points[fewer.valid])
    np.testing.assert_array_equal(fewer.labels, frame.labels)


@pytest.mark.parametrize("kind", ["jitter", "elastic"])
def test_displacements_have_the_given_standard_deviation(kind):
    frame = some_frame()
    off = under(parts(**{kind: 0.1}), frame).points - frame.points
    np.testing.assert_allclose(off.std(axis=0), 0.1, rtol=0.05)
    np.testing.assert_allclose(off.mean(axis=0), 0.0, atol=0.01)


def test_elastic_distortion_is_correlated_for_neighbours_only():
    frame = some_frame()
    near, far = (Frame(frame.points + np.float32(step)) for step in (0.05, 13.0))
    both = [Frame(np.concatenate([frame.points, other.points])) for other in (near, far)]
    off = [under(parts(elastic=0.1), pair).points - pair.points for pair in both]
    correlations = [np.corrcoef(o[:20_000, 0], o[20_000:, 0])[0, 1] for o in off]
    assert correlations[0] > 0.98
    assert abs(correlations[1]) < 0.1


def test_jitter_is_uncorrelated():
    frame = some_frame()
    off = under(parts(jitter=0.1), frame).points - frame.points
    assert abs(np.corrcoef(off[:-1, 0], off[1:, 0])[0, 1]) < 0.05


@pytest.mark.parametrize("full_scale", [1.0, 255.0])
def test_all_points_share_the_gain_and_offset_of_intensity(full_scale):
    frame = some_frame()
    frame.intensity = frame.intensity * np.float32(full_scale)
    noisy = [under(parts(gain=(0.5, 1.5), offset=0.2), frame, seed) for seed in range(200)]
    brightest = frame.intensity.max()
    fits = []
    for other in noisy:
        assert 0.0 <= other.intensity.min() <= other.intensity.max() <= brightest
        unclipped = (other.intensity > 0.0) & (other.intensity < brightest)
        gain, offset = np.polyfit(frame.intensity[unclipped], other.intensity[unclipped], 1)
        np.testing.assert_allclose(
            other.intensity[unclipped],
            gain * frame.intensity[unclipped] + offset,
            atol=1e-4 * full_scale,
        )
        fits.append((gain, offset / brightest))
    gains, offsets = np.transpose(fits)
    assert 0.5 - 1e-4 <= gains.min() < 0.6 < 1.4 < gains.max() <= 1.5 + 1e-4
    assert -0.2 - 1e-4 <= offsets.min() < -0.15 < 0.15 < offsets.max() <= 0.2 + 1e-4


def test_frames_without_valid_points_or_intensity_are_accepted():
    nothing = under(Noise(), Frame(np.zeros((0, 3), np.float32)))
    assert len(nothing) == 0
    assert nothing.intensity is None
    hole = under(Noise(), Frame(np.full((2, 3), np.nan, np.float32)))
    assert not hole.valid.any()
