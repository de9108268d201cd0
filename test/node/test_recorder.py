# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

rclpy = pytest.importorskip("rclpy", reason="needs rclpy: a ROS 2 installation or its wheels")
from diagnostic_msgs.msg import DiagnosticArray  # noqa: E402
from rclpy.node import Node  # noqa: E402
from rclpy.qos import QoSProfile, ReliabilityPolicy  # noqa: E402
from sensor_msgs.msg import PointCloud2, PointField  # noqa: E402

from minkowski_perception.recordings.bags import BagReader  # noqa: E402

pytestmark = pytest.mark.system

RELIABLE = QoSProfile(depth=50)
BEST_EFFORT = QoSProfile(depth=50, reliability=ReliabilityPolicy.BEST_EFFORT)


@pytest.fixture
def talker() -> Iterator[Node]:
    context = rclpy.Context()
    rclpy.init(context=context)
    node = rclpy.create_node("talker", context=context)
    yield node
    node.destroy_node()
    context.shutdown()


def start(bag: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "minkowski_perception.node.recorder", "--ros-args"]
    command += ["-p", f"bag:={bag}", "-p", "topics:=[/clouds, /diagnostics]"]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def wait_for(path: Path, recorder: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 30
    while not path.exists():
        assert recorder.poll() is None, recorder.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.02)


def cloud(number: int) -> PointCloud2:
    message = PointCloud2(height=1, width=1, point_step=12, row_step=12, data=bytes(12))
    message.header.stamp.sec = number
    message.fields = [
        PointField(name=name, offset=4 * i, datatype=PointField.FLOAT32, count=1)
        for i, name in enumerate("xyz")
    ]
    return message


def test_all_messages_sent_before_the_stop_are_in_the_bag(talker, tmp_path):
    clouds = talker.create_publisher(PointCloud2, "/clouds", RELIABLE)
    diagnostics = talker.create_publisher(DiagnosticArray, "/diagnostics", BEST_EFFORT)
    recorder = start(tmp_path / "bag")
    wait_for(tmp_path / "bag", recorder)
    while clouds.get_subscription_count() + diagnostics.get_subscription_count() < 2:
        time.sleep(0.02)
    before = time.time_ns()
    diagnostics.publish(DiagnosticArray())
    for number in range(20):
        clouds.publish(cloud(number))
    recorder.send_signal(signal.SIGINT)
    _, log = recorder.communicate(timeout=20)
    after = time.time_ns()

    assert recorder.returncode == 0, log
    assert "recorded 20 messages of '/clouds'" in log
    with BagReader(tmp_path / "bag") as bag:
        recorded = list(bag.clouds("/clouds"))
        assert [message.header.stamp.sec for _, message in recorded] == list(range(20))
        assert all(before < receive_time < after for receive_time, _ in recorded)
        [(_, message_type, _, _)] = bag.raw(["/diagnostics"])
    assert message_type == "diagnostic_msgs/msg/DiagnosticArray"


def test_stopping_before_the_topics_exist_leaves_no_bag(talker, tmp_path):
    recorder = start(tmp_path / "bag")
    while "recorder" not in talker.get_node_names():
        time.sleep(0.02)
    recorder.terminate()

    assert recorder.wait(20) == 0
    assert not (tmp_path / "bag").exists()


def test_a_bag_is_not_overwritten(talker, tmp_path):
    talker.create_publisher(PointCloud2, "/clouds", RELIABLE)
    talker.create_publisher(DiagnosticArray, "/diagnostics", RELIABLE)
    (tmp_path / "bag").mkdir()
    recorder = start(tmp_path / "bag")
    _, log = recorder.communicate(timeout=30)

    assert recorder.returncode == 2
    assert "already exists" in log
