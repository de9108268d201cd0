# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Fixtures: a short simulated drive, and one run of the demo over it."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

DRIVE_FRAMES = 6


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


@pytest.fixture(scope="session")
def drive(tmp_path_factory) -> Path:
    """A bag of six clouds with true labels, and odometry at stamps between theirs."""
    pytest.importorskip("open3d", reason="needs open3d to simulate clouds")
    from minkowski_perception.codec import encode_frame
    from minkowski_perception.lab.simulation.drive import simulate_drive
    from minkowski_perception.recordings.bags import BagWriter

    path = tmp_path_factory.mktemp("bags") / "drive"
    with BagWriter(path) as bag:
        for i, frame in enumerate(simulate_drive(4007, "vlp16", DRIVE_FRAMES + 1)):
            bag.write_odometry("/odometry", frame.stamp - 30_000_000, frame.pose, "odom", "lidar")
            if i < DRIVE_FRAMES:
                cloud = encode_frame(frame, label_field="true_label")
                bag.write_cloud("/points", cloud, frame.stamp, frame.frame_id)
    return path


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
