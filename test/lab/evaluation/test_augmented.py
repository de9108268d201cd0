# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from tiny_models import save_tiny

from minkowski_perception.frame import Frame
from minkowski_perception.lab.evaluation.augmented import AugmentedSegmenter, worlds
from minkowski_perception.motion.poses import pose_matrix
from minkowski_perception.segmenter import Segmenter


@pytest.fixture(scope="module")
def segmenter(tmp_path_factory) -> Segmenter:
    """A causal network, which runs incrementally."""
    folder = tmp_path_factory.mktemp("models")
    save_tiny(folder / "tiny", crf=True, dimension=4, kernel="causal")
    return Segmenter.load(folder / "tiny.yaml", device="cpu", engine="torch", averaging=2)


def drive(frames: int = 3) -> list[Frame]:
    """Frames of a sensor that moves and turns in a still world."""
    draw = np.random.default_rng(5)
    world = draw.uniform(-12, 12, (400, 3)) * [1, 1, 0.2]
    made = []
    for i in range(frames):
        turn = Rotation.from_euler("zyx", [0.1 * i, 0.02 * i, 0.0])
        pose = pose_matrix((0.8 * i, 0.1 * i, 0.0), turn.as_quat())
        points = ((world - pose[:3, 3]) @ pose[:3, :3]).astype(np.float32)
        intensity = draw.random(400).astype(np.float32)
        made.append(Frame(points, 10**9 + i * 10**8, "lidar", intensity, pose=pose))
    return made


def transformed_by_hand(frame: Frame, flip_y: float, degrees: float, scale: float) -> Frame:
    """Mirror, then rotate, then scale, computed with angles and coordinates."""

    def transform(points):
        x, y, z = np.asarray(points, float).T * scale
        y = flip_y * y
        radius, azimuth = np.hypot(x, y), np.arctan2(y, x) + np.radians(degrees)
        return np.stack([radius * np.cos(azimuth), radius * np.sin(azimuth), z], axis=-1)

    # The pose takes transformed points of the sensor to transformed points of the world.
    corners = np.vstack([np.zeros(3), np.eye(3)])
    world = corners @ frame.pose[:3, :3].T + frame.pose[:3, 3]
    pose = np.eye(4)
    sensor, there = transform(corners), transform(world)
    pose[:3, 3] = there[0]
    pose[:3, :3] = np.linalg.solve(sensor[1:], there[1:] - there[0]).T
    return replace(frame, points=transform(frame.points).astype(np.float32), pose=pose)


def test_there_are_36_different_worlds_including_the_original():
    changes = worlds()
    assert len({tuple(np.round(change, 6).ravel()) for change in changes}) == 36
    assert sum(np.allclose(change, np.eye(3)) for change in changes) == 1
    for change in changes:
        scale = np.linalg.norm(change[:, 2])
        assert scale in (0.95, 1.0, 1.05)
        np.testing.assert_allclose(change @ change.T, scale**2 * np.eye(3), atol=1e-12)


def test_the_original_world_gives_the_labels_of_the_segmenter(segmenter):
    plain = segmenter.another_stream()
    augmented = AugmentedSegmenter(segmenter, [np.eye(3)])
    for frame in drive():
        expected, found = plain.segment(frame), augmented.segment(frame)
        np.testing.assert_array_equal(found.labels, expected.labels)
        np.testing.assert_allclose(found.confidence, expected.confidence, atol=1e-6)
        assert (found.frame_count, found.voxel_count) == (
            expected.frame_count,
            expected.voxel_count,
        )


def test_each_world_is_its_own_stream_and_probabilities_are_averaged(segmenter):
    changes = worlds(flips=[(1.0, -1.0)], angles=[0.0, np.pi / 4], scales=[0.95])
    augmented = AugmentedSegmenter(segmenter, changes)
    streams = [segmenter.another_stream() for _ in changes]
    for index, frame in enumerate(drive()):
        found = augmented.segment(frame)
        points = []
        for degrees, stream in zip((0.0, 45.0), streams, strict=True):
            prediction = stream.probabilities(transformed_by_hand(frame, -1.0, degrees, 0.95))
            assert prediction.voxels.valid.all()
            assert prediction.frame_count == index + 1  # it looks back and was never reset
            points.append(prediction.voxels.quantization.slice(prediction.values))
        probability, best = torch.stack(points).mean(dim=0).max(dim=1)
        # By rounding, a point at the edge of a voxel may fall on either side.
        same = found.labels == best.numpy()
        assert same.mean() > 0.98
        near = np.isclose(found.confidence, probability.numpy(), atol=1e-4)
        assert near.mean() > 0.9


class _EnoughError(Exception):
    """Ends the prediction after one frame."""


class FrameCatcher:
    """Replaces a segmenter: keeps the frame and predicts nothing."""

    label_set = ("only",)
    min_confidence = 0.0

    def __init__(self, caught: list[Frame]) -> None:
        self.frames = caught

    def another_stream(self) -> "FrameCatcher":
        return self

    def probabilities(self, frame: Frame):
        self.frames.append(frame)
        raise _EnoughError


@pytest.mark.parametrize("pitch", [-0.4, 0.0, 0.4])
def test_the_vertical_of_a_camera_is_kept(pitch):
    # x right, y down, z forward; in the world z is up.
    optical = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
    pose = pose_matrix((1.0, 2.0, 3.0), Rotation.from_euler("zy", [1.1, pitch]).as_quat())
    pose[:3, :3] = pose[:3, :3] @ optical
    points = np.random.default_rng(2).uniform(-5, 5, (30, 3)).astype(np.float32)
    frame = Frame(points, 1, "optical", pose=pose)
    for linear in worlds():
        caught: list[Frame] = []
        with pytest.raises(_EnoughError):
            AugmentedSegmenter(FrameCatcher(caught), [linear]).segment(frame)
        after = caught[0]
        scale = np.linalg.norm(linear[:, 2])
        np.testing.assert_allclose(after.points[:, 1], scale * points[:, 1], rtol=1e-5)
        world = points @ pose[:3, :3].T + pose[:3, 3]
        moved = after.points @ after.pose[:3, :3].T + after.pose[:3, 3]
        np.testing.assert_allclose(moved, world @ linear.T, atol=1e-5)


def test_points_without_a_measurement_get_no_label(segmenter):
    frame = drive(1)[0]
    frame.points[:5] = np.nan
    frame.points[5] = 0.0
    found = AugmentedSegmenter(segmenter, worlds()[:3]).segment(frame)
    assert (found.labels[:6] == 255).all()
    assert (found.confidence[:6] == 0.0).all()
    assert (found.labels[6:] < 19).all()


def test_a_reset_starts_a_new_stream_in_all_worlds(segmenter):
    augmented = AugmentedSegmenter(segmenter, worlds()[:2])
    frames = drive()
    first = [augmented.segment(frame) for frame in frames]
    assert [prediction.frame_count for prediction in first] == [1, 2, 3]
    augmented.reset()
    again = [augmented.segment(frame) for frame in frames]
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one.confidence, other.confidence)
        assert one.frame_count == other.frame_count
