# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""nuScenes with lidarseg: the labelled key frames of LIDAR_TOP, two a second.

The JSON tables of `v1.0-*` say which files are whose: `samples/LIDAR_TOP/*.pcd.bin` (float32 x, y,
z, intensity, ring a point) and `lidarseg/v1.0-*/*_lidarseg.bin` (uint8 a point). Points stay in
the sensor's frame: x to the right, y ahead, z up.
"""

from __future__ import annotations

import json
from collections import defaultdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from minkowski_perception.datasets.reading import (
    DatasetError,
    Frames,
    LabelIds,
    found_in,
    only_split,
    read_column,
    read_rows,
)
from minkowski_perception.frame import Frame
from minkowski_perception.temporal.poses import pose_matrix

_SENSOR = "LIDAR_TOP"
_VERSIONS = {
    "train": "v1.0-trainval",
    "val": "v1.0-trainval",
    "test": "v1.0-test",
    "mini_train": "v1.0-mini",
    "mini_val": "v1.0-mini",
}
_MINI_VAL = {103, 916}
# First and last numbers of the scenes of the official validation split.
_VAL = (
    *((3, 3), (12, 18), (35, 36), (38, 39), (92, 110), (221, 221), (268, 278), (329, 332)),
    *((344, 346), (519, 524), (552, 565), (625, 627), (629, 630), (632, 638), (770, 771)),
    *((775, 775), (777, 778), (780, 784), (794, 800), (802, 802), (904, 917), (919, 931)),
    *((962, 963), (966, 969), (971, 972), (1059, 1073)),
)

Row = dict[str, Any]


def sequences(root: Path, split: str | None, ids: LabelIds) -> dict[str, Frames[Row]]:
    """Key frames of each scene by its name, none where there are no tables.

    Args:
        root: holds `v1.0-trainval`, `v1.0-mini` or `v1.0-test`, `samples` and `lidarseg`.
        split: "train", "val", "test", "mini_train" or "mini_val". None takes all scenes, where
            there is only one version of the tables.
        ids: what the 32 ids of lidarseg mean.

    Raises:
        DatasetError: there is no such split or a choice to make, or a table is damaged.
    """
    versions = sorted(f.parent.name for f in root.glob("v1.0-*/scene.json"))
    if not versions:
        return {}
    if split is None and len(versions) > 1:
        raise DatasetError(f"{root} holds {', '.join(versions)}: a split says which is meant")
    version = versions[0] if split is None else _VERSIONS.get(split, versions[0])
    if version not in versions:
        raise DatasetError(f"split '{split}' is of {version}, but {found_in(root)}")
    tables = _Tables(root / version)
    frames = tables.key_frames()
    kept = only_split(frames, split, _splits(frames, version))
    return {name: Frames(frames[name], partial(_frame, root, tables, ids)) for name in kept}


class _Tables:
    """The tables of a version, rows by token."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.ego_poses = self._read("ego_pose")
        self.mounts = self._read("calibrated_sensor")
        labels = self._read("lidarseg") if (folder / "lidarseg.json").exists() else {}
        try:
            self.label_files = {r["sample_data_token"]: r["filename"] for r in labels.values()}
        except KeyError as error:
            raise DatasetError(f"{folder / 'lidarseg.json'}: a row has no {error}") from error

    def key_frames(self) -> dict[str, list[Row]]:
        """Rows of sample_data that are key frames of the LiDAR, in order, by scene."""
        try:
            sensors = self._read("sensor")
            of_lidar = {
                token
                for token, mount in self.mounts.items()
                if sensors[mount["sensor_token"]]["channel"] == _SENSOR
            }
            samples, scenes = self._read("sample"), self._read("scene")
            frames = defaultdict(list)
            for row in self._read("sample_data").values():
                if row["is_key_frame"] and row["calibrated_sensor_token"] in of_lidar:
                    scene = scenes[samples[row["sample_token"]]["scene_token"]]
                    frames[scene["name"]].append(row)
        except KeyError as error:
            raise DatasetError(f"the tables of {self._folder} name {error} but lack it") from error
        return {
            name: sorted(rows, key=lambda row: int(row["timestamp"]))
            for name, rows in frames.items()
        }

    def _read(self, name: str) -> dict[str, Row]:
        path = self._folder / f"{name}.json"
        try:
            return {row["token"]: row for row in json.loads(path.read_text())}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DatasetError(f"cannot read {path}: {error!r}") from error


def _frame(root: Path, tables: _Tables, ids: LabelIds, row: Row) -> Frame:
    rows = read_rows(root / row["filename"], "<f4", 5)
    labels = moving = None
    if (file := tables.label_files.get(row["token"])) is not None:
        raw = read_column(root / file, "u1", len(rows))
        labels, moving = ids.labels[raw], ids.moves(raw)
    try:
        ego = _pose(tables.ego_poses[row["ego_pose_token"]])
        mount = _pose(tables.mounts[row["calibrated_sensor_token"]])
    except (KeyError, ValueError) as error:
        raise DatasetError(f"{row['filename']} has no whole pose: {error!r}") from error
    return Frame(
        points=rows[:, :3],
        stamp=int(row["timestamp"]) * 1000,
        frame_id=_SENSOR,
        intensity=rows[:, 3],
        labels=labels,
        moving=moving,
        pose=ego @ mount,
    )


def _pose(row: Row) -> np.ndarray:
    w, x, y, z = row["rotation"]
    return pose_matrix(row["translation"], (x, y, z, w))


def _splits(frames: dict[str, list[Row]], version: str) -> dict[str, frozenset[str]]:
    """Names of the version's scenes by split."""
    if version == "v1.0-mini":
        val = frozenset(name for name in frames if _number(name) in _MINI_VAL)
        return {"mini_train": frozenset(frames) - val, "mini_val": val}
    if version == "v1.0-test":
        return {"test": frozenset(frames)}
    val = frozenset(n for n in frames if any(a <= _number(n) <= b for a, b in _VAL))
    return {"train": frozenset(frames) - val, "val": val}


def _number(scene: str) -> int:
    return int(scene.removeprefix("scene-"))
