# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import os
import subprocess
import sys

import numpy as np
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


WIDEN = """
import numpy as np
from minkowski_perception.sparse.compiled import compiled, widened

@compiled
def widen(halves, result):
    for i in range(len(halves)):
        result[i] = widened(halves[i])

result = np.empty(2**16, np.float32)
widen(np.arange(2**16, dtype=np.uint16), result)
np.save("widened.npy", result)
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


# A generic CPU has no instruction for it.
@pytest.mark.parametrize("cpu", [{}, {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""}])
def test_every_float16_is_widened_exactly(tmp_path, cpu):
    program = tmp_path / "widen.py"
    program.write_text(WIDEN)
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache"), **cpu}
    subprocess.run([sys.executable, program], env=environment, cwd=tmp_path, check=True)
    halves = np.arange(2**16, dtype=np.uint16).view(np.float16)
    np.testing.assert_array_equal(np.load(tmp_path / "widened.npy"), halves.astype(np.float32))
