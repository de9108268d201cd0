# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import csv
import io
import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

rclpy = pytest.importorskip("rclpy", reason="rclpy is not installed")
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue  # noqa: E402
from nav_msgs.msg import Odometry  # noqa: E402
from rclpy.executors import SingleThreadedExecutor  # noqa: E402
from rclpy.qos import DurabilityPolicy, QoSProfile  # noqa: E402
from rclpy.serialization import serialize_message  # noqa: E402
from sensor_msgs.msg import PointCloud2  # noqa: E402

from minkowski_perception.codec import encode_frame  # noqa: E402
from minkowski_perception.frame import Frame  # noqa: E402
from minkowski_perception.motion.poses import PoseBuffer, pose_matrix  # noqa: E402
from minkowski_perception.node.player import (  # noqa: E402
    AnswerLog,
    Cloud,
    StampedPose,
    merge,
    publish_static_transforms,
    stamp_of,
    to_odometry,
)
from minkowski_perception.recordings.bags import BagReader, BagWriter  # noqa: E402

START = 1_700_000_000_000_000_000
STEP = 20_000_000  # ns
FRAMES = 6
PENDING = KeyValue(key="pending", value="0")


@pytest.fixture(scope="module")
def bag(tmp_path_factory) -> Path:
    """A bag of six clouds at 50 Hz, and odometry at stamps before, between and after theirs."""
    path = tmp_path_factory.mktemp("bags") / "drive"
    draw = np.random.default_rng(0)
    with BagWriter(path) as writer:
        for i in range(-1, FRAMES + 1):
            pose = pose_matrix((0.1 * i, 0, 0), (0, 0, np.sin(0.01 * i), np.cos(0.01 * i)))
            stamp = START + i * STEP + STEP // 3
            writer.write_odometry("/odometry", stamp, pose, "odom", "lidar")
        for i in range(FRAMES):
            frame = Frame(draw.normal(size=(100, 3)).astype(np.float32))
            writer.write_cloud("/points", encode_frame(frame), START + i * STEP, "lidar")
    return path


class Answerer:
    """A node that subscribes to clouds and odometry, and publishes each cloud as its answer.

    Args:
        silent_about: stamps of clouds without an answer.
        reports: publish the number of these as dropped on /diagnostics.
    """

    def __init__(self, silent_about: tuple[int, ...] = (), reports: bool = False) -> None:
        self.received: list[tuple[str, int, bytes]] = []
        self.context = rclpy.Context()
        rclpy.init(context=self.context)
        node = rclpy.create_node("answerer", context=self.context)
        answers = node.create_publisher(PointCloud2, "/answers", QoSProfile(depth=10))
        diagnostics = node.create_publisher(DiagnosticArray, "/diagnostics", QoSProfile(depth=10))

        def report() -> None:
            dropped = len([s for s in self.stamps("cloud") if s in silent_about])
            values = [KeyValue(key="dropped", value=str(dropped)), PENDING]
            diagnostics.publish(DiagnosticArray(status=[DiagnosticStatus(values=values)]))

        def on_cloud(cdr: bytes) -> None:
            self.received.append(("cloud", stamp_of(cdr), cdr))
            if stamp_of(cdr) not in silent_about:
                time.sleep(0.03)  # slower than the recording
                answers.publish(cdr)

        def on_odometry(cdr: bytes) -> None:
            self.received.append(("odometry", stamp_of(cdr), cdr))

        qos = QoSProfile(depth=100)
        node.create_subscription(PointCloud2, "/points", on_cloud, qos, raw=True)
        if reports:
            node.create_timer(0.5, report)
        node.create_subscription(Odometry, "/odometry", on_odometry, qos, raw=True)
        self._executor = SingleThreadedExecutor(context=self.context)
        self._executor.add_node(node)
        self._thread = threading.Thread(target=self._executor.spin, daemon=True)
        self._thread.start()

    def stamps(self, kind: str) -> list[int]:
        return [stamp for name, stamp, _ in self.received if name == kind]

    def wait_for(self, kind: str, count: int) -> None:
        deadline = time.monotonic() + 60
        while len(self.stamps(kind)) < count and time.monotonic() < deadline:
            time.sleep(0.02)

    def close(self) -> None:
        self._executor.shutdown()
        self._thread.join()
        self.context.shutdown()


