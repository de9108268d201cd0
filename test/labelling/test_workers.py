# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Processes that label: one that is killed harms no other, and a signal stops them all."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cloud_messages import write_bag
from tiny_models import save_tiny

pytestmark = pytest.mark.system


def unfinished(folder):
    """Return the states of the recordings at work, by name."""
    states = {}
    for path in folder.glob("*/unfinished-*/state.json"):
        try:
            states[path.parent.parent.name] = json.loads(path.read_text())
        except (OSError, ValueError):
            continue
    return states


def wait_for(condition, process):
    deadline = time.monotonic() + 600
    while not (found := condition()):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found


def workers_of(process):
    """Return the ids of the processes that label, from the files of the kernel."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    lines = {int(pid): Path(f"/proc/{pid}/cmdline").read_text() for pid in children}
    return [pid for pid, line in lines.items() if "spawn_main" in line]


def test_a_killed_process_costs_one_recording_and_a_signal_stops_the_batch(tmp_path):
    save_tiny(tmp_path / "tiny", dimension=3)
    for name in ("a", "b", "c", "d"):
        write_bag(tmp_path / "bags" / name, number=3 if name == "c" else 400, odometry=False)
    command = [sys.executable, "-m", "minkowski_perception.commands.main", "label"]
    command += [tmp_path / "bags", "--out", tmp_path / "out", "--jobs", "2", "--threads", "1"]
    command += ["--model", tmp_path / "tiny.yaml", "--engine", "torch", "--ego-motion", "none"]
    process = subprocess.Popen(
        list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    out = tmp_path / "out"
    try:
        wait_for(lambda: {"a", "b"} <= unfinished(out).keys(), process)
        os.kill(workers_of(process)[0], signal.SIGKILL)
        # Its successor labels the next recordings.
        wait_for((out / "c" / "summary.json").exists, process)
        wait_for(lambda: "d" in unfinished(out), process)
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=600)
    finally:
        process.kill()
        process.wait()

    assert process.returncode == 128 + signal.SIGTERM
    assert errors.count("failed: its process ended with signal SIGKILL after ") == 1
    assert errors.count("stopped: stopped after ") == 2
    assert "stopped after 2 of 4 recordings: 1 labelled, 1 failed, 2 stopped" in errors
    content = json.loads((out / "batch.json").read_text())
    assert content["counts"] == {"labelled": 1, "failed": 1, "stopped": 2}
    assert content["stopped"]
