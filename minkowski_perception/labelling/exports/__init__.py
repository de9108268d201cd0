# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Labelled clouds in the formats of other tools, by name."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from minkowski_perception.labelling.output import Output
    from minkowski_perception.labels import LabelSet

EXPORTS = {
    "semantickitti": ("semantickitti", "SemanticKitti"),
    "ply": ("cloud_files", "PlyFiles"),
    "pcd": ("cloud_files", "PcdFiles"),
    "npz": ("cloud_files", "NpzFiles"),
    "rrd": ("rerun", "RerunFile"),
}
"""Module of this folder, and class, of each format."""


class ExportError(ValueError):
    """A format cannot be written; the message says what is missing."""


def open_export(name: str, folder: Path, label_set: LabelSet) -> Output:
    """Return what writes the labelled clouds of a recording in a format.

    Args:
        name: one of `EXPORTS`.
        folder: gets a file or folder of that name.
        label_set: of the labels.

    Raises:
        ExportError: the format needs a package that is not installed.
    """
    module, kind = EXPORTS[name]
    output: Output = getattr(import_module(f"{__name__}.{module}"), kind)(folder, label_set)
    return output
