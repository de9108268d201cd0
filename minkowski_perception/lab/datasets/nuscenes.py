# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""nuScenes with lidarseg: the labelled key frames of LIDAR_TOP, at 2 Hz.

The JSON tables of `v1.0-*` list the files: `samples/LIDAR_TOP/*.pcd.bin` (per point float32 x, y,
z, intensity, ring) and `lidarseg/v1.0-*/*_lidarseg.bin` (per point a uint8). Points are in the
sensor's frame: x to the right, y forward, z up.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from minkowski_perception.frame import Frame
from minkowski_perception.lab.datasets.reading import (
    DatasetError,
    Frames,
    LabelIds,
    contents_of,
    names_in_split,
    read_column,
    read_rows,
)
from minkowski_perception.motion.poses import pose_matrix

_SENSOR = "LIDAR_TOP"
_VERSIONS = {
    "train": "v1.0-trainval",
    "val": "v1.0-trainval",
    "test": "v1.0-test",
    "mini_train": "v1.0-mini",
    "mini_val": "v1.0-mini",
}
_MINI_VAL = {103, 916}
# Ranges of scene numbers (first, last) in the official validation split.
_VAL = (
    *((3, 3), (12, 18), (35, 36), (38, 39), (92, 110), (221, 221), (268, 278), (329, 332)),
    *((344, 346), (519, 524), (552, 565), (625, 627), (629, 630), (632, 638), (770, 771)),
    *((775, 775), (777, 778), (780, 784), (794, 800), (802, 802), (904, 917), (919, 931)),
    *((962, 963), (966, 969), (971, 972), (1059, 1073)),
)

Row = dict[str, Any]


class _KeyFrame(NamedTuple):
    """Rows of the tables that describe a frame; the tables' millions of other rows are dropped."""

    scan: str
    labels: str | None
    stamp: int
    ego: Row
    mount: Row


def sequences(root: Path, split: str | None, ids: LabelIds) -> dict[str, Frames[_KeyFrame]]:
    """Return the key frames of each scene by its name; empty if there are no tables.

    Args:
        root: contains `v1.0-trainval`, `v1.0-mini` or `v1.0-test`, `samples` and `lidarseg`.
        split: "train", "val", "test", "mini_train" or "mini_val"; None for all scenes, if there is
            only one version of the tables.
        ids: meaning of the 32 ids of lidarseg.

    Raises:
        DatasetError: the split is unknown, or missing with several versions; or a table is
            damaged.
    """
    versions = sorted(f.parent.name for f in root.glob("v1.0-*/scene.json"))
    if not versions:
        return {}
    if split is None and len(versions) > 1:
        raise DatasetError(f"{root} contains {', '.join(versions)}: choose one by a split")
    version = versions[0] if split is None else _VERSIONS.get(split, versions[0])
    if version not in versions:
        raise DatasetError(f"split '{split}' needs {version}, but {contents_of(root)}")
    frames = _key_frames(root / version)
    kept = names_in_split(frames, split, _splits(frames, version))
    return {name: Frames(frames[name], partial(_frame, root, ids)) for name in kept}


def _key_frames(tables: Path) -> dict[str, list[_KeyFrame]]:
    """Return the LiDAR's key frames in time order, by scene."""
    mounts, sensors = _table(tables, "calibrated_sensor"), _table(tables, "sensor")
    egos, samples, scenes = (_table(tables, name) for name in ("ego_pose", "sample", "scene"))
    lidarseg = _table(tables, "lidarseg") if (tables / "lidarseg.json").exists() else {}
    frames = defaultdict(list)
    try:
        labels = {row["sample_data_token"]: row["filename"] for row in lidarseg.values()}
        for row in _table(tables, "sample_data").values():
            mount = mounts[row["calibrated_sensor_token"]]
            if row["is_key_frame"] and sensors[mount["sensor_token"]]["channel"] == _SENSOR:
                scene = scenes[samples[row["sample_token"]]["scene_token"]]
                frame = _KeyFrame(
                    scan=row["filename"],
                    labels=labels.get(row["token"]),
                    stamp=int(row["timestamp"]) * 1000,
                    ego=egos[row["ego_pose_token"]],
                    mount=mount,
                )
                frames[scene["name"]].append(frame)
    except KeyError as error:
        raise DatasetError(f"the tables of {tables} refer to {error}, which is missing") from error
    return {name: sorted(kept, key=lambda f: f.stamp) for name, kept in frames.items()}


def _table(tables: Path, name: str) -> dict[str, Row]:
    """Read the rows of a table, by token."""
    path = tables / f"{name}.json"
    try:
        return {row["token"]: row for row in json.loads(path.read_text())}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DatasetError(f"cannot read {path}: {error!r}") from error


def _frame(root: Path, ids: LabelIds, key_frame: _KeyFrame) -> Frame:
    rows = read_rows(root / key_frame.scan, "<f4", 5)
    labels = moving = None
    if key_frame.labels is not None:
        raw = read_column(root / key_frame.labels, "u1", len(rows))
        labels, moving = ids.to_labels(raw), ids.moves(raw)
    try:
        pose = _pose(key_frame.ego) @ _pose(key_frame.mount)
    except (KeyError, ValueError) as error:
        raise DatasetError(f"the pose of {key_frame.scan} is incomplete: {error!r}") from error
    return Frame(
        points=rows[:, :3],
        stamp=key_frame.stamp,
        frame_id=_SENSOR,
        intensity=rows[:, 3],
        labels=labels,
        moving=moving,
        pose=pose,
    )


def _pose(row: Row) -> npt.NDArray[np.float64]:
    w, x, y, z = row["rotation"]
    return pose_matrix(row["translation"], (x, y, z, w))


def _splits(frames: Mapping[str, object], version: str) -> dict[str, frozenset[str]]:
    """Return the names of the version's scenes by split."""
    if version == "v1.0-mini":
        val = frozenset(name for name in frames if _number(name) in _MINI_VAL)
        return {"mini_train": frozenset(frames) - val, "mini_val": val}
    if version == "v1.0-test":
        return {"test": frozenset(frames)}
    val = frozenset(n for n in frames if any(a <= _number(n) <= b for a, b in _VAL))
    return {"train": frozenset(frames) - val, "val": val}


def _number(scene: str) -> int:
    return int(scene.removeprefix("scene-"))
