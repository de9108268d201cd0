# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
import torch

from minkowski_perception.frame import Frame
from minkowski_perception.labels import LabelSet
from minkowski_perception.streaming.map import VoxelMap
from minkowski_perception.voxels import VoxelInput, voxelize

SPEC = VoxelInput.from_dict({"voxel_size": 0.5, "features": ["one"]})
CLASSES = LabelSet(
    "three", ("road", "wall", "car"), ((9, 9, 9), (0, 0, 255), (255, 0, 0)), {}, ("car",)
)
SECOND = 10**9


def drive(frames: int, step: float = 30.0, seed: int = 0, unknown: float = 0.3):
    """Yield voxels, probabilities, moving, position and stamp of random frames.

    The sensor goes there and back by `step` metres a frame, so origins change.
    """
    draw = np.random.default_rng(seed)
    for i in range(frames):
        pose = np.eye(4)
        pose[:3, 3] = [step * min(i, frames - i), -7.3 * i, 0.1 * i]
        points = draw.normal(0, 3, (100, 3)) + draw.normal(0, 20, (100, 3)) * (
            draw.random((100, 1)) < 0.3
        )
        voxels = voxelize(Frame(points.astype(np.float32), pose=pose), SPEC)
        count = len(voxels.coordinates)
        logits = torch.from_numpy(draw.normal(0, 2, (count, 3))).float()
        moving = torch.from_numpy(draw.random(count)).float()
        moving[draw.random(count) < unknown] = torch.nan
        yield voxels, logits.softmax(dim=1), moving, pose[:3, 3], SECOND + i * SECOND // 10


@dataclass
class Oracle:
    """The map as a dictionary of voxels, computed voxel by voxel."""

    max_range: float
    max_voxels: int
    seen: dict = field(default_factory=dict)

    def add(self, voxels, probabilities, moving, position, stamp):
        sensor = np.floor(position / 0.5)
        coordinates = (voxels.coordinates + voxels.origin).tolist()
        for at, scores, moves in zip(coordinates, probabilities, moving.tolist(), strict=True):
            stored = self.seen.setdefault(tuple(at), {"logs": [], "moving": []})
            stored["stamp"] = stamp
            stored["logs"].append(np.log(np.maximum(scores.double().numpy(), 1e-3)))
            stored["moving"] += [] if np.isnan(moves) else [moves]
        self.seen = {
            at: stored
            for at, stored in self.seen.items()
            if np.linalg.norm(at - sensor) * 0.5 <= self.max_range
        }
        by_age = sorted(self.seen, key=lambda at: (self.seen[at]["stamp"], at), reverse=True)
        self.seen = {at: self.seen[at] for at in by_age[: self.max_voxels]}

    def check(self, found, keep_moving):
        latest = max(stored["stamp"] for stored in self.seen.values())
        rows = {tuple(np.floor(p / 0.5).astype(int)): i for i, p in enumerate(found.points)}
        assert len(rows) == len(found)
        assert list(rows) == sorted(rows)
        left_out = 0
        for at, stored in self.seen.items():
            means = np.mean(stored["logs"], axis=0)
            shares = np.exp(means) / np.exp(means).sum()
            moving = np.mean(stored["moving"]) if stored["moving"] else np.nan
            row = rows.pop(at, None)
            if row is None:
                moves = shares.argmax() == 2 if np.isnan(moving) else moving > 0.5
                assert moves
                assert not keep_moving
                left_out += 1
                continue
            np.testing.assert_allclose(found.points[row], (np.array(at) + 0.5) * 0.5)
            assert shares[found.labels[row]] > shares.max() - 5e-3
            np.testing.assert_allclose(found.confidence[row], shares.max(), atol=5e-3)
            np.testing.assert_allclose(found.moving[row], moving, atol=1e-5)
            assert keep_moving or not found.moving[row] > 0.5
            assert keep_moving or not (np.isnan(moving) and found.labels[row] == 2)
            np.testing.assert_allclose(
                found.age[row], 1e-9 * (latest - stored["stamp"]), atol=1e-4
            )
        assert not rows
        assert found.stamp == latest
        return left_out


@pytest.mark.parametrize("keep_moving", [False, True])
@pytest.mark.parametrize(
    ("max_range", "max_voxels", "step"), [(60, 10**6, 30), (60, 300, 30), (20, 10**6, 4)]
)
def test_the_map_is_the_dictionary_of_what_was_seen(max_range, max_voxels, step, keep_moving):
    grown = VoxelMap(CLASSES, SPEC, max_range, max_voxels, keep_moving)
    oracle = Oracle(max_range, max_voxels)
    origins, left_out, largest = set(), 0, 0
    for frame in drive(18, step):
        grown.add(*frame)
        oracle.add(*frame)
        left_out += oracle.check(grown.labelled(), keep_moving)
        assert len(grown) == len(oracle.seen)
        origins.add(tuple(frame[0].origin.tolist()))
        largest = max(largest, len(grown))
    assert len(origins) > 1
    assert (left_out > 100) is not keep_moving
    assert largest == 300 if max_voxels == 300 else largest > 1.2 * len(frame[0].coordinates)


