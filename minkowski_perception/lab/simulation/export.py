# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Export of labelled frames to ROS 2 bags and to sequences in the layout of SemanticKITTI."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from minkowski_perception.frame import Frame
from minkowski_perception.labels import MOVING_IDS, UNLABELLED, LabelSet

CLOUD_TOPIC, ODOMETRY_TOPIC, ODOMETRY_FRAME = "/points", "/odometry", "odom"
LABEL_FIELD = "true_label"

_TO_KITTI_CAMERA = np.array(
    [[0.0, -1.0, 0.0, 0.0], [0.0, 0.0, -1.0, 0.0], [1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]]
)
"""From the LiDAR frame (x forward, z up) to the camera frame of poses.txt (z forward, y down)."""

# Several raw ids map to other-vehicle; these are neither bus nor train.
_RAW_OTHER_VEHICLE = {"other-vehicle": (20, 259)}


class ExportError(ValueError):
    """Frames cannot be exported; the message gives the reason."""


def write_bag(
    path: Path, frames: Iterable[Frame], image_size: tuple[int, int] | None = None
) -> None:
    """Write a ROS 2 bag (MCAP) with clouds, their labels as a field, odometry and /tf.

    Args:
        path: folder of the bag; it exists only once the bag is complete.
        frames: frames with labels and poses.
        image_size: width and height of organised clouds; None for unorganised ones.

    Raises:
        ExportError: the path already exists.
    """
    from minkowski_perception.codec import encode_frame
    from minkowski_perception.recordings.bags import BagWriter

    with _atomic_folder(path) as unfinished, BagWriter(unfinished) as writer:
        for frame in frames:
            assert frame.pose is not None
            motion = frame.stamp, frame.pose, ODOMETRY_FRAME, frame.frame_id
            writer.write_odometry(ODOMETRY_TOPIC, *motion)
            writer.write_transform(*motion)
            cloud = encode_frame(frame, label_field=LABEL_FIELD)
            if image_size is not None:
                width, height = image_size
                row_step = width * cloud.point_step
                cloud = replace(cloud, width=width, height=height, row_step=row_step)
            writer.write_cloud(CLOUD_TOPIC, cloud, frame.stamp, frame.frame_id)


def write_sequence(path: Path, frames: Iterable[Frame], label_set: LabelSet) -> None:
    """Write a sequence in the layout of SemanticKITTI, which `KittiSequence` reads.

    Labels are the raw ids of SemanticKITTI, including those of moving objects, if the label set
    maps to them; otherwise the indices of the label set. Invalid points are left out.

    Args:
        path: folder of the sequence; it exists only once the sequence is complete.
        frames: frames with intensity, labels, moving and poses.
        label_set: label set of the labels.

    Raises:
        ExportError: the path already exists, or frames have no intensity, like those of a camera,
            whose colour the layout cannot store.
    """
    raw, raw_moving = _raw_ids(label_set)
    poses, times = [], []
    with _atomic_folder(path) as unfinished:
        for folder in ("velodyne", "labels"):
            (unfinished / folder).mkdir(parents=True)
        for index, frame in enumerate(frames):
            if frame.intensity is None:
                raise ExportError(
                    "the SemanticKITTI layout needs intensity and has no colour: write a bag"
                )
            assert frame.labels is not None
            assert frame.moving is not None
            assert frame.pose is not None
            labels = np.where(frame.moving, raw_moving[frame.labels], raw[frame.labels])
            rows = np.column_stack([frame.points, frame.intensity]).astype("<f4")
            rows[frame.valid].tofile(unfinished / "velodyne" / f"{index:06}.bin")
            labels[frame.valid].astype("<u4").tofile(unfinished / "labels" / f"{index:06}.label")
            poses.append(_TO_KITTI_CAMERA @ frame.pose @ np.linalg.inv(_TO_KITTI_CAMERA))
            times.append(frame.stamp)
        _write_lines(unfinished / "poses.txt", [_numbers(pose) for pose in poses])
        calibration = [f"P{k}: {_numbers(np.eye(4))}" for k in range(4)]
        tr = f"Tr: {_numbers(_TO_KITTI_CAMERA)}"
        _write_lines(unfinished / "calib.txt", [*calibration, tr])
        _write_lines(unfinished / "times.txt", [f"{(t - times[0]) * 1e-9:.9f}" for t in times])


def _raw_ids(label_set: LabelSet) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint32]]:
    """Return the ids in files by label, [256] for static and [256] for moving objects."""
    own = np.arange(256, dtype=np.uint32)
    known = label_set.sources.get("semantickitti_raw")
    if known is None:
        return own, own
    static: dict[str, int] = {}
    moving: dict[str, int] = {}
    for raw, name in known.items():
        assert isinstance(raw, int)
        (moving if raw in MOVING_IDS["semantickitti_raw"] else static).setdefault(name, raw)
    for name, ids in _RAW_OTHER_VEHICLE.items():
        static[name], moving[name] = ids
    tables = np.zeros((2, 256), dtype=np.uint32)  # 0 is no class
    for index, name in enumerate(label_set.names):
        tables[:, index] = static[name], moving.get(name, static[name])
    tables[:, UNLABELLED] = 0
    return tables[0], tables[1]


def _numbers(matrix: npt.NDArray[np.float64]) -> str:
    return " ".join(f"{value:.12g}" for value in matrix[:3].ravel())


def _write_lines(path: Path, lines: list[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines))


@contextmanager
def _atomic_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary path of the same name, which is renamed to `path` on success.

    Raises:
        ExportError: the path already exists.
    """
    if path.exists():
        raise ExportError(f"{path} already exists; it is not overwritten")
    unfinished = path.parent / "unfinished" / path.name
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.parent.mkdir(parents=True, exist_ok=True)
    yield unfinished
    unfinished.rename(path)
    if not any(unfinished.parent.iterdir()):
        unfinished.parent.rmdir()
