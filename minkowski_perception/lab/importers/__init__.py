# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Convert checkpoints of other code bases to models of this package."""

from minkowski_perception.lab.importers.checkpoint import CheckpointError, read_checkpoint
from minkowski_perception.lab.importers.conversion import (
    Conversion,
    convert,
    inflated,
    reopen,
)
from minkowski_perception.lab.importers.imported_network import Orders

__all__ = [
    "CheckpointError",
    "Conversion",
    "Orders",
    "convert",
    "inflated",
    "read_checkpoint",
    "reopen",
]
