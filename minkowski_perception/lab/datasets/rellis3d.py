# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""RELLIS-3D: an OS1-64 off road.

`S/os1_cloud_node_kitti_bin/*.bin`, `S/os1_cloud_node_semantickitti_label_id/*.label` and
`S/poses.txt` with `S/calib.txt` have the formats of SemanticKITTI. `pt_train.lst`, `pt_val.lst`
and `pt_test.lst` beside the sequences list the frames of a split. The data set's example (scans
and labels in one folder) is supported too.
"""

from __future__ import annotations

from collections import defaultdict
from functools import partial
from pathlib import Path

import numpy as np

from minkowski_perception.frame import Frame
from minkowski_perception.lab.datasets.kitti import KittiSequence
from minkowski_perception.lab.datasets.reading import (
    DatasetError,
    Frames,
    LabelIds,
    contents_of,
    files_in,
)

_SCANS = "os1_cloud_node_kitti_bin"
_LABELS = "os1_cloud_node_semantickitti_label_id"
_SPLITS = ("train", "val", "test")


def sequences(root: Path, split: str | None, ids: LabelIds) -> dict[str, Frames[int]]:
    """Return the sequences by name; empty if there are none.

    Args:
        root: contains the folders of the sequences, directly or in `Rellis-3D`.
        split: "train", "val" or "test", or None for all frames.
        ids: meaning of the ids in the files.

    Raises:
        DatasetError: the split is unknown, or a sequence cannot be read.
    """
    for base in (root, root / "Rellis-3D"):
        if folders := sorted(f.parent for f in base.glob(f"*/{_SCANS}")):
            wholes = {
                f.name: KittiSequence(f, ids, scan_folder=_SCANS, label_folder=_LABELS)
                for f in folders
            }
            return _of_split(base, split, wholes)
    labelled = {file.stem for file in files_in(root, "*.label")}
    if not labelled & {file.stem for file in files_in(root, "*.bin")}:
        return {}
    whole = KittiSequence(root, ids, scan_folder=".", label_folder=".")
    kept = [i for i in range(len(whole)) if whole.name_of(i) in labelled]
    return {root.name: Frames(kept, partial(_frame, whole))}


def _of_split(
    base: Path, split: str | None, wholes: dict[str, KittiSequence]
) -> dict[str, Frames[int]]:
    if split is None:
        return {n: Frames(range(len(w)), partial(_frame, w)) for n, w in wholes.items()}
    if split not in _SPLITS:
        raise DatasetError(f"unknown split '{split}'; choose one of {', '.join(_SPLITS)}")
    path = base / f"pt_{split}.lst"
    if not path.exists():
        raise DatasetError(f"split '{split}' needs {path}: {contents_of(base)}")
    names = defaultdict(set)
    for line in path.read_text().split("\n"):
        if line.strip():
            scan = Path(line.split()[0])
            names[scan.parts[0]].add(scan.stem)
    found = {}
    for sequence in sorted(names):
        if sequence not in wholes:
            raise DatasetError(f"{path} lists sequence {sequence}, but {contents_of(base)}")
        whole = wholes[sequence]
        kept = [i for i in range(len(whole)) if whole.name_of(i) in names[sequence]]
        if len(kept) < len(names[sequence]):
            missing = names[sequence] - {whole.name_of(i) for i in kept}
            raise DatasetError(
                f"{path} lists {sequence}/{_SCANS}/{min(missing)}.bin, which is missing"
            )
        found[sequence] = Frames(kept, partial(_frame, whole))
    return found


def _frame(whole: KittiSequence, index: int) -> Frame:
    """Read a frame; set rays without a return, which are at the origin in the files, to NaN."""
    frame = whole[index]
    frame.points[~frame.points.any(axis=1)] = np.nan
    return frame
