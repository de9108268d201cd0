# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Version of the simulator, so that caches and demos never mix outputs of two versions."""

import hashlib
from pathlib import Path


def simulator_version() -> str:
    """Return a digest of the simulator's source and sensor files, 16 hexadecimal digits."""
    files = Path(__file__).parent.rglob("*")
    sources = sorted(path for path in files if path.suffix in (".py", ".yaml"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:16]