@pytest.fixture
def answerer() -> Iterator[Answerer]:
    node = Answerer()
    yield node
    node.close()


def play(timeout: float = 120.0, **parameters: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "minkowski_perception.node.player", "--ros-args"]
    for name, value in parameters.items():
        command += ["-p", f"{name}:={value}"]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout)


def read_log(path: Path) -> list[dict[str, str]]:
    with open(path) as file:
        return list(csv.DictReader(file))


STAMPS = st.lists(st.integers(0, 50), max_size=20, unique=True).map(sorted)


@given(STAMPS, STAMPS)
def test_a_pose_is_known_at_every_cloud_between_two_poses(clouds, poses):
    items = merge(
        [Cloud(stamp, stamp, b"") for stamp in clouds],
        [StampedPose(stamp, np.eye(4)) for stamp in poses],
    )

    buffer, sent = PoseBuffer(), []
    for item in items:
        if isinstance(item, StampedPose):
            buffer.add(item.stamp, item.pose)
            continue
        sent.append(item.stamp)
        surrounded = bool(poses) and poses[0] <= item.stamp <= poses[-1]
        assert (buffer.at(item.stamp) is not None) == surrounded

    assert sent == clouds


def test_the_stamp_is_read_from_the_bytes_in_either_byte_order():
    message = PointCloud2()
    message.header.stamp.sec, message.header.stamp.nanosec = 1_700_000_001, 23
    cdr = serialize_message(message)
    big_endian = bytes([0, 0, 0, 0]) + (1_700_000_001).to_bytes(4, "big") + (23).to_bytes(4, "big")

    assert stamp_of(cdr) == 1_700_000_001_000_000_023
    assert stamp_of(big_endian) == 1_700_000_001_000_000_023


def test_an_odometry_message_holds_the_pose():
    pose = pose_matrix((1.0, -2.0, 3.0), (0.1, 0.2, -0.3, 0.9))
    message = to_odometry(StampedPose(5_000_000_007, pose), "lidar")
    at, turn = message.pose.pose.position, message.pose.pose.orientation

    assert (message.header.stamp.sec, message.header.stamp.nanosec) == (5, 7)
    assert (message.header.frame_id, message.child_frame_id) == ("odom", "lidar")
    np.testing.assert_allclose(
        pose_matrix((at.x, at.y, at.z), (turn.x, turn.y, turn.z, turn.w)), pose, atol=1e-12
    )


def test_the_log_has_a_row_for_each_cloud_with_or_without_an_answer():
    file = io.StringIO()
    log = AnswerLog(file)
    for stamp in (1, 2, 1, 3):
        log.published(stamp)
    log.answered(3)
    log.answered(77)
    assert log.is_open(2)
    assert not log.is_open(3)
    log.close()

    rows = list(csv.DictReader(io.StringIO(file.getvalue())))

    assert [row["stamp_ns"] for row in rows] == ["1", "3", "2", "1"]
    assert [row["answered_ns"] != "" for row in rows] == [False, True, False, False]
    assert int(rows[1]["answered_ns"]) >= int(rows[1]["published_ns"])


