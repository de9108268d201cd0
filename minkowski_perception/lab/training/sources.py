# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Where clips come from: simulated drives, and recorded sequences of data sets."""

from __future__ import annotations

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

from minkowski_perception.codec import IntensityScale
from minkowski_perception.frame import Frame, upright
from minkowski_perception.lab.datasets.catalogue import Dataset, open_dataset
from minkowski_perception.lab.datasets.reading import Frames
from minkowski_perception.lab.simulation.camera import get_camera
from minkowski_perception.lab.simulation.lidar import get_lidar
from minkowski_perception.lab.simulation.recording import Recording
from minkowski_perception.lab.simulation.version import simulator_version
from minkowski_perception.lab.training.losses import class_shares
from minkowski_perception.lab.training.recipe import Data, DataSet, HeldOut
from minkowski_perception.labels import LabelSet

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
    """Simulated drives, all alike.

    Attributes:
        drives: their frames.
        share: of all clips.
        counted: drives in which classes are counted; None for all.
    """

    drives: Sequence[Sequence[Frame]]
    share: float = 1.0
    counted: Sequence[Sequence[Frame]] | None = None

    def clip(self, rng: Rng, size: ClipSize, index: int | None = None) -> list[Frame]:
        """Return a clip at random."""
        drive = self.drives[int(rng.integers(len(self.drives)))]
        length = size.draw(rng)
        start = int(rng.integers(len(drive) - size.span(length) + 1))
        chosen = drive[start : start + size.span(length) : size.stride]
        return [_standing(frame) for frame in chosen]

    def class_shares(self, classes: int) -> npt.NDArray[np.float64]:
        """[classes]: each class's share of the labels."""
        counted = self.drives if self.counted is None else self.counted
        labels = [f.labels for drive in counted for f in drive if f.labels is not None]
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
        frame = _standing(sequence[row])
        frame = frame.subset(np.asarray(frame.points.any(axis=1)))
        if frame.intensity is None:
            return frame
        scale = IntensityScale(self.full_scale)
        return replace(frame, intensity=scale.normalise(frame.intensity))


def _standing(frame: Frame) -> Frame:
    """Frame whose z axis points up as far as its sensor's name tells, without holes.

    Turns about z and slopes mean the same then, whatever the sensor.
    """
    turn = upright(frame.frame_id)
    if not frame.valid.all():
        frame = frame.subset(frame.valid)
    if np.array_equal(turn, np.eye(4)):
        return frame
    return replace(
        frame,
        points=frame.points @ turn[:3, :3].T.astype(np.float32),
        pose=None if frame.pose is None else frame.pose @ turn.T,  # a turn alone: its inverse
        frame_id="",
    )


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
        seeds = range(*data.seeds)
        drives = simulate(data, labels, seeds)
        counted = None
        if data.counted_scenes is not None:
            scenes = zip(drives, _draw_scenes(data, seeds), strict=True)
            counted = [drive for drive, scene in scenes if scene in data.counted_scenes]
        sources.append(Drives(drives, data.share, counted))
    sources += [recordings(chosen, labels, seed) for chosen in data.sets]
    return sources


def recordings(chosen: DataSet, labels: LabelSet, seed: int) -> Recordings:
    """Open a data set to train on."""
    dataset = open_set(chosen, labels)
    sequences = list(dataset.sequences.values())
    return Recordings(sequences, dataset.intensity_full_scale, chosen.share, seed)


def open_set(chosen: DataSet | HeldOut, labels: LabelSet) -> Dataset:
    """Open a data set of a recipe, its labels in those of the recipe."""
    of_bag = None if chosen.bag_labels is None else LabelSet.load(chosen.bag_labels)
    return open_dataset(chosen.name, Path(chosen.root), chosen.split, labels, of_bag)


def simulate(
    data: Data,
    labels: LabelSet,
    seeds: Sequence[int],
    sensors: Mapping[str, float] | None = None,
) -> list[Sequence[Frame]]:
    """Simulate one drive a seed, in parallel, with a progress bar.

    Args:
        data: what drives a recipe asks for. Those in its cache are read frame by frame when they
            are asked for; what another version of the simulator made is not taken for its own.
        labels: what labels are told in.
        seeds: of the drives.
        sensors: by name, with the share of drives that each gets; by default those of the data.

    Raises:
        LabelSetError: labels of a scene cannot be told in those that are wanted.
        RecordingError: a sensor sees nothing of a scene, or there is no such scene.
    """
    folder = None if data.cache is None else Path(data.cache) / simulator_version()
    chosen = _draw_each(seeds, sensors or data.sensors)
    scenes = _draw_scenes(data, seeds)
    drive = partial(_drive, data=data, labels=labels, folder=folder)
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        drives = pool.map(drive, seeds, chosen, scenes)
        return list(tqdm(drives, total=len(seeds), desc="simulating drives", unit="drive"))


def check_drives(data: Data, labels: LabelSet) -> None:
    """Check that the sensors, scenes and labels of simulated drives exist and fit each other.

    Raises:
        SensorError, RecordingError, LabelSetError: they do not; the valid ones are listed.
    """
    for sensor in data.sensors:
        for scene in data.drawn_scenes:
            _ = _recording(sensor, scene, data, labels).label_mapping


def _recording(
    sensor: str, scene: str, data: Data, labels: LabelSet, start: float = 0.0
) -> Recording:
    model = get_camera(sensor) if data.cameras else get_lidar(sensor)
    return Recording(scene, model, data.frames, start=start, labels=labels)


def _draw_scenes(data: Data, seeds: Sequence[int]) -> list[str]:
    return _draw_each([(seed, 1) for seed in seeds], data.drawn_scenes)


def _draw_each(seeds: Sequence[Any], shares: Mapping[str, float]) -> list[str]:
    """Draw a name for each seed."""
    weights = np.array(list(shares.values()), dtype=float)
    names, weights = list(shares), weights / weights.sum()
    return [str(np.random.default_rng(seed).choice(names, p=weights)) for seed in seeds]


def _drive(
    seed: int, sensor: str, scene: str, data: Data, labels: LabelSet, folder: Path | None
) -> Sequence[Frame]:
    """Simulate a drive, or find it in a folder."""
    start = float(np.random.default_rng((seed, 2)).uniform(0.0, data.latest_start))
    recording = _recording(sensor, scene, data, labels, start)
    if folder is None:
        return list(recording.play(seed))
    name = f"{sensor}_{scene}_{seed}_{data.frames}_{data.latest_start}"
    path = folder / f"{name.replace(os.sep, '_')}.npz"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        columns = {
            f"{i}.{field.name}": value
            for i, frame in enumerate(recording.play_unmapped(seed))
            for field in fields(frame)
            if (value := getattr(frame, field.name)) is not None
        }
        unfinished = path.with_suffix(f".{os.getpid()}.npz")
        np.savez(unfinished, **columns)
        unfinished.replace(path)  # whole or not at all, whoever else writes it
    read = partial(_stored, recording.label_mapping)
    return Frames([(path, i) for i in range(data.frames)], read)


def _stored(told: npt.NDArray[np.uint8], place: tuple[Path, int]) -> Frame:
    """Read a frame of a stored drive; `told` is as of its recording."""
    path, index = place
    prefix = f"{index}."
    with np.load(path, allow_pickle=False) as stored:
        columns: dict[str, Any] = {
            key.removeprefix(prefix): stored[key] for key in stored.files if key.startswith(prefix)
        }
    columns["labels"] = told[columns["labels"]]
    return Frame(**{k: v if v.ndim else v.item() for k, v in columns.items()})
