# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The truth of what moves passes through augmentation, mixing, stored drives and clips."""

from dataclasses import replace
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
import torch

from minkowski_perception.frame import Frame
from minkowski_perception.lab.training.clip_size import ClipSize
from minkowski_perception.lab.training.clips import ClipDataset
from minkowski_perception.lab.training.composition import read_augmentation
from minkowski_perception.lab.training.sources import Drives
from minkowski_perception.labels import LabelSet
from minkowski_perception.voxels import VoxelInput

KITTI = LabelSet.load("semantickitti19")
STILL, MOVING = 400, 100
SPEED = np.array([0.8, 0.6, 0.0])


def clip(frames: int = 3, seed: int = 0, posed: bool = True) -> list[Frame]:
    """Return frames of points of which the last ones move; `time` holds each point's number."""
    draw = np.random.default_rng(seed)
    start = draw.uniform(-15, 15, (STILL + MOVING, 3)) * (1, 1, 0.1)
    moving = np.arange(STILL + MOVING) >= STILL
    found = []
    for i in range(frames):
        pose = np.eye(4)
        pose[:3, 3] = 0.5 * i, 0.1 * i, 0.0
        points = start + i * moving[:, None] * SPEED - pose[:3, 3]
        found.append(
            Frame(
                points,
                (i + 1) * 10**8,
                intensity=np.full(len(points), 0.5),
                time=np.arange(len(points)) + 1000 * seed,
                labels=np.where(moving, 0, 8).astype(np.uint8),
                moving=moving,
                pose=pose if posed else None,
            )
        )
    return found


def augmented(parts, frames, another=None, seed=1) -> list[Frame]:
    augment = read_augmentation(parts, "augmentation")
    return augment(frames, np.random.default_rng(seed), another or partial(clip, seed=1))


def steps(first: Frame, second: Frame) -> tuple[np.ndarray, np.ndarray]:
    """Return how far still and moving points, by their truth, went between two frames."""
    _, rows, others = np.intersect1d(first.time, second.time, return_indices=True)
    gone = second.odometry_points[others] - first.odometry_points[rows]
    np.testing.assert_array_equal(first.moving[rows], second.moving[others])
    distances = np.linalg.norm(gone, axis=1)
    return distances[~first.moving[rows]], distances[first.moving[rows]]


@pytest.mark.parametrize(
    "part",
    [
        {"lidar": {"jitter": 0.0, "without_motion": 0.0, "beam_dropout": 0.5}},
        {"rotate": {"x": 5.0, "y": 5.0}},
        {"scale": {}},
        {"flip": {}},
        {"shift": {}},
        {"crop": {"reach": 10.0}},
        {"reverse": {}},
        {"mount": {}},
        {"drop_points": {}},
        {"drop_beams": {}},
        {"shift_intensity": {}},
        {"speckle_intensity": {}},
        {"polar_mix": {"classes": [0]}},
    ],
    ids=lambda part: next(iter(part)),
)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_still_points_stay_and_moving_ones_go_on_after_each_part(part, seed):
    frames = augmented([part], clip(), seed=seed)
    for first, second in pairwise(frames):
        if next(iter(part)) == "polar_mix":  # pastes points several times: no unique numbers
            assert len(second.moving) == len(second)
            assert np.array_equal(second.moving, second.labels == 0)
            continue
        still, moving = steps(first, second)
        assert len(still) > 10
        assert len(moving) > 0
        assert still.max() < 1e-3
        assert moving.min() > 0.9


def test_mixing_keeps_the_motion_of_both_clips():
    frames = augmented([{"laser_mix": {"bands": [4]}}], clip())
    for first, second in pairwise(frames):
        assert {1, 0} == set((second.time >= 1000).astype(int))
        still, moving = steps(first, second)
        assert still.max() < 1e-3
        assert moving.min() > 0.9


def test_mixing_forgets_the_motion_where_the_other_clip_does_not_go_on():
    short = augmented([{"laser_mix": {}}], clip(3), partial(clip, 2, seed=1))
    assert [frame.moving is None for frame in short] == [True, True, False]
    unposed = augmented([{"laser_mix": {}}], clip(3), partial(clip, 3, seed=1, posed=False))
    assert all(frame.moving is None for frame in unposed)


def samples(frames, augmentation=(), length=3, heads=("moving",), **settings):
    spec = VoxelInput.from_dict({"voxel_size": 0.1, "features": ["one"]})
    augment = read_augmentation(list(augmentation), "augmentation")
    size = ClipSize(length, shorter=0.0)
    return ClipDataset([Drives([frames])], size, spec, augment, 0, 4, heads=heads, **settings)


@pytest.mark.parametrize("voxel_labels", ["first", "agreed"])
def test_voxels_of_first_frames_carry_no_truth_of_motion(voxel_labels):
    sample = samples(clip(), voxel_labels=voxel_labels)[0]
    first = sample.coordinates[:, -1] == 0
    assert set(sample.truth["moving"][first].tolist()) == {255}
    later = sample.truth["moving"][~first]
    assert set(later.tolist()) <= {0, 1, 255}
    # Moving points are the cars, in the same voxels.
    agreed = later != 255
    assert torch.equal(later[agreed] == 1, sample.labels[~first][agreed] == 0)
    assert (later == 1).sum() > 50


def test_a_sample_has_the_voxels_of_frames_with_a_known_pose():
    some = [replace(frame, pose=None) if i == 1 else frame for i, frame in enumerate(clip())]
    sample = samples(some)[0]
    assert torch.equal(sample.posed, sample.coordinates[:, -1] != 1)


def test_clips_without_poses_carry_no_truth_of_motion():
    sample = samples(clip(), ["forget_motion", "shift", "jitter_poses"])[0]
    assert not sample.posed.any()
    assert set(sample.truth["moving"].tolist()) == {255}
    assert set(sample.labels.tolist()) == {0, 8}


def test_points_without_a_label_carry_no_truth_of_motion():
    frames = [replace(f, labels=np.where(f.moving, 255, f.labels)) for f in clip()]
    truth = samples(frames)[0].truth["moving"]
    assert set(truth.tolist()) == {0, 255}


def test_drives_in_the_cache_keep_what_moves(tmp_path):
    pytest.importorskip("open3d", reason="needs open3d to simulate drives")
    from minkowski_perception.lab.simulation.drive import simulate_drive
    from minkowski_perception.lab.training.recipe import Data
    from minkowski_perception.lab.training.sources import simulate

    data = Data(seeds=(3, 4), lidars={"vlp16": 1.0}, frames=2, cache=str(tmp_path))
    drawn = list(simulate_drive(3, "vlp16", 2))
    for _ in range(2):  # written, then read
        (drive,) = simulate(data, KITTI, range(3, 4))
        for frame, expected in zip(drive, drawn, strict=True):
            np.testing.assert_array_equal(frame.moving, expected.moving)
    assert drawn[1].moving.any()
