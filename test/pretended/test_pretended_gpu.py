# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Tests of the CUDA path on a pretended GPU: equal labels, and a budget of waits and launches."""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

HERE = Path(__file__).parent
ENGINES_PAGE = HERE.parents[1] / "docs" / "engines.md"
RUNS = (
    *("torch", "triton", "triton float16", "window", "no CRF, no averaging", "with a map"),
    "far drive",
    *(
        "no poses",
        "a frame of one point",
        "a frame without a point",
        "indoor_depth",
        "restored",
        "multiply-adds",
    ),
)

# One process runs all, for all tests.
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("pretended_gpu")]


@pytest.fixture(scope="module")
def report():
    """What all runs gave, in a process of its own."""
    if torch.version.cuda or torch.version.hip:
        pytest.skip("needs a PyTorch for the CPU: this one has a real GPU's libraries")
    if shutil.which("g++") is None:
        pytest.skip("needs g++, which compiles a device guard")
    pytest.importorskip("triton", reason="needs triton")
    if importlib.util.find_spec("spconv_triton"):
        pytest.skip("spconv-triton would launch its own kernels")
    command = [sys.executable, HERE / "pretended_runs.py"]
    path = f"{HERE.parents[1]}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    env = {**os.environ, "PYTHONPATH": path}
    printed = subprocess.run(command, env=env, check=True, capture_output=True, text=True).stdout
    return json.loads(printed.splitlines()[-1])  # after what the steps print


@pytest.mark.parametrize("name", RUNS)
def test_the_pretended_gpu_gives_the_labels_of_the_cpu(name, report):
    found = report[name]
    assert "error" not in found, found["error"]
    least = 0.99 if "float16" in name else 1.0
    assert min(found["equal"]) >= least


def test_the_check_for_a_gpu_reports_labels_times_and_what_is_absent(report):
    found = report["gpu check"]
    assert found["card"]["card"]["device"] == "pretended"
    assert found["voxels"]["share equal"] == {"keys": 1.0, "features": 1.0}
    labels = found["labels equal to the CPU's"]
    assert labels["outdoor_lidar, triton float16"] >= 0.99
    assert "spconv" in labels["outdoor_lidar, spconv_triton float16"]["not available"]
    for model in ("outdoor_lidar", "MinkUNet14A"):
        costs = found["frames"][f"{model}, triton float16"]
        assert list(costs) == ["by graphs", "launch by launch"], costs
        assert [cost["graphs"] for cost in costs.values()] == [True, False]
        for cost in costs.values():
            assert 0.0 < cost["ms"]["network"] < cost["ms"]["whole"]
    large = found["network"]["MinkUNet14A"]
    assert large["triton float16"]["labels equal"] >= 0.95
    assert list(large["not available"]) == ["spconv-triton's own float16"]


def test_frames_of_the_same_capacities_launch_the_same_kernels_of_the_same_shapes(report):
    found = report["repeated"]
    assert found["differing"] == []
    assert found["lengths"][-1] == found["lengths"][-2] > 100


def test_such_frames_are_replays_of_a_graph_with_the_same_bits_and_state(report):
    found = report["repeated"]
    assert min(found["equal"]) == 1.0
    assert found["operations"][-1] == found["operations"][-2] < 10


def test_most_frames_of_a_drive_are_replays_though_its_memories_grow(report):
    found = report["driven"]
    assert found["resets"] == 0
    replayed = [operations < 10 for operations in found["operations"]]
    assert sum(replayed) > len(replayed) / 2
    assert all(replayed[-8:])


@pytest.mark.parametrize("engine", ["torch", "triton"])
def test_a_frame_stays_within_the_documented_budget(engine, report):
    row = re.search(rf"^\| `{engine}` \| (\d+) \| (\d+) \|$", ENGINES_PAGE.read_text(), re.M)
    assert row is not None
    waits, launches = map(int, row.groups())
    found = report["repeated" if engine == "triton" else engine]
    assert sum(found["waits"].values()) <= waits, json.dumps(found["waits"], indent=1)
    assert found["launches"] <= launches
