# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of other code bases as models of ours."""

from minkowski_perception.lab.importers.checkpoint import CheckpointError, read_checkpoint
from minkowski_perception.lab.importers.conversion import (
    Conversion,
    convert,
    inflated,
    reopen,
)
from minkowski_perception.lab.importers.reading import Orders

__all__ = [
    "CheckpointError",
    "Conversion",
    "Orders",
    "convert",
    "inflated",
    "read_checkpoint",
    "reopen",
]
