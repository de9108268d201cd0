# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from minkowski_perception.frame import Frame
from minkowski_perception.lab.training.measurement import (
    AutoContrast,
    DropBeams,
    DropPoints,
    Jitter,
    JitterColour,
    ShiftColour,
    ShiftIntensity,
    SpeckleIntensity,
)

RNG = np.random.default_rng


def clip(count=2, points=5000):
    frames = []
    for i in range(count):
        rng = RNG(i)
        frames.append(
            Frame(
                rng.uniform(-20, 20, (points, 3)).astype(np.float32),
                intensity=rng.uniform(0.2, 0.8, points).astype(np.float32),
                colour=rng.integers(60, 180, (points, 3)).astype(np.uint8),
                labels=np.arange(points),
            )
        )
    return frames


def test_jitter_is_drawn_for_each_point_of_each_frame():
    moved = [
        a.points - b.points for a, b in zip(Jitter(0.05)(clip(), RNG(0)), clip(), strict=True)
    ]
    for noise in moved:
        assert noise.std() == pytest.approx(0.05, rel=0.05)
    assert np.abs(np.corrcoef(moved[0].ravel(), moved[1].ravel())[0, 1]) < 0.05


def test_points_are_dropped_at_the_given_ratio():
    for before, after in zip(clip(), DropPoints((0.2, 0.2))(clip(), RNG(0)), strict=True):
        assert len(after) / len(before) == pytest.approx(0.8, abs=0.03)
        assert np.array_equal(after.points, before.points[after.labels])


def test_whole_beams_are_dropped_the_same_in_all_frames():
    change = DropBeams((0.5, 0.5), spacing=10.0)
    kept, lost = set(), set()
    for before, after in zip(clip(), change(clip(), RNG(1)), strict=True):
        elevation = np.degrees(np.arctan2(before.points[:, 2], np.hypot(*before.points[:, :2].T)))
        beam = np.floor((elevation + 90.0) / 10.0).astype(int)
        stays = np.isin(before.labels, after.labels)
        kept |= set(beam[stays])
        lost |= set(beam[~stays])
    assert kept
    assert lost
    assert not kept & lost


def test_intensity_shifts_equally_in_all_frames_and_within_its_range():
    varied = ShiftIntensity((0.5, 2.0), 0.1)(clip(), RNG(3))
    pairs = []
    for before, after in zip(clip(), varied, strict=True):
        assert after.intensity.min() >= 0.0
        assert after.intensity.max() <= 1.0
        inside = (after.intensity > 0.0) & (after.intensity < 1.0)
        pairs.append(np.polyfit(before.intensity[inside], after.intensity[inside], 1))
    np.testing.assert_allclose(pairs[0], pairs[1], atol=1e-4)
    assert 0.5 <= pairs[0][0] <= 2.0


def test_speckle_is_drawn_per_point_and_gain_per_beam():
    points = SpeckleIntensity((0.1, 0.1), (0.0, 0.0))(clip(), RNG(4))
    beams = SpeckleIntensity((0.0, 0.0), (0.1, 0.1), spacing=10.0)(clip(), RNG(4))
    gains = {}
    for before, speckled, tuned in zip(clip(), points, beams, strict=True):
        inside = speckled.intensity < 1.0
        noise = np.log(speckled.intensity[inside] / before.intensity[inside])
        assert noise.std() == pytest.approx(0.1, rel=0.05)
        assert abs(noise.mean()) < 0.01
        elevation = np.degrees(np.arctan2(before.points[:, 2], np.hypot(*before.points[:, :2].T)))
        for beam in range(18):
            of_beam = (elevation // 10 + 9 == beam) & (tuned.intensity < 1.0)
            gain = np.log(tuned.intensity[of_beam] / before.intensity[of_beam])
            np.testing.assert_allclose(gain, gains.setdefault(beam, gain[0]), atol=1e-5)
    assert np.std(list(gains.values())) == pytest.approx(0.1, rel=0.5)
    assert SpeckleIntensity()([Frame(np.ones((2, 3), np.float32))], RNG(0))[0].intensity is None


def test_auto_contrast_blends_with_colours_of_full_range():
    frames = clip()
    for seed in range(5):
        blend = RNG(seed).random()
        varied = AutoContrast()(frames, RNG(seed))
        colours = np.concatenate([f.colour for f in frames]).astype(float)
        low, high = colours.min(axis=0), colours.max(axis=0)
        expected = (1 - blend) * colours + blend * (colours - low) / (high - low) * 255
        found = np.concatenate([f.colour for f in varied])
        assert np.abs(found - expected).max() <= 0.51


def test_colours_shift_equally_and_by_at_most_the_ratio():
    shifts = [
        a.colour.astype(int) - b.colour
        for a, b in zip(ShiftColour(0.1)(clip(), RNG(0)), clip(), strict=True)
    ]
    assert all((shift == shifts[0][0]).all() for shift in shifts)
    assert 0 < np.abs(shifts[0][0]).max() <= 26


def test_colour_jitter_has_its_sigma_and_no_bias():
    noise = np.concatenate(
        [
            a.colour.astype(int) - b.colour
            for a, b in zip(JitterColour(0.05)(clip(), RNG(0)), clip(), strict=True)
        ]
    )
    assert noise.std() == pytest.approx(0.05 * 255, rel=0.05)
    assert abs(noise.mean()) < 0.5


@pytest.mark.parametrize("change", [ShiftIntensity(), AutoContrast(), ShiftColour()])
def test_missing_columns_stay_missing(change):
    (frame,) = change([Frame(np.ones((3, 3), np.float32))], RNG(0))
    assert frame.intensity is None
    assert frame.colour is None
