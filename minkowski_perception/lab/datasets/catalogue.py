# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Data sets by name: labelled frames, whatever the layout of their files (docs/datasets.md)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
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
    synthia4d,
)
from minkowski_perception.lab.datasets.reading import DatasetError, LabelIds, found_in
from minkowski_perception.labels import LabelSet

__all__ = ["Dataset", "DatasetError", "dataset_names", "open_dataset"]


@dataclass(frozen=True)
class Dataset:
    """Labelled frames.

    Attributes:
        name: what `open_dataset` calls the data set.
        label_set: what the frames' labels are in; 255 is unknown.
        sequences: by name, frames in order of time; each is read when it is asked for.
        intensity_full_scale: the intensity that stands for all light coming back, None where it
            is not known or there is no intensity.
    """

    name: str
    label_set: LabelSet
    sequences: Mapping[str, Sequence[Frame]]
    intensity_full_scale: float | None


Reader = Callable[[Path, str | None, LabelIds], Mapping[str, Sequence[Frame]]]
"""Gives sequences by name, of a root, a split or None, and what the ids in the files mean."""


@dataclass(frozen=True)
class _Layout:
    """How a data set's files can lie.

    Attributes:
        files: which are looked for.
        label_set: name of the data set's own.
        full_scale: of intensity.
        read: gives the sequences; none where there are no such files.
        ids: name of the ids in the files, see `LabelIds.of`.
    """

    files: str
    label_set: str
    full_scale: float | None
    read: Reader
    ids: str | None = None


def _as_kitti(label_set: str, full_scale: float | None, read: Reader = kitti.sequences) -> _Layout:
    return _Layout("sequences/S/velodyne/*.bin", label_set, full_scale, read)


def _numbered(*numbers: int) -> frozenset[str]:
    return frozenset(f"{number:02d}" for number in numbers)


_SEMANTICKITTI_SPLITS = {
    "train": _numbered(*range(8), 9, 10),
    "val": _numbered(8),
    "test": _numbered(*range(11, 22)),
}
_SEMANTICKITTI = partial(kitti.sequences, splits=_SEMANTICKITTI_SPLITS)
_NUSCENES_REDUCED = _as_kitti("nuscenes9", 255.0, partial(kitti.sequences, period=0.5))
_NUSCENES_FILES = "v1.0-*/scene.json"
# The sensor's signal over 65535, of which it uses some ten bits.
_OUSTER_FULL_SCALE = 1024 / 65535

_BAG = "bag"

# The layouts in which each can lie, the first that is there is read.
_LAYOUTS: dict[str, tuple[_Layout, ...]] = {
    "semantickitti": (_as_kitti("semantickitti19", 1.0, _SEMANTICKITTI),),
    "nuscenes": (
        _NUSCENES_REDUCED,
        _Layout(_NUSCENES_FILES, "nuscenes16", 255.0, nuscenes.sequences),
    ),
    "nuscenes11": (
        _NUSCENES_REDUCED,
        _Layout(_NUSCENES_FILES, "nuscenes9", 255.0, nuscenes.sequences, "nuscenes_raw"),
    ),
    "pandaset": (
        _as_kitti("pandaset12", 1.0, pandaset.kitti_sequences),
        _Layout("S/lidar/NN.pkl.gz", "pandaset12", 255.0, pandaset.sequences),
    ),
    "rellis3d": (
        _as_kitti("rellis9", _OUSTER_FULL_SCALE),
        _Layout(
            "S/os1_cloud_node_kitti_bin/*.bin", "rellis9", _OUSTER_FULL_SCALE, rellis3d.sequences
        ),
    ),
    "synthia4d": (_Layout("SEQ/FOLDER/NNNNNN.ply", "synthia12", None, synthia4d.sequences),),
    "scannet": (_Layout("scans/S/S_vh_clean_2.ply", "scannet20", None, scannet.sequences),),
    "s3dis": (
        _Layout("Area_N/ROOM/Annotations or Area_N/ROOM.ply", "s3dis13", None, s3dis.sequences),
    ),
    "ika": (_as_kitti("urban10", 255.0),),
}


def dataset_names() -> list[str]:
    """Names that `open_dataset` knows."""
    return [*_LAYOUTS, _BAG]


def open_dataset(
    name: str,
    root: Path,
    split: str | None = None,
    labels: LabelSet | None = None,
    bag_labels: LabelSet | None = None,
) -> Dataset:
    """Find the frames of a data set; none is read yet.

    Args:
        name: one of `dataset_names()`.
        root: its folder. Where that holds `sequences/S/velodyne/*.bin`, they are read as
            SemanticKITTI's are, with the ids of the named data set; else the data set's own
            layout is looked for.
        split: as the data set calls it ("train", "val", "test"); None takes all sequences.
        labels: the set that labels are wanted in; by default the data set's own.
        bag_labels: the set that the labels in a bag's clouds are in, by default semantickitti19.

    Raises:
        DatasetError: there is no such data set, split or layout, or a file is damaged.
        BagError: there is no bag, or it is corrupt.
        LabelSetError: `labels` does not know the data set's.
    """
    if name == _BAG:
        return _open_bag(root, split, bag_labels or LabelSet.load("semantickitti19"), labels)
    if name not in _LAYOUTS:
        raise DatasetError(
            f"unknown data set '{name}'; choose one of {', '.join(dataset_names())}"
        )
    for layout in _LAYOUTS[name]:
        own = LabelSet.load(layout.label_set)
        ids = LabelIds.of(own, layout.ids, labels)
        if sequences := layout.read(root, split, ids):
            return Dataset(name, labels or own, sequences, layout.full_scale)
    files = " or ".join(layout.files for layout in _LAYOUTS[name])
    raise DatasetError(f"no data set '{name}': {files} is looked for, and {found_in(root)}")


def _open_bag(path: Path, split: str | None, own: LabelSet, labels: LabelSet | None) -> Dataset:
    # Bags need rosbags, which nobody else does.
    from minkowski_perception.lab.datasets import labelled_bag

    ids = LabelIds.of(own, own.name, labels)
    return Dataset(_BAG, labels or own, labelled_bag.sequences(path, split, ids), None)
