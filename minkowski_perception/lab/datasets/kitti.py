# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Sequences in the layout of SemanticKITTI, which many recordings use.

The folder of a sequence contains:

- `velodyne/*.bin`: scans, per point float32 x, y, z, intensity;
- `labels/*.label`: per point a uint32, the class in the lower 16 bits;
- `poses_lidar*.txt`: per line a 3 x 4 matrix from the LiDAR to a fixed frame, or
  `poses.txt` with `calib.txt`: the same for KITTI's camera, and the matrix from the LiDAR to the
  camera (Tr);
- `times.txt`: the last number of a line is the time of the scan: in seconds, or, if all are
  integers, in the unit that fits the period of a sensor, such as nanoseconds;
- `exact_mask/*.u8`: per point a uint8, 1 if the label was not interpolated from neighbours.

All files but the scans are optional.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt

from minkowski_perception.frame import Frame
from minkowski_perception.lab.datasets.reading import (
    DatasetError,
    Frames,
    LabelIds,
    contents_of,
    files_in,
    names_in_split,
    read_column,
    read_rows,
)
from minkowski_perception.labels import UNLABELLED, LabelSet

_SECOND = 10**9
_UNITS = ((10**6, 1), (10**4, 10**3), (10, 10**6), (1, 10**9))
"""Of integer times: the least number of units between scans, and nanoseconds of a unit."""


def sequence_folders(root: Path) -> dict[str, Path]:
    """Return the folders of `sequences/S/velodyne/*.bin` in a root or its `dataset`, by name S."""
    for base in (root, root / "dataset"):
        scans = files_in(base / "sequences", "*/velodyne")
        if folders := {f.parent.name: f.parent for f in scans if files_in(f, "*.bin")}:
            return folders
    return {}


def sequences(
    root: Path,
    split: str | None,
    ids: LabelIds,
    *,
    period: float = 0.1,
    splits: Mapping[str, frozenset[str]] | None = None,
) -> dict[str, KittiSequence]:
    """Return the sequences of a root by name; empty if there are none.

    Args:
        root: see `sequence_folders`.
        split: one of `splits`, or None for all.
        ids: meaning of the ids in the files.
        period: see `KittiSequence`.
        splits: names of sequences by split.

    Raises:
        DatasetError: the split is unknown, or a sequence cannot be read.
    """
    if not (folders := sequence_folders(root)):
        return {}
    names = names_in_split(folders, split, splits or {})
    return {name: KittiSequence(folders[name], ids, period) for name in names}


