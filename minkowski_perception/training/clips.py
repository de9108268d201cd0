# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Clips for training: simulated drives, cut into windows and put into voxels."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset
from tqdm import tqdm

from minkowski_perception import simulation
from minkowski_perception.frame import Frame
from minkowski_perception.labels import UNLABELLED
from minkowski_perception.networks.minkunet import SPATIAL_DIMS
from minkowski_perception.simulation.drive import simulate_drive
from minkowski_perception.training.augment import Augmentation
from minkowski_perception.voxels import VoxelInput, stack_in_time, voxelize

Sample = tuple[Tensor, Tensor, Tensor]
"""Coordinates [N, 5], features [N, C] and labels [N] int64 of the voxels of one clip."""


def simulate_drives(
    seeds: Sequence[int], lidars: Mapping[str, float], frames: int, cache: Path | None = None
) -> list[list[Frame]]:
    """Simulate one drive a seed, in parallel, with a progress bar.

    Args:
        seeds: of the drives.
        lidars: LiDAR models by name, with the share of drives that each gets.
        frames: length of a drive.
        cache: folder that keeps drives for the next time; what another version of the simulator
            made is not taken for its own.
    """
    weights = np.array(list(lidars.values()), dtype=float)
    names = list(lidars)
    chosen = [np.random.default_rng(s).choice(names, p=weights / weights.sum()) for s in seeds]
    folder = None if cache is None else cache / _simulator_version()
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        drives = pool.map(partial(_drive, frames=frames, folder=folder), seeds, chosen)
        return list(tqdm(drives, total=len(seeds), desc="simulating drives", unit="drive"))


def _simulator_version() -> str:
    """Digest of the simulator's source."""
    sources = sorted(Path(simulation.__path__[0]).rglob("*.py"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:16]


def _drive(seed: int, lidar: str, frames: int, folder: Path | None) -> list[Frame]:
    if folder is None:
        return list(simulate_drive(seed, str(lidar), frames))
    path = folder / f"{lidar}_{seed}_{frames}.npz"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        columns = {
            f"{i}.{field.name}": value
            for i, frame in enumerate(simulate_drive(seed, str(lidar), frames))
            for field in fields(frame)
            if (value := getattr(frame, field.name)) is not None
        }
        unfinished = path.with_suffix(f".{os.getpid()}.npz")
        np.savez(unfinished, **columns)
        unfinished.replace(path)  # whole or not at all, whoever else writes it
    with np.load(path, allow_pickle=False) as stored:
        made: list[dict[str, Any]] = [{} for _ in range(frames)]
        for key, value in stored.items():
            index, _, name = key.partition(".")
            made[int(index)][name] = value if value.ndim else value.item()
    return [Frame(**columns) for columns in made]


class ClipDataset(Dataset[Sample]):
    """Endless clips cut at random from drives; item i depends on the seed and i alone.

    Args:
        drives: frames with labels, as from `simulate_drives`.
        spec: what the network wants to see.
        window: largest number of frames in a clip; shorter ones occur, as at a stream's start.
        augmentation: how to vary them.
        seed: of all that is random.
        length: nominal number of clips.
    """

    def __init__(
        self,
        drives: Sequence[Sequence[Frame]],
        spec: VoxelInput,
        window: int,
        augmentation: Augmentation,
        seed: int,
        length: int,
    ) -> None:
        self._drives = drives
        self._spec = spec
        self._window = window
        self._augmentation = augmentation
        self._seed = seed
        self._length = length

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> Sample:
        rng = np.random.default_rng((self._seed, index))
        drive = self._drives[int(rng.integers(len(self._drives)))]
        length = self._window if rng.random() < 0.6 else int(rng.integers(1, self._window + 1))
        start = int(rng.integers(len(drive) - length + 1))
        clip = self._augmentation(drive[start : start + length], rng)
        frames = [voxelize(frame, self._spec, frame.intensity) for frame in clip]
        coordinates, features = stack_in_time(frames)
        labels = [
            voxels.quantization.reduce(_labels(frame)[torch.from_numpy(voxels.valid)])
            for frame, voxels in zip(clip, frames, strict=True)
        ]
        return coordinates, features, torch.cat(labels)


def _labels(frame: Frame) -> Tensor:
    if frame.labels is None:
        return torch.full((len(frame),), UNLABELLED)
    return torch.from_numpy(frame.labels.astype(np.int64))


def as_seen_in(dims: int, coordinates: Tensor) -> Tensor:
    """Voxels [N, 1 + dims] of clips as a network of 3D or 4D sees them.

    In 3D every frame stands alone, as a batch entry of its own.

    Args:
        dims: of the network.
        coordinates: [N, 5] int64 [batch, x, y, z, t].
    """
    if dims == SPATIAL_DIMS + 1:
        return coordinates
    length = int(coordinates[:, -1].max()) + 1 if len(coordinates) else 1
    alone = coordinates[:, :-1].clone()
    alone[:, 0] = coordinates[:, 0] * length + coordinates[:, -1]
    return alone


def collate(samples: Sequence[Sample]) -> Sample:
    """Join clips into one batch, numbered in the first column of the coordinates."""
    coordinates = []
    for batch, (voxels, _, _) in enumerate(samples):
        coordinates.append(voxels.clone())
        coordinates[-1][:, 0] = batch
    return (
        torch.cat(coordinates),
        torch.cat([features for _, features, _ in samples]),
        torch.cat([labels for _, _, labels in samples]),
    )
