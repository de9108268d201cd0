# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from minkowski_perception.frame import Frame
from minkowski_perception.lab.training.augment import Augmentation
from minkowski_perception.motion.poses import pose_matrix

CALM = {
    "jitter": 0.0,
    "dropout": 0.0,
    "beam_dropout": 0.0,
    "intensity_lost": 0.0,
    "without_motion": 0.0,
    "sector": 0.0,
}


def clip(count=3, points=200):
    rng = np.random.default_rng(1)
    world = rng.uniform(-20, 20, (points, 3))
    frames = []
    for i in range(count):
        pose = pose_matrix((2.0 * i, i, 0.1), (0.0, 0.0, np.sin(0.2 * i), np.cos(0.2 * i)))
        seen = ((world - pose[:3, 3]) @ pose[:3, :3]).astype(np.float32)
        labels = np.arange(points) % 19
        frames.append(
            Frame(seen, i, "lidar", np.ones(points, np.float32), labels=labels, pose=pose)
        )
    return frames


def in_world(frame):
    return frame.points @ frame.pose[:3, :3].T + frame.pose[:3, 3]


@pytest.mark.parametrize("seed", range(5))
def test_frames_of_a_clip_stay_registered(seed):
    varied = Augmentation(**CALM)(clip(), np.random.default_rng(seed))
    for frame in varied[1:]:
        np.testing.assert_allclose(in_world(frame), in_world(varied[0]), atol=1e-3)
    original = in_world(clip()[0])
    distances = np.linalg.norm(original[1:] - original[:-1], axis=1)
    changed = np.linalg.norm(np.diff(in_world(varied[0]), axis=0), axis=1)
    scale = changed / distances
    np.testing.assert_allclose(scale, scale[0], rtol=1e-3)
    assert 0.95 <= scale[0] <= 1.05


def test_poses_stay_rigid_transforms():
    for frame in Augmentation(**CALM)(clip(), np.random.default_rng(0)):
        turn = frame.pose[:3, :3]
        np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-9)
        assert np.linalg.det(turn) == pytest.approx(1.0)


def test_remaining_points_keep_their_labels():
    settings = {**CALM, "dropout": 0.9, "beam_dropout": 1.0, "scale": (1.0, 1.0)}
    original = clip()[0]
    varied = Augmentation(**settings)([original], np.random.default_rng(2))[0]
    assert 0 < len(varied) < len(original)
    ranges = np.linalg.norm(original.points, axis=1)
    for point, label in zip(varied.points, varied.labels, strict=True):
        nearest = np.abs(ranges - np.linalg.norm(point)).argmin()
        assert label == original.labels[nearest]


def test_a_sector_is_no_wider_than_its_setting():
    settings = {**CALM, "sector": 1.0, "sector_width": (90.0, 90.0), "tilt": 0.0}
    for seed in range(5):
        (varied,) = Augmentation(**settings)(clip(1, 2000), np.random.default_rng(seed))
        azimuth = np.sort(np.arctan2(varied.points[:, 1], varied.points[:, 0]))
        widest_gap = np.diff(azimuth, append=azimuth[0] + 2 * np.pi).max()
        assert np.degrees(2 * np.pi - widest_gap) == pytest.approx(90.0, abs=3.0)


def test_poses_and_intensity_can_be_removed():
    settings = {**CALM, "without_motion": 1.0, "intensity_lost": 1.0}
    for frame in Augmentation(**settings)(clip(), np.random.default_rng(0)):
        assert frame.pose is None
        assert frame.intensity is None


def test_intensity_gets_a_gain_within_its_limits():
    settings = {**CALM, "intensity_gain": (0.5, 0.5)}
    for frame in Augmentation(**settings)(clip(), np.random.default_rng(0)):
        np.testing.assert_allclose(frame.intensity, 0.5)


def test_the_original_clip_does_not_change():
    frames = clip()
    before = [frame.points.copy() for frame in frames]
    Augmentation()(frames, np.random.default_rng(0))
    assert all(np.array_equal(a, f.points) for a, f in zip(before, frames, strict=True))


def test_only_noisy_clips_lose_points():
    for share, least, most in ((0.0, 1.0, 1.0), (1.0, 0.35, 0.65)):
        for before, after in zip(
            clip(),
            Augmentation(noise=share, **CALM)(clip(), np.random.default_rng(3)),
            strict=True,
        ):
            assert least <= len(after) / len(before) <= most
            assert np.isfinite(after.points).all()
