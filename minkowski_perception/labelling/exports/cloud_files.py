# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""A PLY, PCD or NumPy file for each labelled cloud, in the order of the clouds."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from minkowski_perception.labelling.output import Output
from minkowski_perception.labels import LabelSet
from minkowski_perception.recordings.pcd_writer import write_pcd
from minkowski_perception.recordings.ply_writer import encode_ply
from minkowski_perception.stream import Labelled


class _CloudFiles(Output):
    """Folder of files 000000, 000001, ...

    Args:
        folder: gets the folder, of the format's name.
        label_set: of the labels.
    """

    suffix: ClassVar[str]

    def __init__(self, folder: Path, label_set: LabelSet) -> None:
        self.label_set = label_set
        self._folder = folder / self.suffix
        self._folder.mkdir()
        self._count = 0

    def add(self, labelled: Labelled, received_at: int) -> None:
        """See `Output.add`."""
        self.write(self._folder / f"{self._count:06d}.{self.suffix}", labelled)
        self._count += 1

    @abstractmethod
    def write(self, path: Path, labelled: Labelled) -> None:
        """Write a cloud."""


def _columns(labelled: Labelled) -> dict[str, npt.NDArray[Any]]:
    """Return x, y, z in the sensor's frame, intensity if it is known, and the outputs.

    Points that are not finite are left out: viewers cannot place them.
    """
    frame = labelled.received
    columns = dict(zip("xyz", frame.points.T, strict=True))
    if frame.intensity is not None:
        columns["intensity"] = frame.intensity
    columns |= labelled.result.fields()
    return {name: column[frame.valid] for name, column in columns.items()}


class PlyFiles(_CloudFiles):
    """Binary PLY files, for CloudCompare, MeshLab and Open3D."""

    suffix = "ply"

    def write(self, path: Path, labelled: Labelled) -> None:
        """See `_CloudFiles.write`."""
        # The folder of the run is synced at its end, so each file need not be.
        path.write_bytes(encode_ply(_columns(labelled)))


class PcdFiles(_CloudFiles):
    """Binary PCD files, for PCL and CloudCompare; the viewpoint is the pose of the sensor."""

    suffix = "pcd"

    def write(self, path: Path, labelled: Labelled) -> None:
        """See `_CloudFiles.write`."""
        columns = _columns(labelled)
        columns["label"] = columns["label"].astype(np.uint32)  # as in PCL's PointXYZL
        write_pcd(path, columns, labelled.received.pose)


class NpzFiles(_CloudFiles):
    """NumPy files: all points in input order, their outputs, classes, stamp and pose."""

    suffix = "npz"

    def write(self, path: Path, labelled: Labelled) -> None:
        """See `_CloudFiles.write`."""
        frame = labelled.received
        arrays: dict[str, npt.NDArray[Any]] = {"points": frame.points}
        if frame.intensity is not None:
            arrays["intensity"] = frame.intensity
        arrays |= labelled.result.fields()
        arrays |= {"stamp": np.array(frame.stamp), "classes": np.array(self.label_set.names)}
        if frame.pose is not None:
            arrays["pose"] = frame.pose
        np.savez(path, **arrays)  # type: ignore[arg-type]
