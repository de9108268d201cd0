# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The map of a recording as a PLY file."""

from __future__ import annotations

from pathlib import Path

from minkowski_perception.labelling.folder import FolderError
from minkowski_perception.labelling.output import Output
from minkowski_perception.recordings.ply_writer import write_ply
from minkowski_perception.stream import MapCloud
from minkowski_perception.summary import Summary


class MapFile(Output):
    """PLY file of the map's voxels.

    Args:
        path: file to write; missing folders are created.

    Raises:
        FolderError: the file cannot be written there.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FolderError(f"cannot write map {path}: {error.strerror}") from error
        if path.is_dir():
            raise FolderError(f"cannot write map {path}: it is a folder; name a .ply file in it")

    def finish(self, found: MapCloud | None, summary: Summary) -> None:
        """Write the map.

        Raises:
            FolderError: the file cannot be written.
        """
        assert found is not None
        voxels = found.voxels
        columns = voxels.fields() | dict(zip("xyz", voxels.points.T, strict=True))
        columns["rgb"] = voxels.label_set.palette[voxels.labels]  # not lightened for RViz
        try:
            write_ply(self._path, columns)
        except OSError as error:
            raise FolderError(f"cannot write map {self._path}: {error.strerror}") from error
