# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Tests of the report of tools/gpu_check.py; test_pretended_gpu.py runs its steps."""

import importlib
import json
import os
import time
from pathlib import Path

import pytest

TOOLS = Path(__file__).parents[2] / "tools"


@pytest.fixture
def check(monkeypatch):
    monkeypatch.syspath_prepend(TOOLS)
    return importlib.import_module("gpu_check")


class Steps:
    """Steps of a check: each returns its process, if it returns."""

    steps = (
        ("steps", "good", os.getpid),
        ("steps", "fails", lambda: 1 // 0),
        ("steps", "ends", lambda: os._exit(1)),
        ("steps", "hangs", lambda: time.sleep(1e6)),
    )


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


def test_a_step_after_one_that_fails_ends_or_hangs_is_in_another_process(check, monkeypatch):
    worker = check.Worker(Steps())
    processes = [worker.perform("steps", "good") for _ in range(2)]
    assert processes[0] == processes[1] != os.getpid()
    for name, error in (("fails", "ZeroDivisionError"), ("ends", "ended"), ("hangs", "no answer")):
        monkeypatch.setattr(check, "_STEP_AT_MOST", 1.0 if name == "hangs" else 240.0)
        assert error in worker.perform("steps", name)["error"]
        monkeypatch.setattr(check, "_STEP_AT_MOST", 240.0)
        processes.append(worker.perform("steps", "good"))
    worker.close()
    assert len(set(processes)) == 4
