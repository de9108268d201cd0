# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Labelled frames in one file each, as `adapt` writes them.

A root holds the label set in `labels.yaml`, and the columns of each `Frame` in
`SPLIT/SEQUENCE/NNNNNN.npz`. Intensity is from 0 to 1.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from minkowski_perception.files import write_whole
from minkowski_perception.frame import Frame
from minkowski_perception.lab.datasets.reading import DatasetError, Frames, contents_of, files_in
from minkowski_perception.labels import LabelSet
from minkowski_perception.schema import dump_yaml

LABELS = "labels.yaml"


def write_label_set(root: Path, label_set: LabelSet) -> None:
    """Write the label set of the frames of a root."""
    root.mkdir(parents=True, exist_ok=True)
    write_whole(root / LABELS, dump_yaml(label_set.to_dict()).encode())


def write_frame(path: Path, frame: Frame) -> None:
    """Write a frame; after a crash the file is absent, the old one or the new one."""
    buffer = io.BytesIO()
    np.savez(buffer, **columns_of(frame))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, buffer.getvalue())


def read_frame(path: Path) -> Frame:
    """Read a frame.

    Raises:
        DatasetError: the file is missing or damaged.
    """
    try:
        with np.load(path) as columns:
            values: dict[str, Any] = dict(columns)
    except Exception as error:  # NumPy raises many kinds on damaged files
        raise DatasetError(f"cannot read frame {path}: {error}") from error
    return frame_of(values)


def columns_of(frame: Frame) -> dict[str, Any]:
    """Return all that a frame has, by name, for `numpy.savez`."""
    columns = {field.name: getattr(frame, field.name) for field in fields(frame)}
    return {name: value for name, value in columns.items() if value is not None}


def frame_of(columns: Mapping[str, Any]) -> Frame:
    """Return the frame whose arrays were saved, by name; see `columns_of`."""
    return Frame(**{k: v if v.ndim else v.item() for k, v in columns.items()})


def stored_frames(folder: Path) -> Frames[Path]:
    """Return the frames of a sequence, each read on access."""
    return Frames(files_in(folder, "*.npz"), read_frame)


def sequences(root: Path, split: str | None) -> dict[str, Frames[Path]]:
    """Return the sequences of a root by name; of all splits, names begin with that of the split.

    Raises:
        DatasetError: there are none, or there is no such split.
    """
    splits = sorted(folder.name for folder in root.glob("*/") if any(folder.glob("*/*.npz")))
    if not splits:
        raise DatasetError(
            f"no frames found: expected SPLIT/SEQUENCE/*.npz, but {contents_of(root)}"
        )
    if split is not None and split not in splits:
        raise DatasetError(f"unknown split '{split}'; choose one of {', '.join(splits)}")
    chosen = splits if split is None else [split]
    return {name: stored_frames(folder) for name, folder in _named(root, chosen, split is None)}


def _named(root: Path, splits: Iterable[str], long: bool) -> Iterable[tuple[str, Path]]:
    for split in splits:
        for folder in sorted((root / split).glob("*/")):
            if any(folder.glob("*.npz")):
                yield f"{split}/{folder.name}" if long else folder.name, folder
