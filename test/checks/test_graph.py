# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Checks of a ROS graph in which another process publishes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="needs rclpy: a ROS 2 installation or its wheels")
pytest.importorskip("rosbags", reason="bags need the rosbags package")

from tiny_models import save_tiny

from minkowski_perception.checks.graph import graph
from minkowski_perception.segmenter import Segmenter

pytestmark = pytest.mark.system
HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def driver():
    path = os.pathsep.join(
        [str(HERE.parent), str(HERE.parents[1]), os.environ.get("PYTHONPATH", "")]
    )
    process = subprocess.Popen(
        [sys.executable, HERE / "publisher.py"], env={**os.environ, "PYTHONPATH": path}
    )
    yield process
    process.kill()
    process.wait()


def test_live_clouds_have_publisher_rate_motion_and_labels(driver, tmp_path):
    save_tiny(tmp_path / "tiny", dimension=3)
    segmenter = Segmenter.load(tmp_path / "tiny.yaml", engine="torch", device="cpu")
    for _ in range(6):  # a busy machine takes long to start the driver
        found = {finding.name: finding for finding in graph(segmenter, seconds=3.0)}
        if "clouds" in found and found["clouds"].state == "ok":
            break
    assert driver.poll() is None

    assert found["publishers"].found == "driver (reliable, volatile)"
    assert found["frame"].found.startswith("'lidar'")
    assert "Hz, 600 points" in found["clouds"].found
    assert "'lidar' in 'odom' (for the node: odometry_topic:=/odom)" in found["odometry"].found
    assert found["motion"].found.startswith("odometry: ")
    assert "mean confidence" in found["labels"].found
    assert not [f for f in found.values() if f.state == "fail"]


def test_a_topic_that_nobody_publishes_fails_with_the_remedy():
    (found,) = graph(topic="/no_such_topic")

    assert found.state == "fail"
    assert "nobody publishes" in found.found
    assert "ROS_DOMAIN_ID" in found.remedy