class KittiSequence(Frames[int]):
    """Frames of a sequence, each read on access.

    Args:
        folder: folder of the sequence, see the module.
        labels: label set of the frames: uint8, 255 if unknown or not exact. The ids in the files
            are those of the set's data set (`<data set>_raw` among its sources), else the set's
            own; frames have `moving` if the ids distinguish it. None returns the ids, uint16.
        period: seconds between scans if there is no file of times.
        scan_folder: name of the folder of scans.
        label_folder: name of the folder of labels.

    Raises:
        DatasetError: there are no scans, their number differs from that of poses or times, a pose
            is not finite, or times do not increase.
    """

    def __init__(
        self,
        folder: Path,
        labels: LabelSet | LabelIds | None = None,
        period: float = 0.1,
        *,
        scan_folder: str = "velodyne",
        label_folder: str = "labels",
    ) -> None:
        self._folder = folder
        self._scans = files_in(folder / scan_folder, "*.bin")
        self._label_folder = folder / label_folder
        super().__init__(range(len(self._scans)), self._frame)
        if not self._scans:
            where = folder / scan_folder
            raise DatasetError(f"no scans: expected {where}/*.bin, but {contents_of(where)}")
        self._ids = LabelIds.of(labels) if isinstance(labels, LabelSet) else labels
        self._poses = self._read_poses()
        # Start at 1 s, since ROS takes stamp 0 as unset.
        self._stamps = self._read_stamps() or [
            round((1 + i * period) * _SECOND) for i in range(len(self))
        ]

    def name_of(self, index: int) -> str:
        """Return the name of a frame's files without suffix."""
        return self._scans[index].stem

    def _frame(self, index: int) -> Frame:
        scan = self._scans[index]
        rows = read_rows(scan, "<f4", 4)
        labels, moving = self._read_labels(scan.stem, len(rows))
        return Frame(
            points=rows[:, :3],
            stamp=self._stamps[index],
            frame_id="lidar",
            intensity=rows[:, 3],
            labels=labels,
            moving=moving,
            pose=None if self._poses is None else self._poses[index],
        )

    def _read_labels(
        self, stem: str, points: int
    ) -> tuple[npt.NDArray[np.integer] | None, npt.NDArray[np.bool_] | None]:
        path = self._label_folder / f"{stem}.label"
        if not path.exists():
            return None, None
        raw = read_column(path, "<u4", points).astype(np.uint16)
        if self._ids is None:
            return raw, None
        labels = self._ids.to_labels(raw)
        exact = self._folder / "exact_mask" / f"{stem}.u8"
        if exact.exists():
            labels[read_column(exact, "u1", points) != 1] = UNLABELLED
        return labels, self._ids.moves(raw)

    def _read_poses(self) -> npt.NDArray[np.float64] | None:
        """Return [N, 4, 4] from the LiDAR to a fixed frame."""
        lidar_files = files_in(self._folder, "poses_lidar*.txt")
        path = lidar_files[0] if lidar_files else self._folder / "poses.txt"
        if not path.exists():
            return None
        poses = _matrices(path, [_pose_numbers(line) for line in self._lines(path)])
        if lidar_files:
            return poses
        calibration = self._folder / "calib.txt"
        try:
            lines = _lines(calibration)
        except OSError as error:
            raise DatasetError(
                f"{path} has poses of the camera, but {calibration} is missing"
            ) from error
        tr = [line.split()[1:] for line in lines if line.startswith("Tr:")]
        if not tr:
            raise DatasetError(f"{calibration} has no line Tr")
        to_camera = _matrices(calibration, tr)[0]
        return np.asarray(np.linalg.inv(to_camera) @ poses @ to_camera)

    def _read_stamps(self) -> list[int] | None:
        path = self._folder / "times.txt"
        if not path.exists():
            return None
        times = [line.split()[-1] for line in self._lines(path)]
        try:
            if all(time.isdigit() for time in times):
                stamps = _nanoseconds([int(time) for time in times])
            else:
                stamps = [round(float(time) * _SECOND) for time in times]
        except (ValueError, OverflowError) as error:
            raise DatasetError(f"{path}: {error}") from error
        for i, (before, after) in enumerate(pairwise(stamps), start=2):
            if after <= before:
                raise DatasetError(
                    f"{path}: time {times[i - 1]} of scan {i} is not later than that of the scan "
                    f"before it, {times[i - 2]}; correct or remove the file"
                )
        return stamps

    def _lines(self, path: Path) -> list[str]:
        """Read a file of one line per scan."""
        lines = _lines(path)
        if len(lines) != len(self):
            raise DatasetError(f"{path} has {len(lines)} lines for {len(self)} scans")
        return lines


def _lines(path: Path) -> list[str]:
    """Read the lines of a text file, without empty ones and comments (#)."""
    lines = path.read_text("utf-8-sig", errors="replace").splitlines()
    return [line for line in lines if line.strip() and not line.lstrip().startswith("#")]


def _pose_numbers(line: str) -> list[str]:
    """Return the 12 numbers of a pose, from a line with a time before or the row 0 0 0 1 after."""
    words = line.split()
    return words[:12] if len(words) == 16 else words[-12:]


def _nanoseconds(times: list[int]) -> list[int]:
    """Convert integer times to nanoseconds; the unit is found by the median period."""
    periods = sorted(after - before for before, after in pairwise(times))
    period = periods[len(periods) // 2] if periods else _SECOND
    unit = next((unit for least, unit in _UNITS if period >= least), 1)
    return [time * unit for time in times]


def _matrices(path: Path, rows: list[list[str]]) -> npt.NDArray[np.float64]:
    """Convert N rows of 3 x 4 numbers to [N, 4, 4]."""
    matrices = np.tile(np.eye(4), (len(rows), 1, 1))
    try:
        matrices[:, :3] = np.array(rows, dtype=np.float64).reshape(len(rows), 3, 4)
    except ValueError as error:
        raise DatasetError(f"{path}: lines must have 3 x 4 numbers: {error}") from error
    if wrong := np.flatnonzero(~np.isfinite(matrices).all(axis=(1, 2))).tolist():
        raise DatasetError(
            f"{path}: {len(wrong)} of {len(rows)} poses are not finite, the first in line "
            f"{wrong[0] + 1}; correct or remove the file"
        )
    if wrong := np.flatnonzero(np.linalg.det(matrices[:, :3, :3]) <= 0).tolist():
        raise DatasetError(
            f"{path}: line {wrong[0] + 1} is no pose: its 3 x 3 numbers are no rotation; lines "
            "must be 3 x 4 matrices, row by row"
        )
    return matrices
