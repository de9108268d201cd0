# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Sources of clips: simulated drives, and recorded sequences of data sets."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import cache, lru_cache, partial
from itertools import accumulate
from pathlib import Path
from typing import Any, BinaryIO, Protocol
from zipfile import ZipFile

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from minkowski_perception.codec import IntensityScale
from minkowski_perception.frame import Frame
from minkowski_perception.lab.datasets.catalogue import Dataset, open_dataset
from minkowski_perception.lab.datasets.reading import Frames
from minkowski_perception.lab.datasets.stored import columns_of, frame_of
from minkowski_perception.lab.simulation.camera import get_camera
from minkowski_perception.lab.simulation.lidar import get_lidar
from minkowski_perception.lab.simulation.recording import Recording
from minkowski_perception.lab.simulation.version import simulator_version
from minkowski_perception.lab.training.clip_size import ClipSize
from minkowski_perception.lab.training.history import History, PastFrame
from minkowski_perception.lab.training.losses import class_shares
from minkowski_perception.lab.training.recipe import Data, DataSet, HeldOut
from minkowski_perception.labels import LabelSet

Rng = np.random.Generator

_LENGTHS_AT = 26
"""Place of the lengths of name and extra field in the header of a ZIP file's member, its last."""

_COUNTED_FRAMES = 200
"""Frames of a data set, spread evenly, in which classes are counted."""


class Source(Protocol):
    """Source of clips."""

    @property
    def share(self) -> float:
        """Share of the clips, relative to the other sources."""

    def clip(
        self,
        rng: Rng,
        size: ClipSize,
        index: int | None = None,
        history: History | None = None,
    ) -> list[Frame]:
        """Return the clip of an index of the training, or a random one.

        Args:
            rng: random numbers.
            size: of the clip.
            index: of the clip; None for a random one.
            history: adds `PastFrame`s between the frames of the clip, in the order of time.
        """

    def class_shares(self, classes: int) -> npt.NDArray[np.float64]:
        """Return the share of each class in the labels, [classes]."""


@dataclass(frozen=True)
class Drives:
    """Simulated drives of equal length.

    Attributes:
        drives: their frames.
        share: of the clips.
        counted: drives in which classes are counted; None for all.
    """

    drives: Sequence[Sequence[Frame]]
    share: float = 1.0
    counted: Sequence[Sequence[Frame]] | None = None

    def clip(
        self,
        rng: Rng,
        size: ClipSize,
        index: int | None = None,
        history: History | None = None,
    ) -> list[Frame]:
        """Return a random clip; see `Source`."""
        drive = self.drives[int(rng.integers(len(self.drives)))]
        rows = size.draw(rng)
        start = int(rng.integers(len(drive) - rows[-1]))
        return _frames(drive, _upright, [start + row for row in rows], history)

    def class_shares(self, classes: int) -> npt.NDArray[np.float64]:
        """Return the share of each class in the labels, [classes]."""
        counted = self.drives if self.counted is None else self.counted
        labels = [f.labels for drive in counted for f in drive if f.labels is not None]
        return class_shares(np.concatenate(labels), classes)