@pytest.mark.system
def test_the_player_sends_the_recorded_bytes_and_the_odometry(bag, answerer):
    played = play(bag=bag, rate=2.0)

    assert played.returncode == 0, played.stderr
    assert f"sent {FRAMES} clouds" in played.stderr
    answerer.wait_for("cloud", FRAMES)
    with BagReader(bag) as reader:
        recorded = [cdr for _, _, _, cdr in reader.raw(["/points"])]
    received = [cdr for kind, _, cdr in answerer.received if kind == "cloud"]
    for sent, got in zip(recorded, received, strict=True):
        assert got[: len(sent)] == sent
        assert got[len(sent) :] in (b"", b"\0", b"\0\0", b"\0\0\0")  # DDS pads to 4 bytes
    poses = [START + i * STEP + STEP // 3 for i in range(-1, FRAMES + 1)]
    assert answerer.stamps("odometry") == poses


@pytest.mark.system
def test_each_cloud_waits_for_the_answer_to_the_previous_one(bag, answerer, tmp_path):
    log = tmp_path / "playback.csv"
    played = play(bag=bag, answer_topic="/answers", wait_for_answer=True, rate=100.0, log=log)

    assert played.returncode == 0, played.stderr
    rows = read_log(log)
    assert [int(row["stamp_ns"]) for row in rows] == [START + i * STEP for i in range(FRAMES)]
    for before, after in itertools.pairwise(rows):
        assert int(before["answered_ns"]) <= int(after["published_ns"])
    assert all(int(row["answered_ns"]) - int(row["published_ns"]) >= 30e6 for row in rows)


@pytest.mark.system
def test_the_player_waits_for_an_answer_no_longer_than_the_timeout(bag, tmp_path):
    silent = Answerer(silent_about=(START + STEP, START + (FRAMES - 1) * STEP))
    log = tmp_path / "playback.csv"
    played = play(
        bag=bag, answer_topic="/answers", wait_for_answer=True, answer_timeout=0.3, log=log
    )
    silent.close()

    assert played.returncode == 0, played.stderr
    assert len(silent.stamps("cloud")) == FRAMES
    unanswered = [int(row["stamp_ns"]) for row in read_log(log) if not row["answered_ns"]]
    assert unanswered == [START + STEP, START + (FRAMES - 1) * STEP]


@pytest.mark.system
def test_the_player_does_not_wait_for_a_cloud_reported_as_dropped(bag):
    silent = Answerer(silent_about=(START + STEP,), reports=True)
    # Longer than the player may run.
    played = play(bag=bag, answer_topic="/answers", wait_for_answer=True, answer_timeout=1000.0)
    silent.close()

    assert played.returncode == 0, played.stderr
    assert len(silent.stamps("cloud")) == FRAMES


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"bag": "/no/such/bag"}, "no bag at /no/such/bag"),
        ({"topic": "/no_clouds"}, "choose one of /points (6 messages)"),
        ({"rate": 0.0}, "rate must be more than 0, not 0"),
    ],
)
@pytest.mark.system
def test_a_bag_that_cannot_be_played_is_an_error_with_a_reason(bag, parameters, message):
    played = play(**{"bag": bag, **parameters})

    assert played.returncode == 2
    assert message in played.stderr


@pytest.mark.system
def test_a_bag_without_a_subscriber_is_not_played(bag):
    played = play(bag=bag, listener_timeout=0.3)

    assert played.returncode == 1
    assert "no subscriber to '/points' within 0.3 s" in played.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.system
def test_a_loop_repeats_until_it_is_stopped(bag, answerer, number):
    command = [sys.executable, "-m", "minkowski_perception.node.player", "--ros-args"]
    command += ["-p", f"bag:={bag}", "-p", "loop:=true", "-p", "rate:=0.5"]
    player = subprocess.Popen(command, env=os.environ)
    try:
        answerer.wait_for("cloud", 3 * FRAMES)
    finally:
        player.send_signal(number)
        assert player.wait(10) == 0

    stamps = answerer.stamps("cloud")
    assert stamps[:FRAMES] == stamps[FRAMES : 2 * FRAMES] == stamps[2 * FRAMES : 3 * FRAMES]


@pytest.mark.system
def test_static_transforms_reach_those_who_subscribe_later(monkeypatch):
    # tf2_msgs comes with ROS alone, and the player sends bytes: any type does.
    monkeypatch.setitem(sys.modules, "tf2_msgs", SimpleNamespace())
    monkeypatch.setitem(sys.modules, "tf2_msgs.msg", SimpleNamespace(TFMessage=Odometry))
    sent = [serialize_message(Odometry(child_frame_id=name)) for name in ("lidar", "camera")]
    context = rclpy.Context()
    rclpy.init(context=context)
    node = rclpy.create_node("transforms", context=context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    received: list[bytes] = []
    try:
        publisher = publish_static_transforms(node, sent)
        latched = QoSProfile(depth=100, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        node.create_subscription(Odometry, "/tf_static", received.append, latched, raw=True)
        deadline = time.monotonic() + 60
        while len(received) < len(sent) and time.monotonic() < deadline:
            executor.spin_once(timeout_sec=0.1)
        assert publisher is not None
        assert publish_static_transforms(node, []) is None
    finally:
        executor.shutdown()
        context.shutdown()
    assert [cdr[: len(each)] for cdr, each in zip(received, sent, strict=True)] == sent
