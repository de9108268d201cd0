# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""ScanNet v2: rooms as coloured meshes; each is a sequence of one frame.

`scans/S/S_vh_clean_2.ply` (in `scans_test` for the test split) has the vertices, and
`S_vh_clean_2.labels.ply` beside it their NYU40 ids; some scenes have invalid ids above 40. The
benchmark's `scannetv2_train.txt`, `..._val.txt` and `..._test.txt` list the scenes of a split.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from minkowski_perception.frame import Frame
from minkowski_perception.lab.datasets.ply import read_cloud
from minkowski_perception.lab.datasets.reading import (
    DatasetError,
    Frames,
    LabelIds,
    contents_of,
    names_in_split,
    room_frame,
)

_MESH = "_vh_clean_2.ply"
_SPLITS = ("train", "val", "test")


def sequences(root: Path, split: str | None, ids: LabelIds) -> dict[str, Frames[Path]]:
    """Return the scenes by name; empty if there are none.

    Args:
        root: contains `scans`, or is `scans` itself.
        split: "train", "val" or "test", or None for all.
        ids: meaning of NYU40's ids.

    Raises:
        DatasetError: the split is unknown, or its list or its scenes are missing.
    """
    folders = (root, root / "scans", root / "scans_test")
    meshes = {
        mesh.parent.name: mesh
        for folder in folders
        for mesh in folder.glob(f"*/*{_MESH}")
        if mesh.name == mesh.parent.name + _MESH
    }
    if not meshes:
        return {}
    if split is not None and split not in _SPLITS:
        raise DatasetError(f"unknown split '{split}'; choose one of {', '.join(_SPLITS)}")
    names = names_in_split(meshes, split, {} if split is None else {split: _scenes(root, split)})
    return {name: Frames([meshes[name]], partial(_frame, ids)) for name in names}


def _scenes(root: Path, split: str) -> frozenset[str]:
    path = root / f"scannetv2_{split}.txt"
    if not path.exists():
        raise DatasetError(
            f"split '{split}' needs the benchmark's list {path}: {contents_of(root)}"
        )
    return frozenset(path.read_text().split())


def _frame(ids: LabelIds, mesh: Path) -> Frame:
    cloud = read_cloud(mesh)
    labels = None
    if (path := mesh.with_suffix(".labels.ply")).exists():
        raw = read_cloud(path).labels
        if raw is None or len(raw) != len(cloud.points):
            count = "no" if raw is None else len(raw)
            raise DatasetError(
                f"{path} has {count} labels, but the scan has {len(cloud.points)} points"
            )
        labels = ids.to_labels(raw)
    return room_frame(cloud.points, cloud.colour, labels)
