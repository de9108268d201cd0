# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The node under test in its own process, and a client in this process that uses it over DDS."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from nav_msgs.msg import Odometry
from rcl_interfaces.srv import SetParameters
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import DurabilityPolicy, QoSProfile
from scipy.spatial.transform import Rotation
from sensor_msgs.msg import PointCloud2, PointField
from visualization_msgs.msg import MarkerArray

from minkowski_perception.codec import encode_frame, fill_message

START = 300.0  # seconds, on a busy machine
ANSWER = 120.0
BROKEN = Path(__file__).with_name("broken_node.py")
NAME = "/minkowski_perception"
DEFAULTS = {"input_reliability": "reliable", "threads": 1, "engine": "torch"}
RELIABLE = QoSProfile(depth=50)


def stamped(message, stamp, frame_id="lidar"):
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp, 10**9)
    message.header.frame_id = frame_id
    return message


def cloud_message(frame, stamp=None, frame_id=None):
    """Return the PointCloud2 of a simulated frame."""
    message = fill_message(PointCloud2(), encode_frame(frame), PointField)
    stamp = frame.stamp if stamp is None else stamp
    return stamped(message, stamp, frame_id or frame.frame_id)


def odometry_message(frame):
    """Return the odometry of the sensor at a simulated frame."""
    message = stamped(Odometry(), frame.stamp, "odom")
    message.child_frame_id = frame.frame_id
    x, y, z = frame.pose[:3, 3]
    position, turn = message.pose.pose.position, message.pose.pose.orientation
    position.x, position.y, position.z = float(x), float(y), float(z)
    turn.x, turn.y, turn.z, turn.w = map(float, Rotation.from_matrix(frame.pose[:3, :3]).as_quat())
    return message


