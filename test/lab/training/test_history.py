# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Clips with a history, for range residuals."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from small_recipes import small_recipe

from minkowski_perception.frame import Frame
from minkowski_perception.lab.training.clip_size import ClipSize
from minkowski_perception.lab.training.clips import ClipDataset
from minkowski_perception.lab.training.composition import read_augmentation
from minkowski_perception.lab.training.history import History, PastFrame
from minkowski_perception.lab.training.recipe import Recipe, RecipeError
from minkowski_perception.lab.training.sources import Drives, Recordings
from minkowski_perception.labels import LabelSet
from minkowski_perception.motion.poses import pose_matrix
from minkowski_perception.networks import build_network
from minkowski_perception.networks.model import Model
from minkowski_perception.segmenter import Segmenter
from minkowski_perception.streaming.residuals import RangeHistory
from minkowski_perception.voxels import VoxelInput, voxelize

DELAYS = (0.1, 0.3, 0.6)
SPEC = VoxelInput(0.4, ("one", "z"), reduce="mean", residuals=DELAYS)
TENTH = 10**8


def drive(count=12, points=400):
    rng = np.random.default_rng(0)
    world = rng.uniform((-8, -8, -2), (8, 8, 2), (points, 3))
    frames = []
    for i in range(count):
        pose = pose_matrix((0.3 * i, 0.0, 0.0), (0, 0, 0.02 * i, 1))
        seen = (world + (0, 0.3 * i, 0) * (world[:, :1] > 4) - pose[:3, 3]) @ pose[:3, :3]
        labels, moving = np.full(points, 3), world[:, 0] > 4
        frames.append(
            Frame(seen.astype(np.float32), i * TENTH, labels=labels, moving=moving, pose=pose)
        )
    return frames