@dataclass(frozen=True)
class Recordings:
    """Sequences of a data set; each frame ends a clip once before any frame does so again.

    Attributes:
        sequences: of frames, which are read when they are used.
        full_scale: of intensity; None determines it for each frame.
        share: of the clips.
        seed: of the order.
    """

    sequences: Sequence[Sequence[Frame]]
    full_scale: float | None = None
    share: float = 1.0
    seed: int = 0

    def clip(
        self,
        rng: Rng,
        size: ClipSize,
        index: int | None = None,
        history: History | None = None,
    ) -> list[Frame]:
        """Return the clip that ends with the frame of an index of the order, or a random one.

        See `Source`.
        """
        total = sum(map(len, self.sequences))
        if index is None:
            newest = int(rng.integers(total))
        else:
            newest = int(_order(self.seed, index // total, total)[index % total])
        sequence, newest = self._find(newest)
        rows = [newest - row for row in reversed(size.draw(rng)) if row <= newest]
        return _frames(sequence, self._prepared, rows, history)

    def class_shares(self, classes: int) -> npt.NDArray[np.float64]:
        """Return the share of each class in the labels of some frames, [classes]."""
        total = sum(map(len, self.sequences))
        rows = np.linspace(0, total - 1, min(total, _COUNTED_FRAMES)).astype(int)
        found = (self._find(int(row)) for row in rows)
        frames = (self._prepared(sequence[row]) for sequence, row in found)
        labels = [frame.labels for frame in frames if frame.labels is not None]
        return class_shares(np.concatenate([np.zeros(0, np.uint8), *labels]), classes)

    def _find(self, row: int) -> tuple[Sequence[Frame], int]:
        """Return the sequence of a frame, by its index over all sequences, and its index there."""
        ends = accumulate(map(len, self.sequences))
        sequence, end = next((s, e) for s, e in zip(self.sequences, ends, strict=True) if row < e)
        return sequence, row - (end - len(sequence))

    def _prepared(self, frame: Frame) -> Frame:
        """Return a frame without rays that hit nothing, with intensity from 0 to 1."""
        frame = _upright(frame)
        frame = frame.subset(np.asarray(frame.points.any(axis=1)))
        if frame.intensity is None:
            return frame
        scale = IntensityScale(self.full_scale)
        return replace(frame, intensity=scale.normalise(frame.intensity))


def _frames(
    sequence: Sequence[Frame],
    prepare: Callable[[Frame], Frame],
    rows: Sequence[int],
    history: History | None,
) -> list[Frame]:
    """Return the frames of a clip, with those of its history.

    Args:
        sequence: that the clip is of.
        prepare: changes each frame of the clip and its history.
        rows: of the clip, ascending.
        history: if the clip has one.
    """
    if history is None:
        return [prepare(sequence[row]) for row in rows]
    first = max(rows[0] - history.before, 0)
    # All are read, as the stamp of a frame is known only then.
    frames = {row: sequence[row] for row in range(first, rows[-1] + 1)}
    stamps = {row: frame.stamp for row, frame in frames.items()}
    wanted = history.rows(stamps, rows)
    return [
        prepare(frame) if row in rows else PastFrame.of(prepare(frame))
        for row, frame in frames.items()
        if row in rows or row in wanted
    ]


def _upright(frame: Frame) -> Frame:
    """Return the valid points of a frame, rotated so that z is up if its axes are optical.

    Rotations about z and slopes then mean the same for all sensors.
    """
    turn = frame.upright
    if not frame.valid.all():
        frame = frame.subset(frame.valid)
    if np.array_equal(turn, np.eye(4)):
        return frame
    return replace(
        frame,
        points=frame.points @ turn[:3, :3].T.astype(np.float32),
        pose=None if frame.pose is None else frame.pose @ turn.T,  # its transpose is its inverse
        frame_id="",
        axes=None,
    )


@lru_cache(maxsize=8)
def _order(seed: int, epoch: int, total: int) -> npt.NDArray[np.int64]:
    return np.random.default_rng((seed, epoch)).permutation(total)


def open_sources(data: Data, labels: LabelSet, seed: int) -> list[Source]:
    """Open the sources of a recipe.

    Raises:
        DatasetError: a data set is missing or empty.
        LabelSetError: there is no mapping from the labels of one to the recipe's.
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
    """Open a data set of a recipe, with its labels mapped to the recipe's."""
    of_bag = None if chosen.bag_labels is None else LabelSet.load(chosen.bag_labels)
    return open_dataset(chosen.name, Path(chosen.root), chosen.split, labels, of_bag)


def simulate(
    data: Data,
    labels: LabelSet,
    seeds: Sequence[int],
    sensors: Mapping[str, float] | None = None,
) -> list[Sequence[Frame]]:
    """Simulate one drive for each seed, in parallel, with a progress bar.

    Args:
        data: settings of the drives. Drives in the cache are read frame by frame when they are
            used; each version of the simulator has a cache of its own.
        labels: label set of the frames.
        seeds: of the drives.
        sensors: names of sensors with each one's share of the drives; by default those of `data`.

    Raises:
        LabelSetError: there is no mapping from the labels of a scene to `labels`.
        RecordingError: a scene is unknown or cannot be simulated with a sensor.
    """
    folder = None if data.cache is None else cache_folder(Path(data.cache))
    chosen = _draw_each(seeds, sensors or data.sensors)
    scenes = _draw_scenes(data, seeds)
    drive = partial(simulated_drive, data=data, labels=labels, folder=folder)
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        drives = pool.map(drive, seeds, chosen, scenes)
        return list(tqdm(drives, total=len(seeds), desc="simulating drives", unit="drive"))


def cache_folder(cache: Path) -> Path:
    """Return the folder in a cache of the drives of this version of the simulator."""
    return cache / simulator_version()


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


def simulated_drive(
    seed: int, sensor: str, scene: str, data: Data, labels: LabelSet, folder: Path | None
) -> Sequence[Frame]:
    """Simulate a drive, or read it from the cache.

    Args:
        seed: of the drive.
        sensor: name of the sensor.
        scene: one of `simulation.recording.SCENES`.
        data: settings of the drives.
        labels: label set of the frames.
        folder: of the cache; None for no cache.
    """
    start = float(np.random.default_rng((seed, 2)).uniform(0.0, data.latest_start))
    recording = _recording(sensor, scene, data, labels, start)
    if folder is None:
        return list(recording.play(seed))
    name = f"{sensor}_{scene}_{seed}_{data.frames}_{data.latest_start}"
    path = folder / f"{name.replace(os.sep, '_')}.npz"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        columns = {
            f"{i}.{name}": value
            for i, frame in enumerate(recording.play_unmapped(seed))
            for name, value in columns_of(frame).items()
        }
        unfinished = path.with_suffix(f".{os.getpid()}.npz")
        np.savez(unfinished, **columns)
        unfinished.replace(path)  # readers never see a partial file
    read = partial(_stored, recording.label_mapping)
    return Frames([(path, i) for i in range(data.frames)], read)


def _stored(mapping: npt.NDArray[np.uint8], item: tuple[Path, int]) -> Frame:
    """Read a frame of a drive in the cache and map its labels.

    Args:
        mapping: `label_mapping` of the recording.
        item: file of the drive, and index of the frame.
    """
    path, index = item
    prefix = f"{index}."
    with path.open("rb") as file:
        columns: dict[str, Any] = {
            key.removeprefix(prefix): _read(file, *place)
            for key, place in _members(path).items()
            if key.startswith(prefix)
        }
    columns["labels"] = mapping[columns["labels"]]
    return frame_of(columns)


@cache
def _members(path: Path) -> dict[str, tuple[int, np.dtype[Any], tuple[int, ...]]]:
    """Return the start, dtype and shape of each array of a file that `numpy.savez` wrote.

    `numpy.load` takes longer to find an array in the file than to read it.
    """
    members = {}
    with ZipFile(path) as archive, path.open("rb") as file:
        for info in archive.infolist():
            file.seek(info.header_offset + _LENGTHS_AT)
            lengths = np.frombuffer(file.read(4), "<u2")
            file.seek(int(lengths.sum()), os.SEEK_CUR)
            np.lib.format.read_magic(file)
            shape, _, dtype = np.lib.format.read_array_header_1_0(file)
            members[info.filename.removesuffix(".npy")] = (file.tell(), dtype, shape)
    return members


def _read(
    file: BinaryIO, start: int, dtype: np.dtype[Any], shape: tuple[int, ...]
) -> npt.NDArray[Any]:
    file.seek(start)
    return np.fromfile(file, dtype, math.prod(shape)).reshape(shape)