class Rig:
    """Starts the node, waits until it is connected, and stops it at the end.

    Args:
        log: file of the node's output.
        fault: of `broken_node`; None for the node as it is.
        parameters_file: of the node, in YAML; `parameters` win over it.
        parameters: of the node.
    """

    def __init__(self, log, fault=None, parameters_file=None, **parameters):
        start = ["-m", "minkowski_perception.node.start"]
        if fault is not None:
            start = [str(BROKEN), fault]
        parameters = {**DEFAULTS, **parameters}
        arguments = [a for name, value in parameters.items() for a in ("-p", f"{name}:={value}")]
        if parameters_file is not None:
            arguments = ["--params-file", str(parameters_file), *arguments]
        self.log = log
        with log.open("wb") as file:
            self.process = subprocess.Popen(
                [sys.executable, *start, "--ros-args", *arguments],
                stdout=file,
                stderr=subprocess.STDOUT,
                env=os.environ,
            )
        self.context = rclpy.Context()
        rclpy.init(context=self.context)
        self.node = rclpy.create_node("client", context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.labelled, self.legends, self.status = [], [], None
        self.reports, self.entries = 0, {}
        self.messages, self.levels, self.states = [], [], []
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        subscribe = self.node.create_subscription
        subscribe(PointCloud2, f"{NAME}/labelled", self.labelled.append, RELIABLE)
        subscribe(MarkerArray, f"{NAME}/legend", self.legends.append, latched)
        subscribe(DiagnosticArray, "/diagnostics", self._on_diagnostics, RELIABLE)
        self.latched = latched
        self.clouds = self.node.create_publisher(PointCloud2, "cloud", RELIABLE)
        self.odometry = self.node.create_publisher(Odometry, "odometry", RELIABLE)

    def _on_diagnostics(self, message):
        self.status = message.status[0]
        self.entries = {status.name: status for status in message.status}
        self.reports += 1
        self.messages.append(self.status.message)
        self.levels.append(int.from_bytes(self.status.level, "big"))
        self.states.append(self.values["state"])

    @property
    def values(self):
        return values_of(self.status)

    def stream(self, name):
        """Return the values of a stream."""
        return values_of(self.entries[f"minkowski_perception: {name}"])

    @property
    def counts(self):
        """What became of the clouds, for messages of failed tests."""
        if self.status is None:
            return "no report"
        names = ("received", "labelled", "dropped", "resets")
        return {k: v for k, v in self.values.items() if k.startswith(names) and v != "0"}

    def wait_for(self, condition, timeout=ANSWER):
        deadline = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < deadline, f"timed out; {self.counts}; {self.output()}"
            assert self.process.poll() is None, f"the node ended; {self.output()}"
            self.executor.spin_once(timeout_sec=0.05)

    def ready(self, state="active"):
        """Wait until the node is in a state and, if active, subscribes to this client's clouds."""
        self.wait_for(lambda: self.status is not None and self.values["state"] == state, START)
        if state == "active":
            self.wait_for(lambda: self.clouds.get_subscription_count() > 0)
        return self

    def subscribe_latched(self, name, callback):
        """Subscribe to a latched topic of clouds of the node."""
        self.node.create_subscription(PointCloud2, f"{NAME}/{name}", callback, self.latched)

    def call(self, kind, name, request):
        """Call a service of the node; return its response."""
        client = self.node.create_client(kind, f"{NAME}/{name}")
        self.wait_for(client.service_is_ready)
        future = client.call_async(request)
        self.wait_for(future.done)
        self.node.destroy_client(client)
        return future.result()

    def change_state(self, transition):
        """Request a lifecycle transition; return whether it succeeded."""
        request = ChangeState.Request(transition=Transition(id=transition))
        return self.call(ChangeState, "change_state", request).success

    def set_parameter(self, name, value):
        """Set a parameter of the node; return whether it succeeded."""
        parameter = rclpy.Parameter(name, value=value).to_parameter_msg()
        request = SetParameters.Request(parameters=[parameter])
        return self.call(SetParameters, "set_parameters", request).results[0].successful

    def publish(self, message):
        """Publish a cloud and wait until the node has labelled or dropped it."""
        before = int(self.values["received"])
        self.clouds.publish(message)
        self.wait_for(
            lambda: int(self.values["received"]) > before and self.values["pending"] == "0"
        )
        assert_balanced(self.values)

    def feed(self, messages, period=0.1):
        """Publish clouds at a fixed rate, whatever the node does."""
        for message in messages:
            self.clouds.publish(message)
            self.spin(period)

    def spin(self, seconds):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.executor.spin_once(timeout_sec=0.02)

    def fresh_values(self):
        """Return the values of a report that the node makes after this call."""
        seen = self.reports
        self.wait_for(lambda: self.reports > seen + 1)
        assert_balanced(self.values)
        return self.values

    def output(self):
        return self.log.read_text(errors="replace")[-3000:]

    def wait_for_output(self, text):
        """Wait until the node has printed a text: a report may arrive before the line of a log."""
        self.wait_for(lambda: text in self.output())

    def stop(self, number=signal.SIGINT):
        """Stop the node by a signal; return its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        deadline = time.monotonic() + ANSWER
        while self.process.poll() is None and time.monotonic() < deadline:
            self.executor.spin_once(timeout_sec=0.05)
        if self.process.poll() is None:
            self.process.kill()
            raise AssertionError(f"the node did not stop; {self.output()}")
        for _ in range(20):  # the queues may hold several messages
            self.executor.spin_once(timeout_sec=0.05)
        return self.process.returncode

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown(context=self.context)


def values_of(status):
    return {pair.key: pair.value for pair in status.values}


def assert_balanced(values):
    """Check that received = labelled + dropped by reason + pending."""
    by_reason = sum(int(v) for k, v in values.items() if k.startswith("dropped_"))
    assert int(values["dropped"]) == by_reason
    total = int(values["labelled"]) + by_reason + int(values["pending"])
    assert int(values["received"]) == total
