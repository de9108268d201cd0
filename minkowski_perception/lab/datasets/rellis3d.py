# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""RELLIS-3D: an OS1-64 off road.

`S/os1_cloud_node_kitti_bin/*.bin` and `S/os1_cloud_node_semantickitti_label_id/*.label` are as
SemanticKITTI's, `S/poses.txt` with `S/calib.txt` too. `pt_train.lst`, `pt_val.lst` and
`pt_test.lst` beside the sequences name the frames of a split. The data set's example (scans and
their labels in one folder) is read as well.
"""

from __future__ import annotations

from collections import defaultdict
from functools import partial
from pathlib import Path

import numpy as np

from minkowski_perception.frame import Frame
from minkowski_perception.lab.datasets.kitti import KittiSequence
from minkowski_perception.lab.datasets.reading import DatasetError, Frames, LabelIds, found_in

_SCANS = "os1_cloud_node_kitti_bin"
_TRUTHS = "os1_cloud_node_semantickitti_label_id"
_SPLITS = ("train", "val", "test")


def sequences(root: Path, split: str | None, ids: LabelIds) -> dict[str, Frames[int]]:
    """Sequences by name, none where none is there.

    Args:
        root: holds the folders of the sequences, or its folder `Rellis-3D` does.
        split: "train", "val" or "test", or None for all frames.
        ids: what the ids in the files mean.

    Raises:
        DatasetError: there is no such split, or a sequence cannot be read.
    """
    for base in (root, root / "Rellis-3D"):
        if folders := sorted(f.parent for f in base.glob(f"*/{_SCANS}")):
            wholes = {f.name: KittiSequence(f, ids, scans=_SCANS, truths=_TRUTHS) for f in folders}
            return _of_split(base, split, wholes)
    labelled = {file.stem for file in root.glob("*.label")}
    if not labelled & {file.stem for file in root.glob("*.bin")}:
        return {}
    whole = KittiSequence(root, ids, scans=".", truths=".")
    kept = [i for i in range(len(whole)) if whole.name_of(i) in labelled]
    return {root.name: Frames(kept, partial(_frame, whole))}


def _of_split(
    base: Path, split: str | None, wholes: dict[str, KittiSequence]
) -> dict[str, Frames[int]]:
    if split is None:
        return {n: Frames(range(len(w)), partial(_frame, w)) for n, w in wholes.items()}
    if split not in _SPLITS:
        raise DatasetError(f"unknown split '{split}'; there are: {', '.join(_SPLITS)}")
    path = base / f"pt_{split}.lst"
    if not path.exists():
        raise DatasetError(f"no {path} for split '{split}': {found_in(base)}")
    names = defaultdict(set)
    for line in path.read_text().split("\n"):
        if line.strip():
            scan = Path(line.split()[0])
            names[scan.parts[0]].add(scan.stem)
    found = {}
    for sequence in sorted(names):
        if sequence not in wholes:
            raise DatasetError(f"{path} names sequence {sequence}, but {found_in(base)}")
        whole = wholes[sequence]
        kept = [i for i in range(len(whole)) if whole.name_of(i) in names[sequence]]
        if len(kept) < len(names[sequence]):
            missing = names[sequence] - {whole.name_of(i) for i in kept}
            raise DatasetError(f"{path} names {sequence}/{_SCANS}/{min(missing)}.bin: not there")
        found[sequence] = Frames(kept, partial(_frame, whole))
    return found


def _frame(whole: KittiSequence, index: int) -> Frame:
    """Read a frame; points of rays that never came back lie at the origin in the files."""
    frame = whole[index]
    frame.points[~frame.points.any(axis=1)] = np.nan
    return frame