def test_a_frame_with_more_voxels_than_allowed_leaves_the_nearest():
    small = VoxelMap(CLASSES, SPEC, 100, 40, keep_moving=True)
    for frame in drive(3):
        small.add(*frame)
        distances = np.linalg.norm(small.labelled().points - frame[3], axis=1)
        voxels = frame[0].coordinates + frame[0].origin
        all_distances = np.sort(np.linalg.norm((voxels.numpy() + 0.5) * 0.5 - frame[3], axis=1))
        assert len(small) == 40
        assert distances.max() < all_distances[60]


def test_without_a_moving_head_moving_is_unknown_and_what_can_move_is_left_out():
    known, unknown = (VoxelMap(CLASSES, SPEC, 100, 10**6, keep) for keep in (True, False))
    for voxels, probabilities, _, position, stamp in drive(5):
        for each in (known, unknown):
            each.add(voxels, probabilities, None, position, stamp)
    everything, stays = known.labelled(), unknown.labelled()
    assert np.isnan(everything.moving).all()
    assert np.isnan(stays.moving).all()
    assert set(everything.labels) == {0, 1, 2}
    assert set(stays.labels) == {0, 1}
    assert len(stays) == (everything.labels != 2).sum()


def test_old_evidence_weighs_no_more_than_thirty_two_frames():
    changed = VoxelMap(CLASSES, SPEC, 100, 10**6, keep_moving=True)
    voxels, _, _, position, stamp = next(drive(1))
    for i in range(100):
        scores = torch.tensor([0.9, 0.1, 0.0] if i < 60 else [0.1, 0.9, 0.0])
        scores = scores.expand(len(voxels.coordinates), 3)
        changed.add(voxels, scores, None, position, stamp + i)
        assert (changed.labelled().labels == (i >= 60 + 21)).all(), i


def test_an_empty_map_has_no_voxels_and_a_cleared_map_is_empty():
    cleared = VoxelMap(CLASSES, SPEC, 100, 10**6, keep_moving=False)
    assert len(cleared.labelled()) == len(cleared) == 0
    assert cleared.state() == {}
    first, second = drive(2)
    empty = replace(first[0], coordinates=first[0].coordinates[:0])
    cleared.add(empty, first[1][:0], first[2][:0], *first[3:])
    assert len(cleared.labelled()) == 0
    cleared.add(*second)
    assert len(cleared) == len(second[1])
    assert cleared.nbytes > 0
    cleared.clear()
    assert len(cleared.labelled()) == cleared.nbytes == 0


def test_memory_is_bounded_while_the_sensor_goes_on():
    bounded = VoxelMap(CLASSES, SPEC, 1000, 300, keep_moving=True)
    largest = 0
    for frame in drive(40, step=200.0):
        bounded.add(*frame)
        largest = max(largest, bounded.nbytes)
    per_voxel = 8 + 2 * 4 + 8 + 3 * 2 + 3 * 1 + 2 * 4
    assert largest <= 300 * per_voxel


@pytest.mark.parametrize("max_voxels", [10**6, 300])
def test_a_restored_map_goes_on_to_the_bit(max_voxels):
    whole, restored = (VoxelMap(CLASSES, SPEC, 60, max_voxels, False) for _ in range(2))
    for frame in drive(12):
        state = {name: tensor.clone() for name, tensor in whole.state().items()}
        restored.restore(state)
        whole.add(*frame)
        restored.add(*frame)
        ours, theirs = whole.state(), restored.state()
        assert ours.keys() == theirs.keys()
        for name, tensor in ours.items():
            torch.testing.assert_close(theirs[name], tensor, rtol=0, atol=0, equal_nan=True)
        for name, column in whole.labelled().fields().items():
            np.testing.assert_array_equal(restored.labelled().fields()[name], column)


def test_a_state_beyond_the_limit_is_restored_without_its_oldest_voxels():
    large, small = (VoxelMap(CLASSES, SPEC, 1000, most, True) for most in (10**6, 100))
    for frame in drive(4):
        large.add(*frame)
    small.restore(large.state())
    assert len(small) == 100
    assert small.labelled().age.max() == 0.0


def test_the_state_of_something_else_is_refused():
    grown = VoxelMap(CLASSES, SPEC, 100, 10**6, keep_moving=False)
    grown.add(*next(drive(1)))
    state = grown.state()
    with pytest.raises(ValueError, match=r"the state of a map has confidence, .*, not voxels"):
        grown.restore({"voxels": state["voxels"]})
    assert len(grown) == 0
    other = LabelSet("two", ("road", "wall"), ((9, 9, 9), (0, 0, 255)))
    with pytest.raises(ValueError, match="state has 3 classes, not 2"):
        VoxelMap(other, SPEC, 100, 10**6, keep_moving=False).restore(state)


def test_voxels_that_are_rounded_have_their_centre_at_the_coordinate():
    rounded = replace(SPEC, rounding="round")
    grown = VoxelMap(CLASSES, rounded, 100, 10**6, keep_moving=True)
    frame = Frame(np.array([[1.1, 2.0, -0.9]], np.float32), pose=np.eye(4))
    grown.add(voxelize(frame, rounded), torch.tensor([[0.8, 0.1, 0.1]]), None, np.zeros(3), 1)
    found = grown.labelled()
    np.testing.assert_allclose(found.points, [[1.0, 2.0, -1.0]])
    fields = found.fields()
    assert list(fields) == ["x", "y", "z", "label", "confidence", "moving", "age", "rgb"]
    np.testing.assert_array_equal(fields["rgb"], CLASSES.shown_palette[:1])
