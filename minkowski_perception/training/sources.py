# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Where clips come from: simulated drives, and recorded sequences of data sets."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, fields, replace
from functools import lru_cache, partial
from itertools import accumulate
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from minkowski_perception import simulation
from minkowski_perception.codec import IntensityScale
from minkowski_perception.datasets.catalogue import open_dataset
from minkowski_perception.frame import Frame
from minkowski_perception.labels import LabelSet
from minkowski_perception.simulation.drive import simulate_drive
from minkowski_perception.training.losses import class_shares
from minkowski_perception.training.recipe import Data, DataSet

Rng = np.random.Generator

_COUNTED_FRAMES = 200
"""Of a data set, spread evenly: enough to tell how common classes are."""


@dataclass(frozen=True)
class ClipSize:
    """How long clips are.

    Attributes:
        window: most frames.
        shorter: share of the clips that may be shorter, as at a stream's start.
        stride: from each frame to the next one, frames of the sequence.
    """

    window: int
    shorter: float = 0.4
    stride: int = 1

    def draw(self, rng: Rng) -> int:
        """Draw a number of frames."""
        if rng.random() < 1.0 - self.shorter:
            return self.window
        return int(rng.integers(1, self.window + 1))

    def span(self, length: int) -> int:
        """Frames of the sequence from the first to the last of so many."""
        return (length - 1) * self.stride + 1


class Source(Protocol):
    """What clips are taken from."""

    @property
    def share(self) -> float:
        """Of all clips, relative to other sources."""

    def clip(self, rng: Rng, size: ClipSize, index: int | None = None) -> list[Frame]:
        """Return a clip: number `index` of a training, or one at random."""

    def class_shares(self, classes: int) -> npt.NDArray[np.float64]:
        """[classes]: each class's share of the labels."""


@dataclass(frozen=True)
class Drives:
    """Simulated drives, all alike."""

    drives: Sequence[Sequence[Frame]]
    share: float = 1.0

    def clip(self, rng: Rng, size: ClipSize, index: int | None = None) -> list[Frame]:
        """Return a clip at random."""
        drive = self.drives[int(rng.integers(len(self.drives)))]
        length = size.draw(rng)
        start = int(rng.integers(len(drive) - size.span(length) + 1))
        return list(drive[start : start + size.span(length) : size.stride])

    def class_shares(self, classes: int) -> npt.NDArray[np.float64]:
        """[classes]: each class's share of the labels."""
        labels = [f.labels for drive in self.drives for f in drive if f.labels is not None]
        return class_shares(np.concatenate(labels), classes)


@dataclass(frozen=True)
class Recordings:
    """Sequences of a data set; a clip ends with each frame once before any does again.

    Attributes:
        sequences: their frames are read when they are asked for.
        full_scale: of intensity; None to go by each frame.
        share: of all clips.
        seed: of the order.
    """

    sequences: Sequence[Sequence[Frame]]
    full_scale: float | None = None
    share: float = 1.0
    seed: int = 0

    def clip(self, rng: Rng, size: ClipSize, index: int | None = None) -> list[Frame]:
        """Return the clip whose newest frame is the next of the order, or one at random."""
        total = sum(map(len, self.sequences))
        if index is None:
            newest = int(rng.integers(total))
        else:
            newest = int(_order(self.seed, index // total, total)[index % total])
        sequence, newest = self._place(newest)
        rows = range(newest, newest - size.span(size.draw(rng)), -size.stride)
        return [self._read(sequence, row) for row in reversed(rows) if row >= 0]

    def class_shares(self, classes: int) -> npt.NDArray[np.float64]:
        """[classes]: each class's share of the labels of some frames."""
        total = sum(map(len, self.sequences))
        rows = np.linspace(0, total - 1, min(total, _COUNTED_FRAMES)).astype(int)
        frames = (self._read(*self._place(int(row))) for row in rows)
        labels = [frame.labels for frame in frames if frame.labels is not None]
        return class_shares(np.concatenate([np.zeros(0, np.uint8), *labels]), classes)

    def _place(self, row: int) -> tuple[Sequence[Frame], int]:
        """Sequence that holds a frame, counted over all, and its row there."""
        ends = accumulate(map(len, self.sequences))
        sequence, end = next((s, e) for s, e in zip(self.sequences, ends, strict=True) if row < e)
        return sequence, row - (end - len(sequence))

    def _read(self, sequence: Sequence[Frame], row: int) -> Frame:
        """Return a frame without rays that met nothing, its intensity from 0 to 1."""
        frame = sequence[row]
        frame = frame.subset(frame.valid & frame.points.any(axis=1))
        if frame.intensity is None:
            return frame
        scale = IntensityScale(self.full_scale)
        return replace(frame, intensity=scale.normalise(frame.intensity))


@lru_cache(maxsize=8)
def _order(seed: int, epoch: int, total: int) -> npt.NDArray[np.int64]:
    return np.random.default_rng((seed, epoch)).permutation(total)


def open_sources(data: Data, labels: LabelSet, seed: int) -> list[Source]:
    """Open all that a recipe's clips come from.

    Raises:
        DatasetError: a data set is not where it should be, or is empty.
        LabelSetError: the labels of one cannot be told in the recipe's.
    """
    sources: list[Source] = []
    if data.seeds is not None:
        drives = simulated(data, range(*data.seeds), data.lidars)
        sources.append(Drives(drives, data.share))
    sources += [recordings(chosen, labels, seed) for chosen in data.sets]
    return sources


def recordings(chosen: DataSet, labels: LabelSet, seed: int) -> Recordings:
    """Open a data set, its labels in those of the recipe."""
    dataset = open_dataset(chosen.name, Path(chosen.root), chosen.split, labels)
    sequences = list(dataset.sequences.values())
    return Recordings(sequences, dataset.intensity_full_scale, chosen.share, seed)


def simulated(data: Data, seeds: range, lidars: Mapping[str, float]) -> list[list[Frame]]:
    """Simulate drives as a recipe asks for them."""
    cache = None if data.cache is None else Path(data.cache)
    return simulate_drives(seeds, lidars, data.frames, cache)


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
