# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
from collections import defaultdict
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch

from minkowski_perception.frame import Frame
from minkowski_perception.streaming.averaging import TemporalAverage
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
        logits = torch.from_numpy(draw.normal(0, 2, (len(voxels.coordinates), 3))).float()
        yield voxels, logits.softmax(dim=1)


def test_a_voxel_has_the_geometric_mean_of_what_was_said_there_and_around_it_old_sums_fading():
    length = 2
    average = TemporalAverage(length)
    around = [offset for offset in product((-1, 0, 1), repeat=3) if any(offset)]
    seen: dict[tuple, int] = {}
    left: dict[tuple, np.ndarray] = defaultdict(lambda: np.zeros(4))
    gaps = set()
    for now, (voxels, probabilities) in enumerate(drive(9)):
        for place, then in seen.items():
            left[place] = left[place] * (1 - 1 / length if now - then <= 2 * length else 0)
        places = [tuple(p) for p in (voxels.coordinates + voxels.origin).tolist()]
        sums = {}
        for place, said in zip(places, probabilities.numpy(), strict=True):
            gaps.add(now - seen.get(place, now))
            beside = np.sum([left[tuple(np.add(place, offset))] for offset in around], axis=0)
            said = np.append(np.log(np.maximum(said, 0.001)), 1)
            sums[place] = said + left[place] + beside / max(beside[-1], 1)
        means = np.exp([total[:-1] / total[-1] for total in sums.values()])
        expected = means / means.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(average(voxels, probabilities), expected, atol=2e-3)
        left |= sums
        seen |= dict.fromkeys(places, now)
    assert gaps >= {1, 2, 3, 4, 5}


def test_an_average_of_one_frame_or_after_a_clear_is_that_frame_s():
    alone, cleared = TemporalAverage(1), TemporalAverage(3)
    for voxels, probabilities in drive(2):
        torch.testing.assert_close(alone(voxels, probabilities), probabilities, rtol=0, atol=2e-3)
        cleared.clear()
        assert cleared.nbytes == 0
        assert torch.equal(cleared(voxels, probabilities), probabilities)


def test_the_state_is_bounded_by_the_places_of_twice_as_many_frames():
    average = TemporalAverage(2)
    seen: list[set] = []
    for voxels, probabilities in drive(12):
        average(voxels, probabilities)
        seen.append({tuple(p) for p in (voxels.coordinates + voxels.origin).tolist()})
        remembered = set().union(*seen[-4:])
        # A key, an age, and the sums of 3 classes and of weights; and the origin.
        assert average.nbytes == len(remembered) * (8 + 2 + 4 * 2) + 3 * 8


def test_places_out_of_a_key_s_range_are_forgotten():
    average = TemporalAverage(2)
    (first, said), (then, said_then) = drive(2)
    far = replace(then, origin=first.origin + 10**5)
    average(first, said)
    torch.testing.assert_close(average(far, said_then), said_then, rtol=0, atol=2e-3)
    assert average.nbytes == len(said_then) * (8 + 2 + 4 * 2) + 3 * 8


def test_a_state_goes_on_where_it_was_taken():
    average, restored = TemporalAverage(3), TemporalAverage(3)
    for i, (voxels, probabilities) in enumerate(drive(6)):
        if i == 4:
            restored.restore(average.state())
        expected = average(voxels, probabilities)
        if i >= 4:
            assert torch.equal(restored(voxels, probabilities), expected)


def test_a_state_of_something_else_is_refused_by_what_it_has():
    with pytest.raises(ValueError, match=r"age and sums, not 0\.places, 0\.said"):
        TemporalAverage(3).restore({"0.said": torch.zeros(1), "0.places": torch.zeros(1)})
