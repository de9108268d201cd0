# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import os
import subprocess
import sys

import pytest

pytest.importorskip("numba", reason="needs Numba: pip install numba")

PROGRAM = """
from minkowski_perception.sparse.compiled import compiled

@compiled
def successor(number):
    return number + 1

@compiled
def predecessor(number):
    return number - 1

assert predecessor(successor(1)) == 1
"""


def test_a_compilation_is_announced_once_and_a_cached_one_is_not(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    runs = [
        subprocess.run(
            [sys.executable, program],
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
            check=True,
        ).stderr
        for _ in range(2)
    ]
    assert runs == ["compiling for this CPU, once, about 30 s\n", ""]
