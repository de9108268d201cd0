# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
from collections import defaultdict
from dataclasses import replace
from itertools import product
from unittest import mock

import numpy as np
import pytest
import torch

from minkowski_perception.frame import Frame
from minkowski_perception.streaming import averaging
from minkowski_perception.streaming.averaging import TemporalAverage
from minkowski_perception.voxels import VoxelInput, voxelize

COMPILED = averaging.compiled_averaging
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


@pytest.fixture(params=["compiled", "plain PyTorch"], autouse=True)
def loops(request):
    if request.param == "compiled":
        if averaging.compiled_averaging is None:
            pytest.skip("needs Numba")
        yield
    else:
        with mock.patch.object(averaging, "compiled_averaging", None):
            yield


def test_a_voxel_has_the_weighted_geometric_mean_of_itself_and_its_neighbours():
    length = 2
    average = TemporalAverage(length)
    around = [offset for offset in product((-1, 0, 1), repeat=3) if any(offset)]
    seen: dict[tuple, int] = {}
    left: dict[tuple, np.ndarray] = defaultdict(lambda: np.zeros(4))
    gaps = set()
    for now, (voxels, probabilities) in enumerate(drive(9)):
        for voxel, then in seen.items():
            left[voxel] = left[voxel] * (1 - 1 / length if now - then <= 2 * length else 0)
        coordinates = [tuple(p) for p in (voxels.coordinates + voxels.origin).tolist()]
        sums = {}
        for voxel, scores in zip(coordinates, probabilities.numpy(), strict=True):
            gaps.add(now - seen.get(voxel, now))
            beside = np.sum([left[tuple(np.add(voxel, offset))] for offset in around], axis=0)
            scores = np.append(np.log(np.maximum(scores, 0.001)), 1)
            sums[voxel] = scores + left[voxel] + beside / max(beside[-1], 1)
        means = np.exp([total[:-1] / total[-1] for total in sums.values()])
        expected = means / means.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(average(voxels, probabilities), expected, atol=2e-3)
        left |= sums
        seen |= dict.fromkeys(coordinates, now)
    assert gaps >= {1, 2, 3, 4, 5}


def test_an_average_of_one_frame_is_that_frame():
    alone, cleared = TemporalAverage(1), TemporalAverage(3)
    for voxels, probabilities in drive(2):
        torch.testing.assert_close(alone(voxels, probabilities), probabilities, rtol=0, atol=2e-3)
        cleared.clear()
        assert cleared.nbytes == 0
        assert torch.equal(cleared(voxels, probabilities), probabilities)


def test_the_state_holds_the_voxels_of_twice_the_length():
    average = TemporalAverage(2)
    seen: list[set] = []
    for voxels, probabilities in drive(12):
        average(voxels, probabilities)
        seen.append({tuple(p) for p in (voxels.coordinates + voxels.origin).tolist()})
        kept = set().union(*seen[-4:])
        # A key, an age, and the sums of 3 classes and of weights; and the origin.
        assert average.nbytes == len(kept) * (8 + 2 + 4 * 2) + 3 * 8


def test_voxels_out_of_the_range_of_keys_are_dropped():
    average = TemporalAverage(2)
    (first, scores), (second, second_scores) = drive(2)
    far = replace(second, origin=first.origin + 10**5)
    average(first, scores)
    torch.testing.assert_close(average(far, second_scores), second_scores, rtol=0, atol=2e-3)
    assert average.nbytes == len(second_scores) * (8 + 2 + 4 * 2) + 3 * 8


def test_a_restored_average_gives_the_same_results():
    average, restored = TemporalAverage(3), TemporalAverage(3)
    for i, (voxels, probabilities) in enumerate(drive(6)):
        if i == 4:
            restored.restore(average.state())
        expected = average(voxels, probabilities)
        if i >= 4:
            assert torch.equal(restored(voxels, probabilities), expected)


def test_a_state_with_other_tensors_is_refused():
    with pytest.raises(ValueError, match=r"age and sums, not 0\.keys, 0\.scores"):
        TemporalAverage(3).restore({"0.scores": torch.zeros(1), "0.keys": torch.zeros(1)})


def test_voxels_of_a_state_that_are_not_in_order_are_refused():
    average = TemporalAverage(3)
    average(*next(drive(1)))
    state = average.state()
    with pytest.raises(ValueError, match="voxels must be ascending, with an age and sums each"):
        average.restore(state | {"voxels": state["voxels"].flip(0)})
    with pytest.raises(ValueError, match="voxels must be ascending, with an age and sums each"):
        average.restore(state | {"age": state["age"][1:]})


@pytest.mark.parametrize("classes", [1, 3, 19])
@pytest.mark.parametrize("extent", [2, 40])
def test_compiled_sums_equal_those_of_pytorch_to_the_bit(classes, extent):
    if COMPILED is None:
        pytest.skip("needs Numba")
    draw = np.random.default_rng(0)
    compiled, plain = TemporalAverage(3), TemporalAverage(3)
    for i in range(8):
        pose = np.eye(4)
        pose[:3, 3] = 1.3 * i
        # Up to several blocks of voxels, with frames that hardly overlap.
        points = draw.uniform(0, extent, (4000 if i % 3 else 40, 3)) - pose[:3, 3]
        voxels = voxelize(Frame(points.astype(np.float32), pose=pose), SPEC)
        logits = torch.from_numpy(draw.normal(0, 3, (len(voxels.coordinates), classes))).float()
        expected = None
        for average, loops in ((compiled, COMPILED), (plain, None)):
            with mock.patch.object(averaging, "compiled_averaging", loops):
                result = average(voxels, logits.softmax(dim=1))
            assert expected is None or torch.equal(result, expected)
            expected = result
        for name, tensor in compiled.state().items():
            assert torch.equal(tensor, plain.state()[name]), name
