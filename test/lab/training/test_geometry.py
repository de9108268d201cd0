# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from minkowski_perception.frame import Frame
from minkowski_perception.lab.training.augment import Augmentation
from minkowski_perception.lab.training.geometry import (
    Crop,
    Elastic,
    Flip,
    ForgetMotion,
    JitterPoses,
    Mount,
    Reverse,
    Rotate,
    Scale,
    Shift,
)
from minkowski_perception.motion.poses import pose_matrix


def clip(count=3, points=300):
    """Return a clip of a static scene and a moving sensor."""
    world = np.random.default_rng(1).uniform(-10, 10, (points, 3))
    frames = []
    for i in range(count):
        pose = pose_matrix((2.0 * i, i, 0.1), (0.0, 0.0, np.sin(0.2 * i), np.cos(0.2 * i)))
        seen = ((world - pose[:3, 3]) @ pose[:3, :3]).astype(np.float32)
        frames.append(Frame(seen, stamp=i, labels=np.arange(points) % 19, pose=pose))
    return frames


def in_world(frame):
    return frame.points @ frame.pose[:3, :3].T + frame.pose[:3, 3]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    "change",
    [Rotate(5.0, 5.0, 180.0), Scale(), Flip(("x", "y", "z")), Shift(), Elastic(), Mount()],
    ids=str,
)
def test_static_points_stay_static(change, seed):
    before = clip()
    varied = change(before, np.random.default_rng(seed))
    for frame in varied:
        np.testing.assert_allclose(in_world(frame), in_world(varied[0]), atol=1e-4)
        np.testing.assert_allclose(frame.pose[:3, :3] @ frame.pose[:3, :3].T, np.eye(3), atol=1e-9)
        assert np.linalg.det(frame.pose[:3, :3]) == pytest.approx(1.0)
    for old, again in zip(before, clip(), strict=True):
        assert np.array_equal(old.points, again.points)


def test_a_rotation_keeps_distances_and_its_bounds():
    (frame,) = clip(1)
    for seed in range(20):
        (turned,) = Rotate(x=0.0, y=0.0, z=10.0)([frame], np.random.default_rng(seed))
        np.testing.assert_allclose(turned.points[:, 2], frame.points[:, 2], atol=1e-5)
        angle = np.arctan2(turned.points[:, 1], turned.points[:, 0])
        angle -= np.arctan2(frame.points[:, 1], frame.points[:, 0])
        angle = (angle + np.pi) % (2 * np.pi) - np.pi
        np.testing.assert_allclose(angle, angle[0], atol=1e-4)
        assert 0.0 < abs(np.degrees(angle[0])) <= 10.0


def test_axes_of_a_rotation_are_applied_in_every_order():
    (frame,) = clip(1, 3)
    change = Rotate(90.0, 90.0, 90.0)
    made = set()
    for seed in range(60):

        class Bounds:  # every rotation is by a right angle; only the order is random
            def __init__(self):
                self._rng = np.random.default_rng(seed)  # noqa: B023
                self.permutation = self._rng.permutation

            def uniform(self, low, high):
                return high

        made.add(tuple(np.round(change([frame], Bounds())[0].points[0], 3)))
    assert len(made) > 2


def test_a_scale_multiplies_all_distances():
    (frame,) = clip(1)
    (scaled,) = Scale((0.9, 1.1))([frame], np.random.default_rng(0))
    factor = scaled.points / frame.points
    np.testing.assert_allclose(factor, factor[0, 0], rtol=1e-4)
    assert 0.9 <= factor[0, 0] <= 1.1


def test_each_axis_is_mirrored_in_half_of_the_clips():
    (frame,) = clip(1)
    signs = [
        np.sign(Flip(("x", "z"))([frame], np.random.default_rng(s))[0].points / frame.points)[0]
        for s in range(200)
    ]
    share = (np.array(signs) < 0).mean(axis=0)
    assert share[1] == 0.0
    np.testing.assert_allclose(share[[0, 2]], 0.5, atol=0.12)


