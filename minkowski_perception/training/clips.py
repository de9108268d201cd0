# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Clips for training: simulated drives, cut into windows and put into voxels."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset
from tqdm import tqdm

from minkowski_perception.frame import Frame
from minkowski_perception.labels import UNLABELLED
from minkowski_perception.simulation.drive import simulate_drive
from minkowski_perception.training.augment import Augmentation
from minkowski_perception.voxels import VoxelInput, stack_in_time, voxelize

Sample = tuple[Tensor, Tensor, Tensor]
"""Coordinates [N, 5], features [N, C] and labels [N] int64 of the voxels of one clip."""


def simulate_drives(
    seeds: Sequence[int], lidars: Mapping[str, float], frames: int
) -> list[list[Frame]]:
    """Simulate one drive a seed, in parallel, with a progress bar.

    Args:
        seeds: of the drives.
        lidars: LiDAR models by name, with the share of drives that each gets.
        frames: length of a drive.
    """
    weights = np.array(list(lidars.values()), dtype=float)
    names = list(lidars)
    chosen = [np.random.default_rng(s).choice(names, p=weights / weights.sum()) for s in seeds]
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        drives = pool.map(partial(_drive, frames=frames), seeds, chosen)
        return list(tqdm(drives, total=len(seeds), desc="simulating drives", unit="drive"))


def _drive(seed: int, lidar: str, frames: int) -> list[Frame]:
    return list(simulate_drive(seed, str(lidar), frames))


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
