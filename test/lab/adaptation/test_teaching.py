# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
from collections import defaultdict

import numpy as np
import pytest

from minkowski_perception.frame import Frame
from minkowski_perception.lab.adaptation.errors import AdaptationError
from minkowski_perception.lab.adaptation.observation import Seen, Stretch
from minkowski_perception.lab.adaptation.places import Places, place_keys
from minkowski_perception.lab.adaptation.pseudo_labels import Choice
from minkowski_perception.lab.adaptation.teaching import teach
from minkowski_perception.lab.datasets.catalogue import STORED, open_dataset
from minkowski_perception.lab.datasets.stored import write_frame
from minkowski_perception.labels import LabelSet

LABELS = LabelSet(
    "three", ("road", "wall", "car"), ((0, 0, 0), (9, 9, 9), (255, 0, 0)), movable=("car",)
)
CAR = 2


def stretch(folder, name, held_out, rng, frames=5, still=True):
    """Return a stretch of random voxels on a small grid, and all that its frames say."""
    made = Stretch(name, held_out, Places(len(LABELS)))
    said = []
    for i in range(frames):
        cells = np.unique(rng.integers(0, 4, (25, 3)) * (1, 1, 0), axis=0)
        logits = rng.normal(0.0, 1.0, (len(cells), 3)) + 2.0 * np.eye(3)[cells[:, 0] % 3]
        probabilities = (np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)).astype("f4")
        moves = np.zeros(len(cells), bool) if still else rng.random(len(cells)) < 0.3
        ranges = rng.uniform(1.0, 30.0, len(cells))
        keys = place_keys(cells)
        made.places.add(keys[~moves], probabilities[~moves], ranges[~moves])
        file = folder / f"{name}_{i:06d}.npz"
        points = cells.astype("f4").repeat(2, axis=0)
        write_frame(file, Frame(points, i, pose=np.eye(4)))
        voxel_of = np.arange(len(cells), dtype=np.int32).repeat(2)
        own, best = probabilities.argmax(axis=1).astype(np.uint8), probabilities.max(axis=1)
        made.frames.append(Seen(file, keys, voxel_of, own, best > 0.5, None if still else moves))
        said.append((cells, probabilities, ranges, moves))
    return made, said


def expected(said, choice):
    """Return the pseudo labels of the voxels of each frame, by dictionaries over places."""
    sums, frames = defaultdict(lambda: np.zeros(4)), defaultdict(int)
    for cells, probabilities, ranges, moves in said:
        for cell, row, distance, moving in zip(
            cells.tolist(), probabilities, ranges, moves, strict=True
        ):
            if not moving:
                weight = 1.0 / (1.0 + (distance / 15.0) ** 2)
                sums[tuple(cell)] += weight * np.array([*row, 1.0])
                frames[tuple(cell)] += 1
    result = []
    for cells, probabilities, _, moves in said:
        labels = []
        for cell, row, moving in zip(cells.tolist(), probabilities, moves, strict=True):
            if moving or frames[tuple(cell)] < choice.frames:
                labels.append(255)
                continue
            mean = sums[tuple(cell)][:3] / sums[tuple(cell)][3]
            label, own = int(mean.argmax()), int(row.argmax())
            passing = row.max() > 0.5 and (own == CAR) != (label == CAR)
            labels.append(255 if passing or mean.max() < choice.least else label)
        result.append(labels)
    return result


@pytest.mark.parametrize("still", [True, False])
def test_frames_get_the_labels_of_dictionaries_over_the_places_of_their_stretch(tmp_path, still):
    rng = np.random.default_rng(0)
    choice = Choice(least=0.5, enough=0.5, frames=3, growth=100.0)
    first, said = stretch(tmp_path, "a_0", False, rng, still=still)
    last, said_last = stretch(tmp_path, "a_1", True, rng, frames=4, still=still)

    taught = teach([first, last], LABELS, choice, tmp_path / "root")

    voxels = []
    for split, name, told in (("train", "a_0", said), ("held_out", "a_1", said_last)):
        frames = open_dataset(STORED, tmp_path / "root", split).sequences[name]
        found = [frame.labels[::2].tolist() for frame in frames]
        assert found == expected(told, choice)
        assert all(frame.labels[::2].tolist() == frame.labels[1::2].tolist() for frame in frames)
        voxels.append(np.concatenate(found))
    assert {*np.unique(voxels[0])} == {0, 1, 2, 255}
    assert (taught.frames, taught.held_out) == (5, 4)
    assert taught.share == pytest.approx((voxels[0] != 255).mean(), abs=1e-4)
    assert not list(tmp_path.glob("*.npz"))


def test_stretches_of_one_frame_are_left_out(tmp_path):
    rng = np.random.default_rng(0)
    parts = [
        stretch(tmp_path, "a_0", False, rng)[0],
        stretch(tmp_path, "a_1", False, rng, frames=1)[0],
        stretch(tmp_path, "a_2", True, rng, frames=2)[0],
    ]

    taught = teach(parts, LABELS, Choice(frames=1, least=0.0), tmp_path / "root")

    assert (taught.frames, taught.held_out) == (5, 2)


def test_recordings_with_too_few_frames_are_refused(tmp_path):
    rng = np.random.default_rng(0)
    parts = [
        stretch(tmp_path, "a_0", False, rng)[0],
        stretch(tmp_path, "a_1", True, rng, frames=1)[0],
    ]

    with pytest.raises(AdaptationError, match=r"too short.*a_0: 5 frames, a_1: 1 frames"):
        teach(parts, LABELS, Choice(), tmp_path / "root")
