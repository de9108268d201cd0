# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Tests of the report of tools/gpu_check.py; test_pretended_gpu.py runs its steps."""

import importlib.util
import json
from pathlib import Path

import pytest

PATH = Path(__file__).parents[2] / "tools" / "gpu_check.py"


@pytest.fixture
def check():
    spec = importlib.util.spec_from_file_location("gpu_check", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def good():
    return {"ms": 1.5}


def bad():
    raise RuntimeError("the device is lost")


def test_a_step_that_fails_does_not_stop_the_next_one(check, tmp_path):
    out = tmp_path / "new" / "report.json"
    steps = ("labels", "torch", bad), ("labels", "triton", good)
    report = check.run(steps, out, seconds=60.0)
    assert report["labels"]["torch"]["error"] == "RuntimeError('the device is lost')"
    assert report["labels"]["triton"] == {"ms": 1.5}
    assert json.loads(out.read_text()) == report


def test_the_report_is_written_after_every_step(check, tmp_path):
    out = tmp_path / "report.json"

    def reads():
        return list(json.loads(out.read_text()))

    steps = ("frames", "1", good), ("rates", "2", reads)
    assert check.run(steps, out, seconds=60.0)["rates"]["2"] == ["frames", "seconds"]


def test_no_step_starts_when_the_time_is_over(check, tmp_path):
    report = check.run((("rates", "1", good),), tmp_path / "report.json", seconds=-1.0)
    assert report["rates"]["1"] == {"not available": "no time was left"}
