# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Readers of the shared recordings: a few frames of each, from their original files."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from minkowski_perception.codec import encode_frame
from minkowski_perception.frame import Frame
from minkowski_perception.lab.datasets.kitti import KittiSequence
from minkowski_perception.labels import LabelSet
from minkowski_perception.recordings.bags import BagWriter

SECOND = 10**9
FRAMES = 3
ROWS = 480  # of organised clouds, 640 points each


@dataclass(frozen=True)
class Recording:
    """Frames, the number of rows of their clouds, and the label set of their labels or None."""

    frames: list[Frame]
    rows: int = 1
    truth: str | None = None


def write_bag(path: Path, recording: Recording) -> Path:
    """Write a recording to a bag: clouds with the field `label`, and odometry."""
    with BagWriter(path) as bag:
        for frame in recording.frames:
            cloud = encode_frame(frame, None if frame.labels is None else "label")
            width = cloud.width // recording.rows
            cloud = replace(
                cloud, height=recording.rows, width=width, row_step=width * cloud.point_step
            )
            bag.write_cloud("/points", cloud, frame.stamp, frame.frame_id)
            if frame.pose is not None:
                bag.write_odometry("/odometry", frame.stamp, frame.pose, "odom", frame.frame_id)
    return path


def semantickitti_00(folder: Path) -> Recording:
    """HDL-64E; true labels only where `exact_mask` (uint8) marks them as not interpolated."""
    return _sequence(folder / "sequences" / "00", "semantickitti19")


def nuscenes_scene_a(folder: Path) -> Recording:
    """HDL-32E key frames at 2 Hz, intensity 0 to 255."""
    return _sequence(folder / "sequences" / "a", "urban10", period=0.5)


def ika_vlp32(folder: Path) -> Recording:
    """VLP-32, driving forward, intensity 0 to 255, times in ns."""
    return _sequence(folder / "sequences" / "00", "urban10")


def pandaset(folder: Path) -> Recording:
    """Pandar64 and PandarGT in one cloud, intensity 0 to 1, times as rows (frame, seconds)."""
    return _sequence(folder / "sequences" / "002")


def ouster_os1_128(folder: Path) -> Recording:
    """OS1-128, beam by beam, intensity 1 to 255; no motion."""
    files = sorted(folder.glob("*.bin"))[:FRAMES]
    return Recording([_scan(f, stamp) for f, stamp in zip(files, _every(0.1), strict=True)])


def rellis3d(folder: Path) -> Recording:
    """OS1-64 ((0, 0, 0) for no return, intensity / 65535), and the Velodyne beside it."""
    first, second, _ = _every(0.1)
    ouster = _scan(folder / "000104.bin", first, "ouster")
    ouster.labels = np.fromfile(folder / "000104.label", "<u4").astype(np.uint16)
    return Recording([ouster, _scan(folder / "vel000104.bin", second, "velodyne")])


def nebula_multi_sensor_pcd(folder: Path) -> Recording:
    """One cloud from each of four LiDARs; the file name has the sensor and nanoseconds."""
    frames = []
    for file in folder.glob("*.pcd"):
        sensor, stamp = file.stem.split("_")
        frames.append(_pcd(file, int(stamp), sensor))
    return Recording(sorted(frames, key=lambda frame: frame.stamp))


def mosd_organised_rgbd(folder: Path) -> Recording:
    """Kinect, 640 x 480 row by row, x right, z forward; holes are NaN with label 0."""
    files = sorted(folder.glob("*.pcd"))[:FRAMES]
    frames = [_pcd(f, stamp, "camera") for f, stamp in zip(files, _every(0.1), strict=True)]
    return Recording(frames, rows=ROWS)


def rgbd_7scenes(folder: Path) -> Recording:
    """Depth as uint16 millimetres along z, 0 for a hole; intrinsics 3 x 3; pose camera to world.

    Colours are taken from the same pixel, without registration of colour and depth camera.
    """
    intrinsics = np.loadtxt(folder / "camera-intrinsics.txt")
    columns, rows = np.meshgrid(np.arange(640), np.arange(ROWS))
    rays = np.stack([columns, rows, np.ones_like(rows)], axis=-1) @ np.linalg.inv(intrinsics).T
    frames = []
    for i, stamp in enumerate(_every(1 / 30)):
        depth = _image(folder / f"frame-{i:06d}.depth.png")[..., 0].astype(np.float64)
        depth[depth == 0] = np.nan
        points = (rays * (depth * 1e-3)[..., None]).reshape(-1, 3).astype(np.float32)
        colour = _image(folder / f"frame-{i:06d}.color.jpg").reshape(-1, 3)
        pose = np.loadtxt(folder / f"frame-{i:06d}.pose.txt")
        frames.append(Frame(points, stamp, "camera", colour=colour, pose=pose))
    return Recording(frames, rows=ROWS)


READERS = {
    reader.__name__: reader
    for reader in (
        semantickitti_00,
        nuscenes_scene_a,
        ika_vlp32,
        pandaset,
        ouster_os1_128,
        rellis3d,
        nebula_multi_sensor_pcd,
        mosd_organised_rgbd,
        rgbd_7scenes,
    )
}
"""By name of the folder."""


def _every(period: float) -> list[int]:
    """Stamps of frames without known times."""
    return [round((1 + i * period) * SECOND) for i in range(FRAMES)]


def _scan(file: Path, stamp: int, frame_id: str = "lidar") -> Frame:
    """Read 16 bytes per point: x, y, z in metres and intensity, float32."""
    rows = np.fromfile(file, "<f4").reshape(-1, 4)
    return Frame(rows[:, :3], int(stamp), frame_id, intensity=rows[:, 3])


def _sequence(folder: Path, truth: str | None = None, period: float = 0.1) -> Recording:
    label_set = None if truth is None else LabelSet.load(truth)
    sequence = KittiSequence(folder, label_set, period)
    return Recording([sequence[i] for i in range(FRAMES)], truth=truth)


def _pcd(file: Path, stamp: int, frame_id: str) -> Frame:
    """Read the fields by name, of all points in order, including holes."""
    open3d = pytest.importorskip("open3d", reason="needs open3d to read PCD files")
    cloud = open3d.t.io.read_point_cloud(str(file)).point
    columns = {"intensity": np.float32, "label": np.uint16}
    intensity, labels = (
        cloud[name].numpy().astype(dtype)[:, 0] if name in cloud else None
        for name, dtype in columns.items()
    )
    return Frame(
        cloud["positions"].numpy(),
        stamp,
        frame_id,
        intensity=intensity,
        colour=cloud["colors"].numpy() if "colors" in cloud else None,
        labels=labels,
    )


def _image(file: Path) -> np.ndarray:
    open3d = pytest.importorskip("open3d", reason="needs open3d to read images")
    return open3d.t.io.read_image(str(file)).as_tensor().numpy()
