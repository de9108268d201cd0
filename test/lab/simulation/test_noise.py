# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

import numpy as np
import pytest

from minkowski_perception.frame import Frame
from minkowski_perception.lab.simulation.noise import DriveNoise, Noise, beam_of

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


# Noise that lasts a drive

NO_DRIVE_NOISE = DriveNoise(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, (1.0, 1.0), 0.0)


def some_drive(count: int = 4) -> list[Frame]:
    """Return frames of one cloud from a sensor that moves 2 m a frame, 0.1 s apart."""
    frames = []
    for i in range(count):
        pose = np.eye(4)
        pose[0, 3] = 2.0 * i
        frames.append(replace(some_frame(3000), stamp=i * 10**8, pose=pose))
    return frames


def over_drive(noise: DriveNoise, seed: int = 1) -> list[Frame]:
    return list(map(noise.of_drive(np.random.default_rng(seed)), some_drive()))


def test_zero_noise_of_a_drive_changes_nothing():
    for frame, same in zip(some_drive(), over_drive(NO_DRIVE_NOISE), strict=True):
        np.testing.assert_allclose(same.points, frame.points, atol=1e-5)
        np.testing.assert_allclose(same.intensity, frame.intensity, atol=1e-6)
        np.testing.assert_allclose(same.pose, frame.pose, atol=1e-12)


def test_errors_of_points_are_the_same_in_all_frames_of_a_drive_and_differ_between_drives():
    first, *others = over_drive(DriveNoise())
    for frame in others:
        assert frame.points.tobytes() == first.points.tobytes()
        assert frame.intensity.tobytes() == first.intensity.tobytes()
    other, *_ = over_drive(DriveNoise(), seed=2)
    assert other.points.tobytes() != first.points.tobytes()


def test_whole_beams_are_lost_and_err_in_range():
    noise = replace(NO_DRIVE_NOISE, beam_range=0.1, beams_lost=0.5)
    clean, noisy = some_drive(1)[0], over_drive(noise)[0]
    beam, lost = beam_of(clean, noise.spacing), ~noisy.valid
    assert not set(beam[lost]) & set(beam[~lost])
    assert 0.0 < lost.mean() < 0.6
    error = np.linalg.norm(noisy.points, axis=1) - np.linalg.norm(clean.points, axis=1)
    for each in set(beam[~lost]):
        assert np.ptp(error[beam == each]) < 1e-4
    assert np.nanstd(error) == pytest.approx(0.1, rel=0.4)


def test_poses_drift_with_distance_and_time():
    speed = replace(NO_DRIVE_NOISE, speed=0.1)
    errors = [f.pose[0, 3] / (2.0 * i) - 1 for i, f in enumerate(over_drive(speed)) if i]
    assert errors[0] != 0.0
    np.testing.assert_allclose(errors, errors[0])
    turn = replace(NO_DRIVE_NOISE, turn=5.0)
    headings = [np.arctan2(f.pose[1, 0], f.pose[0, 0]) for f in over_drive(turn)]
    np.testing.assert_allclose(headings, headings[1] * np.arange(4), atol=1e-12)
    assert headings[1] != 0.0
