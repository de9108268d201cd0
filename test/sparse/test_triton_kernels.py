# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Tests of what compilers make of the Triton kernels; test_implicit_gemm.py runs them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton", reason="needs triton")


@pytest.mark.slow
@pytest.mark.parametrize("capability", ["80", "89", "90"])
def test_kernels_compile_without_spills_with_tensor_cores_and_asynchronous_copies(capability):
    script = Path(__file__).with_name("compile_kernels.py")
    # The interpreter replaces kernels when they are imported, so they compile in a process of
    # their own.
    env = {**os.environ, "TRITON_INTERPRET": "0"}
    command = [sys.executable, script, capability]
    found = json.loads(subprocess.check_output(command, env=env))[capability]
    assert {name: each["spilled"] for name, each in found.items()} == dict.fromkeys(found, 0)
    for name in ("table", "table of one list", "begins", "runs", "averages"):
        assert found.pop(name)["tensor_core"] == 0
    for name in ("points", "voxels", "first points"):  # have the bits of the CPU's
        assert found.pop(name)["inexact"] == 0
    for name, each in found.items():
        assert each["asynchronous_copies"] > 0, name
        assert (each["tensor_core"] > 0) == ("float32" not in name), name
