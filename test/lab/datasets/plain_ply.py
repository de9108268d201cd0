# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Writer of PLY files, after the format's description."""

import numpy as np

TYPES = {"f4": "float", "f8": "double", "u1": "uchar", "u2": "ushort", "i4": "int"}


def write_ply(path, *, text=False, triangle=False, **columns):
    """Write vertices with a property per column, as text or binary, and a triangle on request."""
    columns = {name: np.asarray(column) for name, column in columns.items()}
    count = len(next(iter(columns.values())))
    header = ["ply", f"format {'ascii' if text else 'binary_little_endian'} 1.0"]
    header += ["comment made by a test", f"element vertex {count}"]
    header += [f"property {TYPES[c.dtype.str[1:]]} {name}" for name, c in columns.items()]
    if triangle:
        header += ["element face 1", "property list uchar int vertex_indices"]
    rows = zip(*columns.values(), strict=True)
    if text:
        body = "".join(" ".join(str(v.item()) for v in row) + "\n" for row in rows).encode()
        body += b"3 0 1 2\n" * triangle
    else:
        body = b"".join(v.tobytes() for row in rows for v in row)
        body += (b"\x03" + np.array([0, 1, 2], "<i4").tobytes()) * triangle
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes("\n".join([*header, "end_header\n"]).encode() + body)
    return path


def coloured(points, colour, **columns):
    """Return columns x, y, z, red, green, blue and others."""
    axes = dict(zip("xyz", np.asarray(points, "f4").T, strict=True))
    channels = zip(("red", "green", "blue"), np.asarray(colour, "u1").T, strict=True)
    return {**axes, **dict(channels), **columns}
