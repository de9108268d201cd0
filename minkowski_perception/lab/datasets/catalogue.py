# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Data sets by name, read as labelled frames (docs/datasets.md)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from minkowski_perception.frame import Frame
from minkowski_perception.lab.datasets import (
    kitti,
    nuscenes,
    pandaset,
    rellis3d,
    s3dis,
    scannet,
    stored,
    synthia4d,
)
from minkowski_perception.lab.datasets.reading import DatasetError, LabelIds, contents_of
from minkowski_perception.labels import LabelSet

__all__ = ["BAG", "STORED", "Dataset", "DatasetError", "dataset_names", "open_dataset"]


@dataclass(frozen=True)
class Dataset:
    """Sequences of labelled frames.

    Attributes:
        name: name of the data set in `open_dataset`.
        label_set: label set of the frames; 255 is unknown.
        sequences: by name, frames in time order, each read on access.
        intensity_full_scale: intensity of full reflection; None if it is unknown or there is no
            intensity.
        truth_by_model: whether a model made the labels.
        label_files: pattern of the files with labels; empty if labels are beside the points.
        ids: meaning of the ids in the files.
    """

    name: str
    label_set: LabelSet
    sequences: Mapping[str, Sequence[Frame]]
    intensity_full_scale: float | None
    truth_by_model: bool = False
    label_files: str = ""
    ids: LabelIds | None = field(default=None, repr=False)


Reader = Callable[[Path, str | None, LabelIds], Mapping[str, Sequence[Frame]]]
"""Returns sequences by name, given a root, a split or None, and the ids in the files."""


@dataclass(frozen=True)
class _Layout:
    """A file layout of a data set.

    Attributes:
        files: pattern of the expected files.
        label_set: name of the data set's own label set.
        full_scale: intensity of full reflection, or None.
        read: reads the sequences; returns none if there are no such files.
        ids: name of the ids in the files, see `LabelIds.of`.
        truth_by_model: whether a model made the labels.
        label_files: see `Dataset`.
    """

    files: str
    label_set: str
    full_scale: float | None
    read: Reader
    ids: str | None = None
    truth_by_model: bool = False
    label_files: str = ""


def _kitti_layout(
    label_set: str, full_scale: float | None, read: Reader = kitti.sequences
) -> _Layout:
    files, labels = "sequences/S/velodyne/*.bin", "sequences/S/labels/*.label"
    return _Layout(files, label_set, full_scale, read, label_files=labels)


def _numbered(*numbers: int) -> frozenset[str]:
    return frozenset(f"{number:02d}" for number in numbers)


_SEMANTICKITTI_SPLITS = {
    "train": _numbered(*range(8), 9, 10),
    "val": _numbered(8),
    "test": _numbered(*range(11, 22)),
}
_SEMANTICKITTI = partial(kitti.sequences, splits=_SEMANTICKITTI_SPLITS)
_NUSCENES_REDUCED = _kitti_layout("nuscenes9", 255.0, partial(kitti.sequences, period=0.5))
_NUSCENES = _Layout(
    "v1.0-*/scene.json",
    "nuscenes16",
    255.0,
    nuscenes.sequences,
    label_files="v1.0-*/lidarseg.json and lidarseg/v1.0-*/*_lidarseg.bin, a download of their own",
)
# The files hold the sensor's signal divided by 65535; the sensor uses about ten bits.
_OUSTER_FULL_SCALE = 1024 / 65535

BAG = "bag"
STORED = "stored_frames"

# Layouts of each data set; the first one found is read.
_LAYOUTS: dict[str, tuple[_Layout, ...]] = {
    "semantickitti": (_kitti_layout("semantickitti19", 1.0, _SEMANTICKITTI),),
    "nuscenes": (_NUSCENES_REDUCED, _NUSCENES),
    "nuscenes11": (
        _NUSCENES_REDUCED,
        replace(_NUSCENES, label_set="nuscenes9", ids="nuscenes_raw"),
    ),
    "pandaset": (
        _kitti_layout("pandaset12", 1.0, pandaset.kitti_sequences),
        _Layout("S/lidar/NN.pkl.gz", "pandaset12", 255.0, pandaset.sequences),
    ),
    "rellis3d": (
        _kitti_layout("rellis9", _OUSTER_FULL_SCALE),
        _Layout(
            "S/os1_cloud_node_kitti_bin/*.bin", "rellis9", _OUSTER_FULL_SCALE, rellis3d.sequences
        ),
    ),
    "synthia4d": (_Layout("SEQ/FOLDER/NNNNNN.ply", "synthia12", None, synthia4d.sequences),),
    "scannet": (_Layout("scans/S/S_vh_clean_2.ply", "scannet20", None, scannet.sequences),),
    "s3dis": (
        _Layout("Area_N/ROOM/Annotations or Area_N/ROOM.ply", "s3dis13", None, s3dis.sequences),
    ),
    "ika": (replace(_kitti_layout("urban10", 255.0), truth_by_model=True),),
}


def dataset_names() -> list[str]:
    """Return the names that `open_dataset` accepts."""
    return [*_LAYOUTS, BAG, STORED]


def open_dataset(
    name: str,
    root: Path,
    split: str | None = None,
    labels: LabelSet | None = None,
    bag_labels: LabelSet | None = None,
) -> Dataset:
    """Open a data set; frames are read on access.

    Args:
        name: one of `dataset_names()`.
        root: its folder. If it contains `sequences/S/velodyne/*.bin`, the layout of SemanticKITTI
            with the ids of the named data set is read; else the data set's own layout.
        split: the data set's name of a split ("train", "val", "test"); None for all sequences.
        labels: label set of the frames; by default the data set's own.
        bag_labels: label set of the label field in a bag, by default semantickitti19.

    Raises:
        DatasetError: the data set, split or layout is unknown, or a file is damaged.
        BagError: the bag is missing or corrupt.
        LabelSetError: `labels` has no mapping from the data set's label set.
    """
    if name == BAG:
        return _open_bag(root, split, bag_labels or LabelSet.load("semantickitti19"), labels)
    if name == STORED:
        return _open_stored(root, split, labels)
    if name not in _LAYOUTS:
        raise DatasetError(
            f"unknown data set '{name}'; choose one of {', '.join(dataset_names())}"
        )
    for layout in _LAYOUTS[name]:
        own = LabelSet.load(layout.label_set)
        ids = LabelIds.of(own, layout.ids, labels)
        if sequences := layout.read(root, split, ids):
            return Dataset(
                name,
                labels or own,
                sequences,
                layout.full_scale,
                layout.truth_by_model,
                layout.label_files,
                ids,
            )
    files = " or ".join(layout.files for layout in _LAYOUTS[name])
    raise DatasetError(f"no data set '{name}' found: expected {files}, but {contents_of(root)}")


def _open_bag(path: Path, split: str | None, own: LabelSet, labels: LabelSet | None) -> Dataset:
    # Bags need rosbags, other data sets do not.
    from minkowski_perception.lab.datasets import labelled_bag

    ids = LabelIds.of(own, own.name, labels)
    sequences = labelled_bag.sequences(path, split, ids)
    by_model = any(sequence.by_model for sequence in sequences.values())
    return Dataset(BAG, labels or own, sequences, None, by_model, ids=ids)


def _open_stored(root: Path, split: str | None, labels: LabelSet | None) -> Dataset:
    frames = stored.sequences(root, split)
    own = LabelSet.load(root / stored.LABELS)
    if labels is not None and labels.names != own.names:
        raise DatasetError(f"{root} has labels of '{own.name}', not of '{labels.name}'")
    return Dataset(STORED, own, frames, 1.0, truth_by_model=True)
