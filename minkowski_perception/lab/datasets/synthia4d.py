# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Synthia 4D: rendered drives, seen by four cameras around the car, at 5 Hz.

`SEQ/FOLDER/NNNNNN.ply` are clouds in centimetres, converted to metres here. The axes are
unchanged: x to the right, y up, z backwards. `SEQ/CameraParams/Stereo_Right/Omni_F/NNNNNN.txt` has
the camera's extrinsics. `train_raw_difficult.txt`, `val_...` and `test_raw_difficult.txt` beside
the sequences, from SpatioTemporalSegmentation, list the frames of a split.
"""

from __future__ import annotations

from collections import defaultdict
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from minkowski_perception.frame import Frame
from minkowski_perception.lab.datasets.ply import read_cloud
from minkowski_perception.lab.datasets.reading import (
    DatasetError,
    Frames,
    LabelIds,
    contents_of,
    files_in,
)

_SPLITS = ("train", "val", "test")
_PERIOD = 200_000_000
_METRES = np.float32(0.01)


def sequences(root: Path, split: str | None, ids: LabelIds) -> dict[str, Frames[Path]]:
    """Return the sequences by name; empty if there are none.

    Args:
        root: contains the folders of the sequences.
        split: "train", "val" or "test", or None for all frames.
        ids: meaning of the ids in the files.

    Raises:
        DatasetError: the split is unknown, or its list is missing.
    """
    clouds = files_in(root, "*/*/*.ply")
    if not clouds:
        return {}
    if split is not None:
        clouds = _of_split(root, split)
    by_sequence = defaultdict(list)
    for cloud in clouds:
        by_sequence[cloud.parents[1].name].append(cloud)
    return {name: Frames(kept, partial(_frame, ids)) for name, kept in by_sequence.items()}


def _of_split(root: Path, split: str) -> list[Path]:
    if split not in _SPLITS:
        raise DatasetError(f"unknown split '{split}'; choose one of {', '.join(_SPLITS)}")
    path = root / f"{split}_raw_difficult.txt"
    if not path.exists():
        raise DatasetError(f"split '{split}' needs {path}: {contents_of(root)}")
    lines = path.read_text().splitlines()
    return sorted(root / line.split()[0] for line in lines if line.strip())


def _frame(ids: LabelIds, path: Path) -> Frame:
    cloud = read_cloud(path)
    if cloud.labels is None:
        raise DatasetError(f"{path} lacks property 'label'")
    if not path.stem.isdigit():
        raise DatasetError(f"{path}: the name of a frame must be its number")
    camera = path.parents[1] / "CameraParams" / "Stereo_Right" / "Omni_F" / f"{path.stem}.txt"
    return Frame(
        points=cloud.points * _METRES,
        stamp=(5 + int(path.stem)) * _PERIOD,  # ROS takes stamp 0 as unset
        frame_id="camera",
        colour=cloud.colour,
        labels=ids.to_labels(cloud.labels),
        pose=_pose(camera) if camera.exists() else None,
    )


def _pose(path: Path) -> npt.NDArray[np.float64]:
    """Read the pose [4, 4] from a cloud to the world, both with y up.

    The file has the transposed matrix from a left-handed world to the camera. Negating its first
    row makes it a rotation between right-handed frames with y down.
    """
    try:
        extrinsics = np.array(path.read_text().split(), dtype=np.float64).reshape(4, 4)
    except ValueError as error:
        raise DatasetError(f"{path} must have 16 numbers: {error}") from error
    to_camera = extrinsics[:3, :3] * [[-1.0], [1.0], [1.0]]
    down = np.diag([1.0, -1.0, -1.0])
    pose = np.eye(4)
    pose[:3, :3] = down @ to_camera.T @ down
    pose[:3, 3] = -down @ extrinsics[3, :3]
    return pose