def test_an_elastic_distortion_is_smooth_and_as_strong_as_published():
    rng = np.random.default_rng(0)
    points = rng.uniform(0, 3, (4000, 3)).astype(np.float32)
    near = points + np.float32(1e-3)
    (distorted,) = Elastic((0.2,), (0.4,))([Frame(np.concatenate([points, near]))], rng)
    moved = distorted.points - np.concatenate([points, near])
    # The variance of the noise is (19 / 81)^3 at its nodes, and less between them.
    assert 0.5 * 0.4 * (19 / 81) ** 1.5 < moved.std() < 0.4 * (19 / 81) ** 1.5
    assert np.abs(moved[:4000] - moved[4000:]).max() < 2e-3


def test_a_crop_keeps_a_box_around_each_sensor():
    for before, after in zip(clip(), Crop(4.0)(clip(), np.random.default_rng(0)), strict=True):
        inside = (np.abs(before.points) <= 4.0).all(axis=1)
        assert np.array_equal(after.points, before.points[inside])
        assert np.array_equal(after.labels, before.labels[inside])


def test_a_crop_around_the_middle_is_the_same_box_in_all_frames():
    kept = Crop(6.0, around="middle", shift=(0.2, 0.2, 0.0))(clip(), np.random.default_rng(0))
    assert 0 < len(kept[0]) < 300
    for frame in kept[1:]:
        np.testing.assert_allclose(in_world(frame), in_world(kept[0]), atol=1e-4)
    extent = np.ptp(in_world(kept[0]), axis=0)
    assert (extent <= 12.0).all()


def test_a_shift_moves_poses_by_up_to_its_size():
    before = clip()
    shifted = Shift(3.0)(before, np.random.default_rng(0))
    moved = [new.pose - old.pose for old, new in zip(before, shifted, strict=True)]
    np.testing.assert_allclose(moved[1:], np.stack(moved[:1] * 2), atol=1e-12)
    assert 0.0 < np.abs(moved[0][:3, 3]).max() <= 3.0
    assert not moved[0][:, :3].any()


@pytest.mark.parametrize(
    "change",
    [
        *(Rotate(), Scale(), Flip(), Shift(), Elastic(), Crop(4.0), Reverse(), Mount()),
        *(JitterPoses(), Augmentation(without_motion=0.0)),
    ],
    ids=str,
)
def test_frames_without_a_pose_get_none(change):
    mixed = [replace(frame, pose=None) if frame.stamp == 1 else frame for frame in clip()]
    for frame in change(mixed, np.random.default_rng(0)):
        assert (frame.pose is None) == (frame.stamp == 1)


def test_a_mount_moves_the_sensor_frame_and_not_the_world():
    before = clip()
    lowered = Mount((1.0, 2.0))(before, np.random.default_rng(0))
    up = lowered[0].points[0, 2] - before[0].points[0, 2]
    assert 1.0 < up < 2.0
    for old, new in zip(before, lowered, strict=True):
        np.testing.assert_allclose(new.points, old.points + np.float32([0, 0, up]), atol=1e-5)
        np.testing.assert_allclose(in_world(new), in_world(old), atol=1e-4)


def test_removing_poses_does_not_change_points():
    for old, new in zip(clip(), ForgetMotion()(clip(), np.random.default_rng(0)), strict=True):
        assert new.pose is None
        assert np.array_equal(new.points, old.points)


def test_half_of_the_clips_are_reversed():
    orders = [
        tuple(f.stamp for f in Reverse()(clip(points=1), np.random.default_rng(s)))
        for s in range(100)
    ]
    assert set(orders) == {(0, 1, 2), (2, 1, 0)}
    assert 30 < orders.count((2, 1, 0)) < 70


def test_poses_err_from_frame_to_frame_by_up_to_the_standard_deviations():
    before = clip(40, 1)
    largest = []
    for seed in range(30):
        varied = JitterPoses(shift=0.1, turn=2.0)(before, np.random.default_rng(seed))
        errors = [np.linalg.inv(a.pose) @ b.pose for a, b in zip(before, varied, strict=True)]
        shifts = np.std([error[:3, 3] for error in errors])
        turns = np.degrees(np.std([Rotation.from_matrix(e[:3, :3]).as_rotvec() for e in errors]))
        largest.append((shifts, turns))
        for old, new in zip(before, varied, strict=True):
            assert np.array_equal(old.points, new.points)
    assert np.max(largest, axis=0) == pytest.approx([0.1, 2.0], rel=0.2)
    assert np.min(largest, axis=0) == pytest.approx([0.0, 0.0], abs=0.2)
    (without,) = JitterPoses()([Frame(before[0].points)], np.random.default_rng(0))
    assert without.pose is None
