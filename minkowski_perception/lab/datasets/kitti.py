# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Sequences in the layout of SemanticKITTI, which many recordings are given in.

A folder of one sequence holds:

- `velodyne/*.bin`: scans, float32 x, y, z, intensity a point;
- `labels/*.label`: uint32 a point, the class in the lower 16 bits;
- `poses_lidar*.txt`: 3 x 4 numbers a line, from the LiDAR to a fixed frame, or
  `poses.txt` with `calib.txt`: the same of KITTI's camera, and the way there from the LiDAR (Tr);
- `times.txt`: the last number of a line is the scan's time, in nanoseconds where whole, else in
  seconds;
- `exact_mask/*.u8`: uint8 a point, 1 where the label was not filled in from its neighbours'.

All but the scans may be absent.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from minkowski_perception.frame import Frame
from minkowski_perception.lab.datasets.reading import (
    DatasetError,
    Frames,
    LabelIds,
    found_in,
    only_split,
    read_column,
    read_rows,
)
from minkowski_perception.labels import UNLABELLED, LabelSet

_SECOND = 10**9


def sequence_folders(root: Path) -> dict[str, Path]:
    """Folders of the sequences `sequences/S/velodyne/*.bin` of a root, or of its `dataset`."""
    for base in (root, root / "dataset"):
        scans = sorted((base / "sequences").glob("*/velodyne"))
        if folders := {f.parent.name: f.parent for f in scans if any(f.glob("*.bin"))}:
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
    """Sequences `sequences/S/velodyne/*.bin` of a root by name, none where none is there.

    Args:
        root: see `sequence_folders`.
        split: one of `splits`, or None for all.
        ids: what the ids in the files mean.
        period: see `KittiSequence`.
        splits: names of sequences by split.

    Raises:
        DatasetError: there is no such split, or a sequence cannot be read.
    """
    if not (folders := sequence_folders(root)):
        return {}
    names = only_split(folders, split, splits or {})
    return {name: KittiSequence(folders[name], ids, period) for name in names}


class KittiSequence(Frames[int]):
    """The frames of a sequence, each read when it is asked for.

    Args:
        folder: of the sequence, as above.
        labels: to give labels in, as uint8, 255 where unknown or not exact. A set's files hold the
            ids of its data set (`<data set>_raw` among its sources), else the set's own; moving
            is told where the data set tells. None gives the ids as they are in the files, uint16.
        period: seconds between scans where no file tells their times.
        scans: name of the folder of scans.
        truths: name of the folder of labels.

    Raises:
        DatasetError: there are no scans, or poses or times do not fit them.
    """

    def __init__(
        self,
        folder: Path,
        labels: LabelSet | LabelIds | None = None,
        period: float = 0.1,
        *,
        scans: str = "velodyne",
        truths: str = "labels",
    ) -> None:
        self._folder = folder
        self._scans = sorted((folder / scans).glob("*.bin"))
        self._truths = folder / truths
        super().__init__(range(len(self._scans)), self._frame)
        if not self._scans:
            raise DatasetError(
                f"no scans: {folder / scans}/*.bin are looked for, and {found_in(folder / scans)}"
            )
        self._ids = LabelIds.of(labels) if isinstance(labels, LabelSet) else labels
        self._poses = self._read_poses()
        # Not from 0, which is no time in ROS.
        self._stamps = self._read_stamps() or [
            round((1 + i * period) * _SECOND) for i in range(len(self))
        ]

    def name_of(self, index: int) -> str:
        """Name of a frame's files, without what they end in."""
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
        path = self._truths / f"{stem}.label"
        if not path.exists():
            return None, None
        raw = read_column(path, "<u4", points).astype(np.uint16)
        if self._ids is None:
            return raw, None
        labels = self._ids.labels[raw]
        exact = self._folder / "exact_mask" / f"{stem}.u8"
        if exact.exists():
            labels[read_column(exact, "u1", points) != 1] = UNLABELLED
        return labels, self._ids.moves(raw)

    def _read_poses(self) -> npt.NDArray[np.float64] | None:
        """[N, 4, 4] from the LiDAR to a fixed frame."""
        of_lidar = sorted(self._folder.glob("poses_lidar*.txt"))
        path = of_lidar[0] if of_lidar else self._folder / "poses.txt"
        if not path.exists():
            return None
        poses = _matrices(path, [line.split()[-12:] for line in self._lines(path)])
        if of_lidar:
            return poses
        calibration = self._folder / "calib.txt"
        try:
            lines = calibration.read_text().splitlines()
        except OSError as error:
            raise DatasetError(f"{path} is of the camera, and no {calibration}") from error
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
            return [int(t) if t.isdigit() else round(float(t) * _SECOND) for t in times]
        except ValueError as error:
            raise DatasetError(f"{path}: {error}") from error

    def _lines(self, path: Path) -> list[str]:
        """Lines of a file that has one for each scan."""
        lines = path.read_text().strip().splitlines()
        if len(lines) != len(self):
            raise DatasetError(f"{path} has {len(lines)} lines for {len(self)} scans")
        return lines


def _matrices(path: Path, rows: list[list[str]]) -> npt.NDArray[np.float64]:
    """[N, 4, 4] of N rows of 3 x 4 numbers."""
    matrices = np.tile(np.eye(4), (len(rows), 1, 1))
    try:
        matrices[:, :3] = np.array(rows, dtype=np.float64).reshape(len(rows), 3, 4)
    except ValueError as error:
        raise DatasetError(f"{path}: not 3 x 4 numbers in each line: {error}") from error
    return matrices
