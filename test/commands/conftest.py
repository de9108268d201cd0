# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Fixtures: the command line as a user runs it, and one run of the demo."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest


def run_command(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run `minkowski-perception` in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "minkowski_perception.commands.main", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture(scope="session")
def command():
    return run_command


@dataclass
class DemoRun:
    """Output folder and standard output of a run of the demo."""

    out: Path
    output: str


@pytest.fixture(scope="session")
def demo_run(drive, tmp_path_factory) -> DemoRun:
    """One run of the demo over the drive."""
    pytest.importorskip("rclpy", reason="needs rclpy: a ROS 2 installation or its wheels")
    pytest.importorskip("matplotlib", reason="needs matplotlib for the pictures")
    out = tmp_path_factory.mktemp("demo")
    done = run_command("demo", "--bag", drive, "--out", out, "--deterministic")
    assert done.returncode == 0, done.stderr
    return DemoRun(out, done.stdout)
