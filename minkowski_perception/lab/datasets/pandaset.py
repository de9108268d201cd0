# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""PandaSet: two LiDARs on one car, merged in one cloud.

Each LiDAR is a sequence here, as it would be a topic on a robot: `S` is the rotating Pandar64,
`S-gt` the forward-looking PandarGT. PandaSet's poses are those of the rear axle; frames are
translated to the LiDAR. The axes are unchanged: x to the right, y forward, z up.

Original layout: `S/lidar/NN.pkl.gz` (points in the world frame), `poses.json`, `timestamps.json`,
and `S/annotations/semseg/NN.pkl.gz`. Layout of SemanticKITTI: `ring_sensor/*.u8` is the LiDAR of
each point; without it all points belong to the Pandar64.
"""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from minkowski_perception.frame import Frame
from minkowski_perception.lab.datasets.kitti import KittiSequence, sequence_folders
from minkowski_perception.lab.datasets.pickled_table import read_table
from minkowski_perception.lab.datasets.reading import (
    DatasetError,
    Frames,
    LabelIds,
    files_in,
    read_column,
)
from minkowski_perception.motion.poses import pose_matrix

# LiDARs in the frame of the rear axle, metres: from the calibration and the cameras' poses.
_MOUNTS = {0: (0.0, 0.80, 1.85), 1: (0.0, 1.41, 1.55)}
_SUFFIXES = {0: "", 1: "-gt"}
_SPLITS = {None: (0, 1), "pandar64": (0,), "pandar_gt": (1,)}


def kitti_sequences(root: Path, split: str | None, ids: LabelIds) -> dict[str, Frames[int]]:
    """Return sequences in the layout of SemanticKITTI; see `sequences`."""
    found: dict[str, Frames[int]] = {}
    for name, folder in sequence_folders(root).items():
        whole = KittiSequence(folder, ids)
        has_sensors = (folder / "ring_sensor").is_dir()
        for sensor in _sensors(split):
            if has_sensors or sensor == 0:
                read = partial(_kitti_frame, whole, folder if has_sensors else None, sensor)
                found[name + _SUFFIXES[sensor]] = Frames(range(len(whole)), read)
    return found


def sequences(root: Path, split: str | None, ids: LabelIds) -> dict[str, Frames[int]]:
    """Return sequences in the original layout by name; empty if there are none.

    Args:
        root: contains the folders of the sequences.
        split: "pandar64" or "pandar_gt" for one of the LiDARs; None for both. PandaSet itself has
            no splits.
        ids: meaning of the ids of classes.json.

    Raises:
        DatasetError: the split is unknown, or a file is damaged.
    """
    folders = [f.parent for f in files_in(root, "*/lidar") if files_in(f, "*.pkl.gz")]
    found: dict[str, Frames[int]] = {}
    for folder in folders:
        original = _Original(folder, ids)
        for sensor in _sensors(split):
            read = partial(original.frame, sensor)
            found[folder.name + _SUFFIXES[sensor]] = Frames(range(len(original.poses)), read)
    return found


class _Original:
    """A sequence in the original layout."""

    def __init__(self, folder: Path, ids: LabelIds) -> None:
        self._scans = files_in(folder / "lidar", "*.pkl.gz")
        self._annotations = folder / "annotations" / "semseg"
        self._ids = ids
        path = folder / "lidar" / "poses.json"
        try:
            self.poses = [_pose(entry) for entry in self._entries(path)]
        except (KeyError, TypeError, ValueError) as error:
            raise DatasetError(f"{path}: malformed pose: {error!r}") from error
        self._stamps = [
            round(float(seconds) * 1e9)
            for seconds in self._entries(folder / "lidar" / "timestamps.json")
        ]

    def frame(self, sensor: int, index: int) -> Frame:
        table = read_table(self._scans[index], ("x", "y", "z", "i", "t", "d"))
        labels = moving = None
        if self._annotations.is_dir():
            classes = self._classes(self._scans[index].name, len(table["x"]))
            labels, moving = self._ids.to_labels(classes), self._ids.moves(classes)
        world = np.stack([table[axis] for axis in "xyz"], axis=1).astype(np.float64)
        pose = self.poses[index]
        axle = (world - pose[:3, 3]) @ pose[:3, :3]
        whole = Frame(
            points=axle.astype(np.float32),
            stamp=self._stamps[index],
            intensity=table["i"].astype(np.float32),
            time=(table["t"] - self._stamps[index] * 1e-9).astype(np.float32),
            labels=labels,
            moving=moving,
            pose=pose,
        )
        return _select_sensor(whole, table["d"] == sensor, sensor)

    def _classes(self, name: str, points: int) -> npt.NDArray[np.uint16]:
        path = self._annotations / name
        classes = read_table(path, ("class",))["class"]
        if len(classes) != points:
            raise DatasetError(f"{path} has {len(classes)} points, but the scan has {points}")
        try:
            return classes.astype(np.uint16)
        except ValueError as error:
            raise DatasetError(f"{path}: a class is not a number: {error}") from error

    def _entries(self, path: Path) -> list[Any]:
        """Read a JSON file of one entry per scan."""
        try:
            entries: list[Any] = json.loads(path.read_text())
        except (OSError, ValueError) as error:
            raise DatasetError(f"cannot read {path}: {error}") from error
        if len(entries) != len(self._scans):
            raise DatasetError(f"{path} has {len(entries)} entries for {len(self._scans)} scans")
        return entries


def _sensors(split: str | None) -> tuple[int, ...]:
    if split not in _SPLITS:
        raise DatasetError(f"unknown split '{split}'; choose one of pandar64, pandar_gt")
    return _SPLITS[split]


def _kitti_frame(whole: KittiSequence, folder: Path | None, sensor: int, index: int) -> Frame:
    frame = whole[index]
    seen = np.ones(len(frame), dtype=bool)
    if folder is not None:
        path = folder / "ring_sensor" / f"{whole.name_of(index)}.u8"
        seen = read_column(path, "u1", len(frame)) == sensor
    return _select_sensor(frame, seen, sensor)


def _select_sensor(frame: Frame, seen: npt.NDArray[np.bool_], sensor: int) -> Frame:
    """Keep the points of a LiDAR, and move them from the axle's frame to the LiDAR's."""
    mount = np.eye(4)
    mount[:3, 3] = _MOUNTS[sensor]
    kept = frame.subset(seen)
    return replace(
        kept,
        points=kept.points - mount[:3, 3].astype(np.float32),
        pose=None if frame.pose is None else frame.pose @ mount,
        frame_id="pandar_gt" if sensor else "pandar64",
    )


def _pose(entry: Any) -> npt.NDArray[np.float64]:
    position, heading = entry["position"], entry["heading"]
    return pose_matrix([position[a] for a in "xyz"], [heading[a] for a in "xyzw"])
