# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Writer of PLY files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from minkowski_perception.files import write_whole

_TYPES = {
    "float64": "double",
    "float32": "float",
    "int8": "char",
    "int16": "short",
    "int32": "int",
    "uint8": "uchar",
    "uint16": "ushort",
    "uint32": "uint",
}
"""Names of NumPy's types in PLY."""


def write_ply(path: Path, columns: Mapping[str, npt.NDArray[Any]]) -> None:
    """Write points as a binary PLY file; see `encode_ply`.

    Args:
        path: file to write; missing folders are created.
        columns: arrays [N] by name.

    Raises:
        OSError: the file cannot be written; a former one is still whole then.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, encode_ply(columns))


def encode_ply(columns: Mapping[str, npt.NDArray[Any]]) -> bytes:
    """Return the content of a binary PLY file.

    Args:
        columns: arrays [N] by name, which become properties; `rgb` is [N, 3] uint8 and becomes
            red, green and blue. Types are floats, and integers of up to 32 bits.
    """
    columns = dict(columns)
    if "rgb" in columns:
        columns |= zip(("red", "green", "blue"), columns.pop("rgb").T, strict=True)
    rows = np.empty(
        len(next(iter(columns.values()))),
        dtype=[(name, column.dtype.newbyteorder("<")) for name, column in columns.items()],
    )
    for name, column in columns.items():
        rows[name] = column
    header = [
        "ply",
        "format binary_little_endian 1.0",
        f"element vertex {len(rows)}",
        *(f"property {_TYPES[column.dtype.name]} {name}" for name, column in columns.items()),
        "end_header\n",
    ]
    return "\n".join(header).encode() + rows.tobytes()
