# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""S3DIS, the Stanford large-scale 3D indoor spaces: each room is a sequence of one frame.

`Area_N/ROOM/Annotations/CLASS_I.txt` has the points of an object, x y z r g b per line; a room is
the union of its objects. Rooms prepared by SpatioTemporalSegmentation, `Area_N/ROOM.ply`, are
supported too.
"""

from __future__ import annotations

import io
from functools import partial
from pathlib import Path

import numpy as np

from minkowski_perception.frame import Frame
from minkowski_perception.lab.datasets.ply import read_cloud
from minkowski_perception.lab.datasets.reading import (
    DatasetError,
    Frames,
    LabelIds,
    files_in,
    room_frame,
)

# Indexed by the id in prepared files.
_CLASSES = (
    *("clutter", "beam", "board", "bookcase", "ceiling", "chair", "column", "door", "floor"),
    *("sofa", "stairs", "table", "wall", "window"),
)
_TEST_AREA = "Area_5"


def sequences(root: Path, split: str | None, ids: LabelIds) -> dict[str, Frames[Path]]:
    """Return the rooms by area and name; empty if there are none.

    Args:
        root: contains the folders of the areas.
        split: "test" is Area_5, "train" the others; None for all.
        ids: meaning of the index among the 14 classes in alphabetical order, clutter first.

    Raises:
        DatasetError: the split is unknown, or none of its areas is present.
    """
    rooms = [folder.parent for folder in files_in(root, "Area_*/*/Annotations")]
    rooms = rooms or files_in(root, "Area_*/*.ply")
    if not rooms:
        return {}
    if split not in (None, "train", "test"):
        raise DatasetError(f"unknown split '{split}'; choose one of train, test")
    kept = [
        r for r in rooms if split is None or (split == "test") == (r.parent.name == _TEST_AREA)
    ]
    if not kept:
        found = ", ".join(sorted({room.parent.name for room in rooms}))
        raise DatasetError(
            f"split 'test' is {_TEST_AREA}, 'train' the others, but found only {found}"
        )
    return {f"{r.parent.name}/{r.stem}": Frames([r], partial(_frame, ids)) for r in kept}


def _frame(ids: LabelIds, room: Path) -> Frame:
    if room.suffix == ".ply":
        cloud = read_cloud(room)
        labels = None if cloud.labels is None else ids.to_labels(cloud.labels)
        return room_frame(cloud.points, cloud.colour, labels)
    files = files_in(room / "Annotations", "*.txt")
    if not files:
        raise DatasetError(f"{room / 'Annotations'} contains no CLASS_I.txt")
    classes = [_class_of(path) for path in files]
    objects = [_read_object(path) for path in files]
    rows = np.concatenate(objects)
    raw = np.repeat(classes, [len(o) for o in objects])
    return room_frame(
        rows[:, :3].astype(np.float32), rows[:, 3:].astype(np.uint8), ids.to_labels(raw)
    )


def _class_of(path: Path) -> int:
    name = path.stem.partition("_")[0]
    if name not in _CLASSES:
        raise DatasetError(f"{path} has an unknown class; known are {', '.join(_CLASSES)}")
    return _CLASSES.index(name)


def _read_object(path: Path) -> np.ndarray:
    """Read [N, 6]: x, y, z, r, g, b."""
    # Area_5/hallway_6 has a control character instead of a space.
    text = path.read_bytes().replace(b"\x10", b" ")
    try:
        rows = np.loadtxt(io.BytesIO(text), ndmin=2)
    except ValueError as error:
        raise DatasetError(f"{path}: {error}") from error
    if rows.shape[1] != 6:
        raise DatasetError(f"{path} has {rows.shape[1]} numbers per line, not x y z r g b")
    return rows
