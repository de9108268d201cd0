# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import torch

from minkowski_perception.frame import Frame
from minkowski_perception.temporal.averaging import TemporalAverage
from minkowski_perception.voxels import VoxelInput, voxelize

SPEC = VoxelInput.from_dict({"voxel_size": 0.5, "features": ["one"]})


def drive(frames: int, seed: int = 0):
    """Voxels of random frames and probabilities of 3 classes; the sensor moves 100 m a frame."""
    draw = np.random.default_rng(seed)
    for i in range(frames):
        pose = np.eye(4)
        pose[0, 3] = 100.0 * i
        points = draw.uniform(0, 2, (40, 3)) - pose[:3, 3]
        voxels = voxelize(Frame(points.astype(np.float32), pose=pose), SPEC)
        logits = torch.from_numpy(draw.normal(size=(len(voxels.coordinates), 3))).float()
        yield voxels, logits.softmax(dim=1)


FACES = [(1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0), (0, 0, 1), (0, 0, -1)]


def said(frame: dict, place: tuple[int, ...]):
    """What a frame says of a place, and how much it counts; None where it saw nothing there."""
    if place in frame:
        return frame[place], 1.0
    sides = [tuple(np.add(place, face)) for face in FACES]
    beside = [frame[side] for side in sides if side in frame]
    return (np.mean(beside, axis=0), 0.5) if beside else None


def test_a_voxel_has_the_mean_of_the_frames_that_saw_it_or_what_is_beside_it():
    average = TemporalAverage(3)
    history: list[dict] = []
    for voxels, probabilities in drive(6):
        places = [tuple(p) for p in (voxels.coordinates + voxels.origin).tolist()]
        history.append(dict(zip(places, probabilities.numpy(), strict=True)))
        expected = []
        for place in places:
            heard = [what for frame in history[-3:] if (what := said(frame, place))]
            values, weights = zip(*heard, strict=True)
            expected.append(np.average(values, axis=0, weights=weights))
        np.testing.assert_allclose(average(voxels, probabilities), expected, rtol=1e-5)
    before, now = history[-2:]
    counted = {what[1] if (what := said(before, place)) else 0.0 for place in now}
    assert counted == {0.0, 0.5, 1.0}


def test_an_average_of_one_frame_or_after_a_clear_is_that_frame_s():
    alone, cleared = TemporalAverage(1), TemporalAverage(3)
    for voxels, probabilities in drive(2):
        assert torch.equal(alone(voxels, probabilities), probabilities)
        cleared.clear()
        assert cleared.nbytes == 0
        assert torch.equal(cleared(voxels, probabilities), probabilities)


def test_the_state_is_that_of_the_frames_kept_and_no_more():
    average = TemporalAverage(3)
    sizes = []
    for voxels, probabilities in drive(8):
        average(voxels, probabilities)
        sizes.append(len(probabilities) * (8 + 4 * 4) + 3 * 8)
        assert average.nbytes == sum(sizes[-2:])


def test_a_state_goes_on_where_it_was_taken():
    average, restored = TemporalAverage(3), TemporalAverage(3)
    for i, (voxels, probabilities) in enumerate(drive(6)):
        if i == 4:
            restored.restore(average.state())
        expected = average(voxels, probabilities)
        if i >= 4:
            assert torch.equal(restored(voxels, probabilities), expected)
