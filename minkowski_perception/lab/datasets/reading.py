# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Shared parts of the readers: lazy frames, the meaning of label ids, checked files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar, overload

import numpy as np
import numpy.typing as npt

from minkowski_perception.frame import Frame
from minkowski_perception.labels import MOVING_IDS, UNLABELLED, LabelSet

Item = TypeVar("Item")


class DatasetError(ValueError):
    """A data set is missing or damaged; the message says what was expected and what was found."""


class Frames(Sequence[Frame], Generic[Item]):
    """Frames in time order, each read on access; a slice reads none.

    Args:
        items: one per frame: the argument of `read`.
        read: reads the frame of an item.
    """

    def __init__(self, items: Sequence[Item], read: Callable[[Item], Frame]) -> None:
        self._items = items
        self._read = read

    def __len__(self) -> int:
        return len(self._items)

    @overload
    def __getitem__(self, index: int) -> Frame: ...
    @overload
    def __getitem__(self, index: slice) -> Frames[Item]: ...
    def __getitem__(self, index: int | slice) -> Frame | Frames[Item]:
        """Read a frame, or select some.

        Raises:
            IndexError: the index is out of range.
            DatasetError: a file of the frame is missing or damaged.
        """
        if isinstance(index, slice):
            return Frames(self._items[index], self._read)
        return self._read(self._items[index])


@dataclass(frozen=True)
class LabelIds:
    """Meaning of the ids in a data set's files.

    Attributes:
        labels: [65536] uint8, the label of each id, 255 if unknown.
        moving: ids of moving objects, or None if the data set does not distinguish them.
        source: name of the ids, see `of`.
        unknown: number of points by id, of those read so far whose id has no label.
    """

    labels: npt.NDArray[np.uint8]
    moving: range | None = None
    source: str = ""
    unknown: Counter[int] = field(default_factory=Counter, compare=False)

    @classmethod
    def of(
        cls, label_set: LabelSet, source: str | None = None, target: LabelSet | None = None
    ) -> LabelIds:
        """Return the meaning of a data set's ids in a label set.

        Args:
            label_set: label set of the data set.
            source: name of the ids, one of the set's sources; by default the first that ends in
                `_raw`, else the set's own ids.
            target: label set to map to, by default the data set's own. Its mapping from the ids
                is preferred to one from the data set's classes, since it can be finer.

        Raises:
            LabelSetError: the target has no mapping from the ids or the data set's classes.
        """
        if source is None:
            raw = (name for name in label_set.sources if name.endswith("_raw"))
            source = next(raw, label_set.name)
        if target is None or target.name == label_set.name:
            labels = label_set.mapping_from(source)
        elif source in target.sources:
            labels = target.mapping_from(source)
        else:
            labels = target.mapping_from(label_set)[label_set.mapping_from(source)]
        return cls(labels, MOVING_IDS.get(source), source)

    def to_labels(self, ids: npt.NDArray[np.integer]) -> npt.NDArray[np.uint8]:
        """Return the labels [N] of ids [N], 255 if unknown; count those."""
        labels: npt.NDArray[np.uint8] = self.labels[ids]
        if len(unknown := ids[labels == UNLABELLED]):
            found, points = np.unique(unknown, return_counts=True)
            self.unknown.update(dict(zip(found.tolist(), points.tolist(), strict=True)))
        return labels

    def moves(self, ids: npt.NDArray[np.integer]) -> npt.NDArray[np.bool_] | None:
        """Return [N] bool, whether each of [N] ids is a moving object; None if unknown."""
        return None if self.moving is None else np.isin(ids, self.moving)


def files_in(folder: Path, pattern: str) -> list[Path]:
    """Return the paths that match a pattern, sorted, without hidden ones.

    macOS leaves a file '._NAME' beside each NAME that it copies.
    """
    return sorted(path for path in folder.glob(pattern) if not path.name.startswith("."))


def room_frame(
    points: npt.NDArray[np.float32],
    colour: npt.NDArray[np.uint8],
    labels: npt.NDArray[np.uint8] | None,
) -> Frame:
    """Return the frame of the scan of a whole room, whose axes are those of the world."""
    return Frame(points=points, frame_id="room", colour=colour, labels=labels, pose=np.eye(4))


def contents_of(folder: Path) -> str:
    """Describe what a path contains, for errors about missing files."""
    if not folder.exists():
        return f"{folder} does not exist"
    if not folder.is_dir():
        return f"{folder} is a file"
    return f"{folder} contains {_listed(e.name for e in folder.iterdir()) or 'nothing'}"


def names_in_split(
    names: Iterable[str], split: str | None, splits: Mapping[str, frozenset[str]]
) -> list[str]:
    """Return the names that belong to a split, sorted; all names if the split is None.

    Raises:
        DatasetError: the split is unknown, or none of its names is present.
    """
    names = sorted(names)
    if split is None:
        return names
    if split not in splits:
        choices = f"choose one of {', '.join(splits)}" if splits else "the data set has no splits"
        raise DatasetError(f"unknown split '{split}'; {choices}")
    kept = [name for name in names if name in splits[split]]
    if not kept:
        raise DatasetError(
            f"split '{split}' has {_listed(splits[split])}, but found only {_listed(names)}"
        )
    return kept


def read_rows(path: Path, dtype: str, columns: int) -> npt.NDArray[Any]:
    """Read [N, columns] from a binary file without header.

    Raises:
        DatasetError: the file is missing, or its size is not a multiple of a row.
    """
    size = np.dtype(dtype).itemsize * columns
    try:
        length = path.stat().st_size
    except OSError as error:
        raise DatasetError(f"no {path}: {contents_of(path.parent)}") from error
    if length % size:
        raise DatasetError(f"{path} has {length} bytes, not a multiple of {size} per point")
    return np.fromfile(path, dtype).reshape(-1, columns)


def read_column(path: Path, dtype: str, points: int) -> npt.NDArray[Any]:
    """Read [points] from a binary file that belongs to a scan.

    Raises:
        DatasetError: the file is missing, or has another number of points.
    """
    values = read_rows(path, dtype, 1)[:, 0]
    if len(values) != points:
        raise DatasetError(f"{path} has {len(values)} points, but the scan has {points}")
    return values


def _listed(names: Iterable[str]) -> str:
    names = sorted(names)
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
