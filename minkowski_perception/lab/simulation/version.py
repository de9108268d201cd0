# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Which simulator this is: what another one made is not to be taken for its own."""

import hashlib
from pathlib import Path


def simulator_version() -> str:
    """Digest of the simulator's source and of its sensors, 16 hexadecimal digits."""
    files = Path(__file__).parent.rglob("*")
    sources = sorted(path for path in files if path.suffix in (".py", ".yaml"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:16]
