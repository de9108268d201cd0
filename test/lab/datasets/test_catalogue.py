# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import numpy as np
import pytest

from minkowski_perception.lab.datasets.catalogue import DatasetError, dataset_names, open_dataset
from minkowski_perception.labels import LabelSet, LabelSetError

POINTS = np.arange(20, dtype="<f4").reshape(5, 4)


def write(root, ids, sequences=("00",), frames=2):
    """Write sequences of five points per scan in the layout of SemanticKITTI."""
    for sequence in sequences:
        for kind, suffix, data in (("velodyne", "bin", POINTS), ("labels", "label", ids)):
            folder = root / "sequences" / sequence / kind
            folder.mkdir(parents=True)
            for i in range(frames):
                (folder / f"{i:06d}.{suffix}").write_bytes(np.asarray(data).tobytes())
    return root


def names_of(dataset, frame):
    return [None if i == 255 else dataset.label_set.names[i] for i in frame.labels]


IDS = {
    "semantickitti": ([40, 252, 80, 0, 49], ["road", "car", "pole", None, "other-ground"]),
    "nuscenes11": ([0, 8, 2, 10, 4], ["road", "truck", "manmade", None, "vegetation-terrain"]),
    "pandaset": ([8, 14, 41, 42, 31], ["road", "truck", "building", None, "person"]),
    "ika": ([0, 8, 3, 10, 5], ["road", "truck", "pole-barrier-cone", None, "person"]),
}

MOUNTS = {"pandaset": np.array([0, 0.80, 1.85], np.float32)}
"""Positions of LiDARs in the frame of the files, if that is another one."""


@pytest.mark.parametrize("name", IDS)
def test_the_layout_of_semantickitti_is_read_with_the_ids_of_the_data_set(tmp_path, name):
    ids, meaning = IDS[name]
    dataset = open_dataset(name, write(tmp_path, np.array(ids, "<u4"), ("00", "b")))
    assert (dataset.name, list(dataset.sequences)) == (name, ["00", "b"])
    assert [len(sequence) for sequence in dataset.sequences.values()] == [2, 2]
    frame = dataset.sequences["b"][1]
    assert names_of(dataset, frame) == meaning
    np.testing.assert_array_equal(frame.points, POINTS[:, :3] - MOUNTS.get(name, 0))


@pytest.mark.parametrize("name", IDS)
def test_labels_are_mapped_to_the_requested_set(tmp_path, name):
    ids, _ = IDS[name]
    groups = LabelSet.load("outdoor_groups7")
    dataset = open_dataset(name, write(tmp_path, np.array(ids, "<u4")), labels=groups)
    assert dataset.label_set is groups
    first, second, *_ = names_of(dataset, dataset.sequences["00"][0])
    assert (first, second) == ("ground", "vehicle")


def test_a_label_set_without_a_mapping_is_refused(tmp_path):
    root = write(tmp_path, np.zeros(5, "<u4"))
    with pytest.raises(LabelSetError, match="no mapping from label set 'urban10' to 'scannet20'"):
        open_dataset("ika", root, labels=LabelSet.load("scannet20"))


def test_a_split_selects_sequences(tmp_path):
    root = write(tmp_path / "dataset", np.zeros(5, "<u4"), ("00", "08", "10", "11"))
    chosen = {
        split: list(open_dataset("semantickitti", root.parent, split).sequences)
        for split in ("train", "val", "test")
    }
    assert chosen == {"train": ["00", "10"], "val": ["08"], "test": ["11"]}


def test_an_unknown_or_absent_split_is_refused(tmp_path):
    root = write(tmp_path, np.zeros(5, "<u4"))
    with pytest.raises(DatasetError, match="split 'val' has 08, but found only 00"):
        open_dataset("semantickitti", root, "val")
    with pytest.raises(DatasetError, match="unknown split 'all'; choose one of train, val, test"):
        open_dataset("semantickitti", root, "all")
    with pytest.raises(DatasetError, match="unknown split 'val'; the data set has no splits"):
        open_dataset("ika", root, "val")


def test_a_wrong_root_is_refused_with_expected_and_found_files(tmp_path):
    (tmp_path / "velodyne").mkdir()
    expected = r"expected sequences/S/velodyne/\*.bin"
    with pytest.raises(DatasetError, match=rf"{expected}, .*{tmp_path} contains velodyne"):
        open_dataset("semantickitti", tmp_path)
    with pytest.raises(DatasetError, match=rf"{expected}, .*none does not exist"):
        open_dataset("ika", tmp_path / "none")


def test_an_unknown_name_is_refused_with_the_valid_ones(tmp_path):
    with pytest.raises(DatasetError, match="unknown data set 'moon'; choose one of semantickitti"):
        open_dataset("moon", tmp_path)
    assert "semantickitti" in dataset_names()


def test_the_docs_list_each_data_set_and_its_label_set():
    page = (Path(__file__).parents[3] / "docs" / "datasets.md").read_text()
    rows = [line.split("|")[1:-1] for line in page.splitlines() if line.startswith("| `")]
    table = {row[0].strip(" `"): row[3].strip(" `") for row in rows if len(row) == 5}
    assert sorted(table) == sorted(dataset_names())
    assert set(table.values()) - {"--bag-labels", "labels.yaml"} <= set(LabelSet.available())


def test_frames_are_read_on_access(tmp_path):
    root = write(tmp_path, np.zeros(5, "<u4"))
    frames = open_dataset("semantickitti", root).sequences["00"]
    (root / "sequences/00/velodyne/000001.bin").write_bytes(b"12345")
    assert len(frames[1:]) == 1
    assert len(frames[0]) == 5
    with pytest.raises(DatasetError, match=r"000001\.bin has 5 bytes"):
        frames[-1]
    with pytest.raises(IndexError):
        frames[2]


@pytest.mark.parametrize(
    ("name", "folder", "frames"),
    [
        ("semantickitti", "semantickitti_00", 10),
        ("nuscenes11", "nuscenes_scene_a", 32),
        ("pandaset", "pandaset", 4),
        ("ika", "ika_vlp32", 32),
    ],
)
def test_real_recordings_are_read(shared_data, name, folder, frames):
    dataset = open_dataset(name, shared_data / folder)
    sequence = next(iter(dataset.sequences.values()))
    assert len(sequence) == frames
    frame = sequence[-1]
    assert frame.pose is not None
    assert 0.1 < frame.intensity.max() / dataset.intensity_full_scale <= 1.0
    road, building = (
        np.isin(frame.labels, [i for i, n in enumerate(dataset.label_set.names) if n in names])
        for names in (("road",), ("building", "manmade"))
    )
    assert np.median(frame.points[road, 2]) + 0.5 < np.median(frame.points[building, 2])
