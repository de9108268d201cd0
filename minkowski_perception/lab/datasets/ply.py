# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Reader of coloured, labelled clouds in PLY files."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from minkowski_perception.lab.datasets.reading import DatasetError, contents_of
from minkowski_perception.missing import MissingPackageError


class PlyCloud(NamedTuple):
    """The vertices of a PLY file.

    Attributes:
        points: [N, 3] float32, in the file's unit.
        colour: [N, 3] uint8.
        labels: [N] uint16, or None if the file has none.
    """

    points: npt.NDArray[np.float32]
    colour: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.uint16] | None


def read_cloud(path: Path) -> PlyCloud:
    """Read the vertices' properties x, y, z, red, green, blue (or r, g, b) and label (or l).

    Raises:
        DatasetError: the file is missing or damaged, or lacks a property.
        MissingPackageError: trimesh is not installed.
    """
    try:
        from trimesh.exchange.ply import load_ply
    except ImportError as error:
        raise MissingPackageError(
            "PLY files are read with trimesh: pip install trimesh"
        ) from error
    if not path.is_file():
        raise DatasetError(f"no {path}: {contents_of(path.parent)}")
    try:
        with path.open("rb") as file:
            # trimesh drops the labels from its meshes; this is the raw content of the file.
            elements = load_ply(file)["metadata"]["_ply_raw"]
        vertices = elements["vertex"]["data"]
        names = elements["vertex"]["properties"]
    except Exception as error:  # a damaged file can raise any exception
        raise DatasetError(f"cannot read {path}: {error!r}") from error

    def column(*wanted: str) -> npt.NDArray[Any]:
        for name in wanted:
            if name in names:
                return np.asarray(vertices[name]).reshape(-1)
        raise DatasetError(f"{path} lacks property '{wanted[0]}'; it has {', '.join(names)}")

    colours = ("red", "r"), ("green", "g"), ("blue", "b")
    return PlyCloud(
        np.stack([column(axis) for axis in "xyz"], axis=1).astype(np.float32),
        np.stack([column(*aliases) for aliases in colours], axis=1).astype(np.uint8),
        column("label", "l").astype(np.uint16) if {"label", "l"} & set(names) else None,
    )
