# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Writer of PCD files; see https://pointclouds.org/documentation/tutorials/pcd_file_format.html."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.spatial.transform import Rotation

_KINDS = {"f": "F", "u": "U", "i": "I"}
"""Names of NumPy's kinds of types in PCD."""


def write_pcd(
    path: Path, columns: Mapping[str, npt.NDArray[Any]], pose: npt.NDArray[np.float64] | None
) -> None:
    """Write points as a binary PCD file.

    Args:
        path: file to write.
        columns: arrays [N] by name, which become fields; `rgb` is [N, 3] uint8 and becomes a
            float whose bits are 0x00RRGGBB, as PCL packs it.
        pose: [4, 4] of the sensor, which becomes the viewpoint; None if it is unknown.
    """
    columns = dict(columns)
    if "rgb" in columns:
        red, green, blue = columns["rgb"].astype(np.uint32).T
        columns["rgb"] = (red << 16 | green << 8 | blue).view(np.float32)
    number = len(next(iter(columns.values())))
    rows = np.empty(number, [(n, c.dtype.newbyteorder("<")) for n, c in columns.items()])
    for name, column in columns.items():
        rows[name] = column
    viewpoint = [0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0]
    if pose is not None:
        x, y, z, w = Rotation.from_matrix(pose[:3, :3]).as_quat().tolist()
        viewpoint = [*pose[:3, 3].tolist(), w, x, y, z]
    kinds = [column.dtype for column in columns.values()]
    header = (
        "# .PCD v0.7 - Point Cloud Data file format",
        "VERSION 0.7",
        f"FIELDS {' '.join(columns)}",
        f"SIZE {' '.join(str(kind.itemsize) for kind in kinds)}",
        f"TYPE {' '.join(_KINDS[kind.kind] for kind in kinds)}",
        f"COUNT {' '.join('1' for _ in kinds)}",
        f"WIDTH {number}",
        "HEIGHT 1",
        f"VIEWPOINT {' '.join(map(repr, viewpoint))}",
        f"POINTS {number}",
        "DATA binary\n",
    )
    path.write_bytes("\n".join(header).encode() + rows.tobytes())
