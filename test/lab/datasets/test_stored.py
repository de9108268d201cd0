# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from minkowski_perception.frame import Frame
from minkowski_perception.lab.datasets.catalogue import STORED, DatasetError, open_dataset
from minkowski_perception.lab.datasets.stored import write_frame, write_label_set
from minkowski_perception.labels import LabelSet


@pytest.fixture
def root(tmp_path):
    write_label_set(tmp_path, LabelSet.load("urban10"))
    for split, count in (("train", 2), ("held_out", 1)):
        for i in range(count):
            frame = Frame(
                np.full((3, 3), i, np.float32),
                stamp=10**18 + i,
                intensity=np.array([0.0, 0.5, 1.0]),
                labels=np.array([0, 9, 255], np.uint8),
                pose=np.diag([1.0, 1.0, 1.0, 1.0]),
                axes="optical",
            )
            write_frame(tmp_path / split / "drive" / f"{i:06d}.npz", frame)
    return tmp_path


def test_a_frame_is_read_as_it_was_written(root):
    dataset = open_dataset(STORED, root, "train")

    frame = dataset.sequences["drive"][1]

    assert (frame.stamp, frame.axes, frame.height) == (10**18 + 1, "optical", 1)
    assert frame.points.tolist() == [[1.0] * 3] * 3
    assert frame.labels.tolist() == [0, 9, 255]
    assert frame.time is None
    assert dataset.label_set.names == LabelSet.load("urban10").names
    assert dataset.truth_by_model


def test_all_splits_have_names_of_their_own(root):
    dataset = open_dataset(STORED, root)

    lengths = {name: len(frames) for name, frames in dataset.sequences.items()}
    assert lengths == {"held_out/drive": 1, "train/drive": 2}


def test_a_missing_split_is_refused_with_the_valid_ones(root):
    with pytest.raises(DatasetError, match="unknown split 'val'; choose one of held_out, train"):
        open_dataset(STORED, root, "val")


def test_a_folder_without_frames_is_refused(tmp_path):
    with pytest.raises(DatasetError, match="no frames found"):
        open_dataset(STORED, tmp_path)


def test_labels_of_other_classes_are_refused(root):
    with pytest.raises(DatasetError, match="labels of 'urban10', not of 'indoor8'"):
        open_dataset(STORED, root, "train", LabelSet.load("indoor8"))


def test_a_damaged_frame_is_refused(root):
    (root / "train" / "drive" / "000000.npz").write_bytes(b"no frame")

    with pytest.raises(DatasetError, match="cannot read frame"):
        open_dataset(STORED, root, "train").sequences["drive"][0]
