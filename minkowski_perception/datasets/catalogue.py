# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Data sets by name: labelled frames, whatever the layout of their files (docs/datasets.md)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from minkowski_perception.datasets.kitti import KittiSequence, sequence_folders
from minkowski_perception.datasets.reading import DatasetError, LabelIds, found_in, only_split
from minkowski_perception.frame import Frame
from minkowski_perception.labels import LabelSet

__all__ = ["Dataset", "DatasetError", "dataset_names", "open_dataset"]


@dataclass(frozen=True)
class Dataset:
    """Labelled frames.

    Attributes:
        name: what `open_dataset` calls the data set.
        label_set: what the frames' labels are in; 255 is unknown.
        sequences: by name, frames in order of time; each is read when it is asked for.
        intensity_full_scale: the intensity that stands for all light coming back, None where the
            data set has no intensity.
    """

    name: str
    label_set: LabelSet
    sequences: Mapping[str, Sequence[Frame]]
    intensity_full_scale: float | None


@dataclass(frozen=True)
class _Kind:
    """What is known of a data set before it is opened.

    Attributes:
        label_set: name of its own.
        full_scale: of intensity.
        period: seconds between scans where no file tells their times.
        splits: names of sequences in the layout of SemanticKITTI, by split.
    """

    label_set: str
    full_scale: float
    period: float = 0.1
    splits: Mapping[str, frozenset[str]] | None = None


def _numbered(*numbers: int) -> frozenset[str]:
    return frozenset(f"{number:02d}" for number in numbers)


_SEMANTICKITTI_SPLITS = {
    "train": _numbered(*range(8), 9, 10),
    "val": _numbered(8),
    "test": _numbered(*range(11, 22)),
}

_KINDS = {
    "semantickitti": _Kind("semantickitti19", 1.0, splits=_SEMANTICKITTI_SPLITS),
    "nuscenes11": _Kind("nuscenes9", 255.0, period=0.5),
    "pandaset": _Kind("pandaset12", 1.0),
    "ika": _Kind("urban10", 255.0),
}


def dataset_names() -> list[str]:
    """Names that `open_dataset` knows."""
    return list(_KINDS)


def open_dataset(
    name: str, root: Path, split: str | None = None, labels: LabelSet | None = None
) -> Dataset:
    """Find the frames of a data set; none is read yet.

    Args:
        name: one of `dataset_names()`.
        root: its folder. Where that holds `sequences/S/velodyne/*.bin`, they are read as
            SemanticKITTI's are, with the ids of the named data set; else the data set's own
            layout is looked for.
        split: as the data set calls it ("train", "val", "test"); None takes all sequences.
        labels: the set that labels are wanted in; by default the data set's own.

    Raises:
        DatasetError: there is no such data set, split or layout, or a file is damaged.
        LabelSetError: `labels` does not know the data set's.
    """
    kind = _KINDS.get(name)
    if kind is None:
        raise DatasetError(f"unknown data set '{name}'; choose one of {', '.join(_KINDS)}")
    own = LabelSet.load(kind.label_set)
    ids = LabelIds.of(own, target=labels)
    folders = sequence_folders(root)
    if not folders:
        raise DatasetError(
            f"no data set '{name}': sequences/S/velodyne/*.bin is looked for, and {found_in(root)}"
        )
    sequences = {
        sequence: KittiSequence(folders[sequence], ids, kind.period)
        for sequence in only_split(folders, split, dict(kind.splits or {}))
    }
    return Dataset(name, labels or own, sequences, kind.full_scale)
