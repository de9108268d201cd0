# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Input of benchmarks: voxels of simulated LiDARs and of recorded scans."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from minkowski_perception.frame import Frame
from minkowski_perception.lab.benchmarks import BenchmarkError
from minkowski_perception.lab.simulation.drive import simulate_drive
from minkowski_perception.lab.simulation.lidar import LidarModel, get_lidar
from minkowski_perception.voxels import VoxelInput, stack_in_time, voxelize

VOXEL_SIZE = 0.05
FEATURES = ("x", "y", "z", "intensity")

# The azimuth resolution of the real sensors at 10 Hz; training uses coarser models.
_LIDARS = {
    16: dataclasses.replace(get_lidar("vlp16"), azimuth_steps=1800),
    64: dataclasses.replace(get_lidar("hdl64"), azimuth_steps=2083),
    128: LidarModel("os1_128", tuple(np.linspace(21.1, -21.1, 128)), 1024, min_range=0.5),
}
BEAMS = tuple(_LIDARS)

_SEED = 7001  # of a street that no training, test or demo uses
_MOUNT_HEIGHT = 1.73
_SPEED = 8.0


@dataclasses.dataclass(frozen=True)
class Scan:
    """Voxels of a scan, or of several consecutive ones.

    Attributes:
        name: of the scan.
        points: number of points in the voxels.
        coordinates: [N, 4] int64 [batch, x, y, z]; [N, 5] with time last for several scans.
        features: [N, 4] float32: x, y, z in metres, intensity.
    """

    name: str
    points: int
    coordinates: Tensor
    features: Tensor


def simulated_frames(beams: int, frames: int) -> Iterator[Frame]:
    """Yield clouds of a street from a car that drives 8 m/s, at 10 Hz.

    Args:
        beams: of the LiDAR: 16 (VLP-16), 64 (HDL-64E) or 128 (OS1-128).
        frames: number of frames.

    Raises:
        BenchmarkError: no LiDAR has so many beams.
        MissingPackageError: Open3D, which casts the rays, is missing (raised by the first frame).
    """
    if beams not in _LIDARS:
        raise BenchmarkError(f"beams must be one of {', '.join(map(str, BEAMS))}, not {beams}")
    return simulate_drive(_SEED, _LIDARS[beams], frames, mount_height=_MOUNT_HEIGHT, speed=_SPEED)


def simulated_scan(
    beams: int, frames: int = 1, voxel_size: float = VOXEL_SIZE, dimension: int | None = None
) -> Scan:
    """Return one or several scans of a street in the odometry frame; see `simulated_frames`.

    Args:
        beams: of the LiDAR.
        frames: number of frames.
        voxel_size: metres.
        dimension: 3 or 4; by default 4 for several frames.

    Raises:
        BenchmarkError: no LiDAR has so many beams.
        ValueError: an invalid voxel size.
        MissingPackageError: Open3D, which casts the rays, is missing.
    """
    drive = simulated_frames(beams, frames)
    return _scan(f"simulated {beams} beams", list(drive), voxel_size, dimension)


def simulated_points(count: int, voxel_size: float = VOXEL_SIZE) -> Tensor:
    """Return the voxel of each of the first points of a drive with a LiDAR of 128 beams.

    Returns:
        [count, 4] int64 [batch, x, y, z], the batch being 0; many points share a voxel.
    """
    frames = simulated_frames(128, 10)
    points, total = [], 0
    while total < count:
        points.append(next(frames).points)
        total += len(points[-1])
    voxels = np.floor(np.concatenate(points)[:count] / voxel_size).astype(np.int64)
    return torch.from_numpy(np.insert(voxels, 0, 0, axis=1))


def recorded_scan(path: Path, voxel_size: float = VOXEL_SIZE) -> Scan:
    """Read a scan in KITTI's format: float32 x, y, z, intensity for each point.

    Raises:
        BenchmarkError: the file cannot be read, is empty, or has another format.
        ValueError: an invalid voxel size.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BenchmarkError(f"cannot read scan {path}: {error.strerror}") from error
    if not data or len(data) % 16:
        raise BenchmarkError(
            f"scan {path} has {len(data)} bytes, not 16 per point (float32 x, y, z, intensity)"
        )
    values = np.frombuffer(data, dtype="<f4").reshape(-1, 4)
    frame = Frame(points=values[:, :3].copy(), intensity=values[:, 3].copy())
    return _scan(str(path), [frame], voxel_size)


def _scan(
    name: str, frames: Sequence[Frame], voxel_size: float, dimension: int | None = None
) -> Scan:
    spec = VoxelInput.from_dict({"voxel_size": voxel_size, "features": FEATURES})
    dimension = dimension or (3 if len(frames) == 1 else 4)
    in_voxels = [voxelize(frame, spec, frame.intensity, dimension) for frame in frames]
    coordinates, features = stack_in_time(in_voxels)
    return Scan(name, sum(map(len, frames)), coordinates[:, : 1 + dimension], features)
