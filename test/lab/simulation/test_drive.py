# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from scipy.spatial import cKDTree

pytest.importorskip("open3d", exc_type=ImportError)

from minkowski_perception.frame import Frame
from minkowski_perception.lab.simulation.drive import simulate_drive
from minkowski_perception.lab.simulation.lidar import get_lidar
from minkowski_perception.labels import UNLABELLED, LabelSet
from minkowski_perception.motion.deskew import deskew

LABELS = LabelSet.load("semantickitti19")


def columns(frame: Frame) -> list[bytes]:
    arrays = (frame.points, frame.intensity, frame.labels, frame.moving, frame.pose)
    return [array.tobytes() for array in arrays]


def test_equal_seeds_give_equal_bytes_and_other_seeds_other_bytes():
    first, again = (list(simulate_drive(5, "vlp16", 2)) for _ in range(2))
    other = next(simulate_drive(6, "vlp16", 2))
    assert [columns(frame) for frame in first] == [columns(frame) for frame in again]
    assert columns(first[0])[0] != columns(other)[0]


def test_frames_have_points_intensity_labels_motion_and_poses():
    model = get_lidar("vlp16")
    frames = list(simulate_drive(1, model, 3, speed=5.0))
    assert np.diff([frame.stamp for frame in frames]).tolist() == [100_000_000] * 2
    for frame in frames:
        ranges = np.linalg.norm(frame.points, axis=1)
        assert 5000 < len(frame) <= 16 * model.azimuth_steps
        assert frame.frame_id == "lidar"
        assert model.min_range - 1e-3 <= ranges.min()
        assert ranges.max() <= model.max_range + 1e-3
        assert frame.intensity.dtype == frame.points.dtype == np.float32
        assert 0.0 <= frame.intensity.min() <= frame.intensity.max() <= 1.0
        assert frame.time is None  # nothing to de-skew
        assert frame.labels.dtype == np.uint8
        assert set(frame.labels) <= {*range(len(LABELS)), UNLABELLED}
        np.testing.assert_allclose(frame.pose[:3, :3] @ frame.pose[:3, :3].T, np.eye(3), atol=1e-9)
    steps = np.diff([frame.pose[:3, 3] for frame in frames], axis=0)
    np.testing.assert_allclose(np.linalg.norm(steps, axis=1), 0.5, rtol=0.1)


def test_the_ground_is_one_mount_height_below_the_sensor():
    frame = next(simulate_drive(3, "hdl64", 1, mount_height=1.73))
    under = (np.linalg.norm(frame.points[:, :2], axis=1) < 6.0) & (
        frame.labels == LABELS.names.index("road")
    )
    assert np.median(frame.points[under, 2]) == pytest.approx(-1.73, abs=0.15)


def test_poses_align_static_points_of_frames():
    frames = list(simulate_drive(1, "os1_64", 6, speed=10.0))
    thin = [LABELS.names.index(name) for name in ("trunk", "pole", "traffic-sign")]

    def standing(frame: Frame) -> np.ndarray:
        near = np.linalg.norm(frame.points, axis=1) < 25.0
        return frame.points[np.isin(frame.labels, thin) & near]

    def distance(motion: np.ndarray) -> float:
        here = standing(frames[-1]) @ motion[:3, :3].T + motion[:3, 3]
        return float(np.median(cKDTree(standing(frames[0])).query(here)[0]))

    assert distance(np.linalg.inv(frames[0].pose) @ frames[-1].pose) < 0.1
    assert distance(np.eye(4)) > 0.3


def test_moving_points_change_position_and_parked_ones_do_not():
    # Slow, so that static objects are seen from the same sides.
    first, *_, last = simulate_drive(4, "hdl64", 6, speed=4.0)

    def away(moving: bool) -> np.ndarray:
        """Distances from movable points of the last frame to the nearest ones of the first."""
        there, here = (
            frame.points[np.isin(frame.labels, LABELS.movable_ids) & (frame.moving == moving)]
            @ frame.pose[:3, :3].T
            + frame.pose[:3, 3]
            for frame in (first, last)
        )
        return cKDTree(there).query(here)[0]

    assert not last.moving[~np.isin(last.labels, LABELS.movable_ids)].any()
    assert (away(moving=False) < 0.3).mean() > 0.9
    assert (away(moving=True) < 0.3).mean() < 0.5


def test_frames_of_a_still_drive_differ_by_noise_only():
    street = next(simulate_drive(4, "vlp16", 2))
    first, second = simulate_drive(4, "vlp16", 2, still=True)
    np.testing.assert_array_equal(first.points, street.points)
    np.testing.assert_array_equal(first.pose, second.pose)
    assert second.stamp - first.stamp == 100_000_000
    assert not first.moving.any()
    assert street.moving.any()
    assert first.points.tobytes() != second.points.tobytes()
    movable = [np.isin(frame.labels, LABELS.movable_ids) for frame in (first, second)]
    apart = cKDTree(first.points[movable[0]]).query(second.points[movable[1]])[0]
    assert np.percentile(apart, 90) < 0.5


def test_deskewing_removes_the_skew():
    """De-skewed static objects coincide with those of frames without skew."""
    straight = list(simulate_drive(4, "os1_64", 3, speed=12.0))
    skewed = list(simulate_drive(4, "os1_64", 3, speed=12.0, skew=True))
    for frame in skewed:
        assert frame.time.dtype == np.float32
        assert 0.0 <= frame.time.min() < 0.01
        assert 0.09 < frame.time.max() < 0.1
    np.testing.assert_array_equal(skewed[2].pose, straight[2].pose)
    restored = deskew(skewed[2], skewed[1].pose, skewed[1].stamp)
    thin = [LABELS.names.index(name) for name in ("trunk", "pole", "traffic-sign")]

    def apart(frame: Frame) -> float:
        """Median distance of thin upright objects between the frame and the one without skew."""
        there, here = (
            f.points[np.isin(f.labels, thin) & (np.linalg.norm(f.points, axis=1) < 25.0)]
            for f in (straight[2], frame)
        )
        return float(np.median(cKDTree(there).query(here)[0]))

    assert apart(restored) < 0.06
    assert apart(skewed[2]) > 2 * apart(restored)


def test_the_body_below_the_sensor_moves_with_it_and_has_no_class():
    """A car under a sensor at 1.9 m: its roof is at the same place in all frames."""
    first, last = simulate_drive(3, "qt128", 2, mount_height=1.9, speed=8.0)

    def body(frame: Frame) -> np.ndarray:
        near = (np.abs(frame.points[:, :2]) < 0.9).all(axis=1) & (frame.points[:, 2] > -0.9)
        assert (frame.labels[near] == UNLABELLED).all()
        assert not frame.moving[near].any()
        return frame.points[near]

    assert len(body(first)) > 200
    assert np.percentile(cKDTree(body(first)).query(body(last))[0], 90) < 0.15


def test_every_class_occurs_in_several_streets():
    seen = np.zeros(256, dtype=int)
    for seed in range(10):
        frame = next(simulate_drive(seed, "hdl64", 1))
        seen += np.bincount(frame.labels, minlength=256) >= 10
    rare = {name: int(seen[i]) for i, name in enumerate(LABELS.names) if seen[i] < 3}
    assert not rare


def test_an_unknown_lidar_is_refused_and_the_names_are_listed():
    with pytest.raises(ValueError, match=r"unknown lidar 'no-such'.*hdl64"):
        next(simulate_drive(0, "no-such", 1))
