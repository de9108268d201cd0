# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The average over the frames of training clips."""

import numpy as np
import pytest
import torch

from minkowski_perception.frame import Frame
from minkowski_perception.lab.training.averaging import averaged_logits
from minkowski_perception.settings import Settings
from minkowski_perception.streaming.averaging import TemporalAverage
from minkowski_perception.voxels import VoxelInput, stack_in_time, voxelize

SPEC = VoxelInput.from_dict({"voxel_size": 0.5, "features": ["one"]})


def clip(frames: int, seed: int = 0, points: int = 60):
    """Return the voxels of random points; the sensor moves far, and comes back."""
    draw = np.random.default_rng(seed)
    found = []
    for i in range(frames):
        pose = np.eye(4)
        pose[0, 3] = 100.0 * (i % 3)
        cloud = draw.uniform(0, 3, (points, 3)) - pose[:3, 3]
        found.append(voxelize(Frame(cloud.astype(np.float32), pose=pose), SPEC))
    return found


def batch(clips):
    """Return the coordinates [N, 5] of clips, and logits of 3 classes, some of them small."""
    coordinates = torch.cat([stack_in_time(frames, i)[0] for i, frames in enumerate(clips)])
    draw = torch.Generator().manual_seed(0)
    return coordinates, 4.0 * torch.randn(len(coordinates), 3, generator=draw)


@pytest.mark.parametrize("length", [1, 2, Settings.averaging])
def test_the_average_of_a_clip_equals_that_of_a_stream(length):
    clips = [clip(7), clip(1, seed=1), clip(4, seed=2, points=300)]
    coordinates, logits = batch(clips)
    posed = torch.ones(len(logits), dtype=torch.bool)
    found = averaged_logits(logits, coordinates, posed, length).softmax(dim=1)
    alone = logits.softmax(dim=1)
    assert (alone < 1e-3).any()
    expected = []
    sizes = [len(voxels.coordinates) for frames in clips for voxels in frames]
    frames = iter(alone.split(sizes))
    for each in clips:
        average = TemporalAverage(length)
        expected += [average(voxels, next(frames)) for voxels in each]
    torch.testing.assert_close(found, torch.cat(expected), rtol=0, atol=2e-3)
    if length > 1:
        assert (found - alone).abs().max() > 0.1
    shuffled = torch.randperm(len(logits), generator=torch.Generator().manual_seed(0))
    others = averaged_logits(logits[shuffled], coordinates[shuffled], posed, length)
    torch.testing.assert_close(others.softmax(dim=1), found[shuffled])


def test_voxels_unseen_for_twice_the_length_are_dropped():
    coordinates = torch.tensor([[0, 0, 0, 0, 0], *([0, 9 * t, 0, 0, t] for t in range(1, 7))])
    returning = torch.tensor([[0, 0, 0, 0, 7]])
    logits = torch.randn(8, 3, generator=torch.Generator().manual_seed(0))
    for length, kept in ((4, True), (3, False)):
        found = averaged_logits(
            logits, torch.cat([coordinates, returning]), torch.ones(8, dtype=torch.bool), length
        )
        same = torch.allclose(found[-1].softmax(0), logits[-1].softmax(0), atol=1e-3)
        assert same != kept


def test_gradients_of_the_average_equal_finite_differences():
    coordinates, logits = batch([clip(3, points=8), clip(2, seed=1, points=4)])
    posed = torch.ones(len(logits), dtype=torch.bool)
    logits = logits.double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: averaged_logits(x, coordinates, posed), [logits])


def test_the_last_frame_trains_earlier_ones():
    coordinates, logits = batch([clip(3)])
    logits.requires_grad_()
    last = coordinates[:, -1] == 2
    found = averaged_logits(logits, coordinates, torch.ones(len(logits), dtype=torch.bool))
    found[last].log_softmax(dim=1)[:, 0].sum().backward()
    for time in range(3):
        assert logits.grad[coordinates[:, -1] == time].abs().max() > 0


def test_clips_of_one_frame_and_frames_without_a_pose_keep_their_logits():
    coordinates, logits = batch([clip(3), clip(1, seed=1), clip(3, seed=2)])
    posed = coordinates[:, 0] != 0
    found = averaged_logits(logits, coordinates, posed)
    assert torch.equal(found[coordinates[:, 0] < 2], logits[coordinates[:, 0] < 2])
    assert not torch.allclose(found[coordinates[:, 0] == 2], logits[coordinates[:, 0] == 2])
    assert averaged_logits(logits, coordinates, torch.zeros_like(posed)) is logits
    some = (coordinates[:, 0] == 2) & (coordinates[:, -1] != 1)
    kept = averaged_logits(logits, coordinates, some)
    assert torch.equal(kept[~some], logits[~some])
    without = averaged_logits(logits[some], coordinates[some], some[some])
    assert torch.equal(kept[some], without)
