# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What the readers of data sets share: lazy frames, the meaning of label ids, checked files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar, overload

import numpy as np
import numpy.typing as npt

from minkowski_perception.frame import Frame
from minkowski_perception.labels import LabelSet

Item = TypeVar("Item")

_MOVING = {"semantickitti_raw": range(252, 260)}
"""Ids of what was moving, where a data set tells it from what only could."""


class DatasetError(ValueError):
    """A data set is missing or damaged; the message says what was looked for, and what found."""


class Frames(Sequence[Frame], Generic[Item]):
    """Frames in order of time, each read when it is asked for; a slice reads none.

    Args:
        items: one for each frame: what it is read by.
        read: gives the frame of an item.
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
        """Read a frame, or choose some.

        Raises:
            IndexError: there are not so many.
            DatasetError: a file of the frame is missing or damaged.
        """
        if isinstance(index, slice):
            return Frames(self._items[index], self._read)
        return self._read(self._items[index])


@dataclass(frozen=True)
class LabelIds:
    """What the ids in the files of a data set mean.

    Attributes:
        labels: [65536] uint8, the label of each id, 255 where unknown.
        moving: ids of what was moving, or None where the data set does not tell.
    """

    labels: npt.NDArray[np.uint8]
    moving: range | None = None

    @classmethod
    def of(
        cls, label_set: LabelSet, source: str | None = None, target: LabelSet | None = None
    ) -> LabelIds:
        """Meaning of ids.

        Args:
            label_set: of the data set.
            source: name of the ids, one of the set's sources; by default the first that ends in
                `_raw`, else the set's own ids.
            target: what labels are wanted in, by default the data set's own. It may know the ids
                themselves, and so tell finer than by way of the data set's classes.

        Raises:
            LabelSetError: the target knows neither the ids nor the data set's classes.
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
        return cls(labels, _MOVING.get(source))

    def moves(self, ids: npt.NDArray[np.integer]) -> npt.NDArray[np.bool_] | None:
        """[N] whether each point was moving, of [N] ids."""
        return None if self.moving is None else np.isin(ids, self.moving)


def found_in(folder: Path) -> str:
    """Tell what there is at a path, for an error that something else was looked for there."""
    if not folder.exists():
        return f"{folder} does not exist"
    if not folder.is_dir():
        return f"{folder} is a file"
    names = sorted(entry.name for entry in folder.iterdir())
    shown = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
    return f"{folder} holds {shown or 'nothing'}"


def only_split(
    names: Iterable[str], split: str | None, splits: Mapping[str, frozenset[str]]
) -> list[str]:
    """Those of the names that belong to a split, in order; all of them where it is None.

    Raises:
        DatasetError: there is no such split, or none of its names is there.
    """
    names = sorted(names)
    if split is None:
        return names
    if split not in splits:
        choices = ", ".join(splits) or "none, and all sequences are read without one"
        raise DatasetError(f"unknown split '{split}'; there are: {choices}")
    kept = [name for name in names if name in splits[split]]
    if not kept:
        raise DatasetError(
            f"split '{split}' is {_listed(splits[split])}, but there are: {_listed(names)}"
        )
    return kept


def read_rows(path: Path, dtype: str, columns: int) -> npt.NDArray[Any]:
    """[N, columns] of a file that holds nothing else.

    Raises:
        DatasetError: the file is missing or of another size.
    """
    size = np.dtype(dtype).itemsize * columns
    try:
        length = path.stat().st_size
    except OSError as error:
        raise DatasetError(f"no {path}: {found_in(path.parent)}") from error
    if length % size:
        raise DatasetError(f"{path} has {length} bytes, not {size} a point")
    return np.fromfile(path, dtype).reshape(-1, columns)


def read_column(path: Path, dtype: str, points: int) -> npt.NDArray[Any]:
    """[points] of a file that belongs to a scan.

    Raises:
        DatasetError: the file is missing, or has not as many.
    """
    values = read_rows(path, dtype, 1)[:, 0]
    if len(values) != points:
        raise DatasetError(f"{path} has {len(values)} points, the scan {points}")
    return values


def _listed(names: Iterable[str]) -> str:
    names = sorted(names)
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