def steps(clip):
    """Return the stamps of the clip's frames and of its history, tenths of a second."""
    rows = ([], [])
    for frame in clip:
        rows[isinstance(frame, PastFrame)].append(frame.stamp // TENTH)
    return rows


@pytest.mark.parametrize("source", [Drives([drive()]), Recordings([drive()], full_scale=1.0)])
def test_a_clip_gets_only_the_past_frames_that_a_delay_leads_to(source):
    rng, history = np.random.default_rng(0), History(6, DELAYS)
    for size in (ClipSize(1, 0.0), ClipSize(3, 0.0), ClipSize(3, 0.0, 3)):
        for index in range(12):
            clip = source.clip(rng, size, index, history)
            rows, past = steps(clip)
            assert [f.stamp for f in clip] == sorted(f.stamp for f in clip)
            first = max(rows[0] - 6, 0)
            tolerated = {1: 1, 3: 2, 6: 3}  # a delay of n tenths may be off by half of it
            wanted = set()
            for row in rows:
                for n in tolerated:
                    nearest = max(row - n, first)
                    if nearest < row and 2 * (n - (row - nearest)) <= n:
                        wanted.add(nearest)
            assert set(past) == wanted - set(rows)


def test_of_two_past_frames_equally_near_a_delay_the_later_one_is_taken_as_in_a_stream():
    delay, steps_before = 0.3, (4, 2)
    history = History(2, (delay,))
    stamps = {i: -n * TENTH for i, n in enumerate(steps_before)} | {2: 0}
    assert history.rows(stamps, [2]) == {1}
    first, second, newest = (replace(f, stamp=stamps[i]) for i, f in enumerate(drive(3)))
    spec = VoxelInput(0.4, ("one",), reduce="mean", residuals=(delay,))
    voxels = voxelize(newest, spec, None)
    features = []
    for past in ([first, second], [second]):
        ranges = RangeHistory((delay,))
        for frame in past:
            ranges.remember(frame)
        features.append(ranges.extended(voxels, newest).features)
    assert torch.equal(*features)


def test_without_a_history_clips_are_what_they_were():
    sizes = (ClipSize(3), ClipSize(3, 0.0, 2))
    for source in (Drives([drive()]), Recordings([drive()])):
        for size in sizes:
            one, other = (
                source.clip(np.random.default_rng(1), size, 5, history)
                for history in (None, History(6, DELAYS))
            )
            assert [f.stamp for f in one] == [s * TENTH for s in steps(other)[0]]


AUGMENTATION = [
    {"polar_mix": {"classes": [3]}},
    {"mount": {"height": [-0.3, 0.5]}},
    {"lidar": {"jitter": 0.02, "dropout": 0.3, "without_motion": 0.0}},
    "jitter_poses",
]


def clips(augmentation=(), length=3, stride=1, heads=(), spec=SPEC, frames=None, **settings):
    sources = [Drives([drive() if frames is None else frames])]
    augment = read_augmentation(list(augmentation), "augmentation")
    size = ClipSize(length, shorter=0.0, stride=stride)
    return ClipDataset(sources, size, spec, augment, 0, 20, heads=heads, **settings)


class Recorder:
    """Augmentation that keeps the frames that another one returns."""

    def __init__(self, augment):
        self.augment, self.frames = augment, []

    def __call__(self, clip, rng, another):
        self.frames = self.augment(clip, rng, another)
        return self.frames


@pytest.mark.parametrize("stride", [1, 3])
@pytest.mark.parametrize("history", [0, 6])
def test_samples_have_the_features_that_a_segmenter_computes_on_the_same_frames(stride, history):
    network = build_network(
        "MinkUNet14A", in_channels=8, heads={"classes": 19}, dimension=3, width=0.125
    )
    model = Model("small", network.eval(), LabelSet.load("semantickitti19"), SPEC, 1, {})
    recorder = Recorder(read_augmentation(AUGMENTATION, "augmentation"))
    dataset = ClipDataset(
        [Drives([drive()])], ClipSize(3, 0.0, stride), SPEC, recorder, 0, 20, history=history
    )
    known = np.zeros(3)
    for index in range(5):
        sample = dataset[index]
        segmenter = Segmenter(model, device="cpu", engine="torch", intensity_full_scale=1.0)
        voxels = [segmenter.scores(frame)[0] for frame in recorder.frames]
        pairs = zip(recorder.frames, voxels, strict=True)
        expected = [own.features for frame, own in pairs if not isinstance(frame, PastFrame)]
        assert torch.equal(sample.features, torch.cat(expected))
        known += sample.features[:, 3::2].mean(dim=0).numpy()
    assert known[1] > 0
    assert not history or (known > 0).all()


def test_a_share_of_the_clips_has_no_history():
    def known(**settings):
        dataset = clips(length=1, history=6, **settings)
        return [bool(dataset[i].features[:, 3::2].any()) for i in range(20)]

    assert sum(known()) >= 17  # but the first frame of the drive
    assert not any(known(without_history=1.0))
    assert 5 <= sum(known(without_history=0.5)) <= 15


def test_clips_without_poses_have_unknown_residuals():
    sample = clips(["forget_motion"], history=6)[0]
    assert sample.features.shape[1] == 8
    assert not sample.features[:, 2:].any()


def test_clips_reversed_in_time_have_residuals():
    dataset = clips(["reverse"], history=6)
    assert all(dataset[i].features[:, 3::2].any() for i in range(6))


def test_the_first_frame_of_a_clip_carries_truth_of_motion_if_it_has_a_history():
    with_history, without = clips(heads=["moving"], history=6), clips(heads=["moving"])
    first = [d[1].truth["moving"][d[1].coordinates[:, -1] == 0] for d in (with_history, without)]
    assert {0, 1} <= set(first[0].tolist())
    assert set(first[1].tolist()) == {255}


def test_a_history_without_residuals_is_refused(tmp_path):
    recipe = small_recipe(tmp_path)
    recipe["data"]["history"] = 6
    with pytest.raises(RecipeError, match=r"data\.history: must be 0 without input\.residuals"):
        Recipe.from_dict(recipe)
    recipe["input"]["residuals"] = [0.1]
    with pytest.raises(RecipeError, match="in_channels: must be 4 to fit input and labels, not 2"):
        Recipe.from_dict(recipe)
    recipe["network"]["in_channels"] = 4
    assert Recipe.from_dict(recipe).data.without_history == 0.25


def test_past_frames_remain_past_frames_in_every_part_of_an_augmentation():
    names = ["rotate", "scale", "flip", "shift", "elastic", {"crop": {"reach": 9}}, "reverse"]
    names += ["mount", "forget_motion", "jitter_poses", "jitter", "drop_points", "drop_beams"]
    names += ["laser_mix", {"polar_mix": {"classes": [3]}}, {"lidar": {"noise": 1.0}}]
    names += ["shift_intensity", "speckle_intensity"]
    frames = [replace(f, intensity=np.full(len(f), 0.5)) for f in drive(4)]
    clip = [PastFrame.of(frames[0]), frames[1], PastFrame.of(frames[2]), frames[3]]
    for name in names:
        augment = read_augmentation([name], "augmentation")
        varied = augment(clip, np.random.default_rng(0), lambda: clip)
        expected = {frame.stamp: type(frame) for frame in clip}
        assert {frame.stamp: type(frame) for frame in varied} == expected
