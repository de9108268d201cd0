# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Checks of a running ROS graph: cloud topics, odometry, TF, and a model against live clouds."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import contextmanager
from typing import Any

import numpy as np
import rclpy
from nav_msgs.msg import Odometry
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import PointCloud2

from minkowski_perception.checks.clouds import CloudTopic, model_findings
from minkowski_perception.checks.finding import Finding, fail, ok, warn
from minkowski_perception.checks.machine import largest_receive_buffer
from minkowski_perception.codec import CloudError, decode
from minkowski_perception.motion.ego_motion import EgoMotion, NoPoseError
from minkowski_perception.node.ego_motion import create_ego_motion
from minkowski_perception.node.transforms import Transforms
from minkowski_perception.segmenter import Segmenter
from minkowski_perception.settings import Settings

_CLOUDS = "sensor_msgs/msg/PointCloud2"
_ODOMETRY = "nav_msgs/msg/Odometry"
_DISCOVERY = 5.0
"""Longest time in seconds until a topic of another process is known."""
_SETTLED = 1.0
"""Seconds to discover further topics after the first one."""
_NAME = "minkowski_perception_doctor"


def graph(
    segmenter: Segmenter | None = None,
    topic: str | None = None,
    seconds: float = 5.0,
    odometry_topic: str | None = None,
    fixed_frame: str = Settings.fixed_frame,
) -> list[Finding]:
    """Check the topics of a ROS graph.

    Args:
        segmenter: model that labels some clouds; None for none.
        topic: cloud topic; None for all.
        seconds: that clouds are received for.
        odometry_topic: where there are several.
        fixed_frame: setting `fixed_frame`, to which TF must lead.
    """
    with _context() as context:
        probe = rclpy.create_node(f"{_NAME}_probe", context=context, use_global_arguments=False)
        try:
            found = _discover(probe, topic)
        finally:
            probe.destroy_node()
        clouds, odometry = found[_CLOUDS], found[_ODOMETRY]
        if not clouds:
            return [_no_clouds(topic)]
        if odometry_topic is None and len(odometry) == 1:
            odometry_topic = odometry[0]
        node = rclpy.create_node(_NAME, context=context, use_global_arguments=False)
        settings = Settings(
            fixed_frame=fixed_frame,
            ego_motion_timeout=2.0,
            odometry_topic=odometry_topic or Settings.odometry_topic,
        )
        try:
            look = _Look(node, clouds, odometry, settings)
            look.receive(seconds)
            return look.findings(segmenter, odometry_topic)
        finally:
            node.destroy_node()


@contextmanager
def _context() -> Any:
    context = rclpy.Context()
    rclpy.init(context=context)
    try:
        yield context
    finally:
        rclpy.try_shutdown(context=context)


def _discover(node: Node, topic: str | None) -> dict[str, list[str]]:
    """Return the published cloud topics (only the given one, if any) and odometry topics."""
    deadline = time.monotonic() + _DISCOVERY
    settled = None
    while True:
        found: dict[str, list[str]] = {_CLOUDS: [], _ODOMETRY: []}
        for name, types in node.get_topic_names_and_types():
            for kind, names in found.items():
                if kind in types and node.count_publishers(name):
                    names.append(name)
        if topic is not None:
            found[_CLOUDS] = [name for name in found[_CLOUDS] if name == topic]
        now = time.monotonic()
        if found[_CLOUDS]:
            settled = settled or now + _SETTLED
        if now > deadline or (settled is not None and now > settled):
            return found
        time.sleep(0.1)


def _no_clouds(topic: str | None) -> Finding:
    wanted = "no topic of sensor_msgs/PointCloud2 has a publisher"
    if topic is not None:
        wanted = f"nobody publishes sensor_msgs/PointCloud2 on {topic}"
    return fail(
        "topics",
        f"{wanted} in this domain",
        "start the driver with the same ROS_DOMAIN_ID and RMW_IMPLEMENTATION; compare with: "
        "ros2 topic list -t",
    )


class _Look:
    """Subscriptions to all topics of interest.

    Args:
        node: that subscribes.
        clouds: topics of clouds.
        odometry: topics of odometry.
        settings: for the motion.
    """

    def __init__(
        self, node: Node, clouds: list[str], odometry: list[str], settings: Settings
    ) -> None:
        self._node = node
        self._clouds = {name: CloudTopic(name, live=True) for name in clouds}
        self._odometry: dict[str, list[Any]] = {name: [] for name in odometry}
        quality = QoSProfile(depth=10, reliability=ReliabilityPolicy.BEST_EFFORT)
        for name in clouds:
            node.create_subscription(PointCloud2, name, self._receiver(name), quality)
        for name, messages in self._odometry.items():
            node.create_subscription(Odometry, name, messages.append, quality)
        self._transforms = Transforms(node)
        self._motion = create_ego_motion(node, settings, self._transforms)
        self._located: dict[str, Finding] = {}

    def _receiver(self, topic: str) -> Callable[[PointCloud2], None]:
        clouds = self._clouds[topic]
        return lambda message: clouds.add(self._node.get_clock().now().nanoseconds, message)

    def receive(self, seconds: float) -> None:
        """Receive for a time, then look for the motion of the last cloud of each topic."""
        executor = SingleThreadedExecutor(context=self._node.context)
        executor.add_node(self._node)
        stop = threading.Event()

        def spin() -> None:
            try:
                while not stop.is_set():
                    executor.spin_once(timeout_sec=0.1)
            except ExternalShutdownException:
                pass

        spinner = threading.Thread(target=spin, daemon=True)
        spinner.start()
        try:
            time.sleep(seconds)
            for topic, clouds in self._clouds.items():
                if clouds.last:
                    self._located[topic] = self._locate(clouds.last[-1][1])
        finally:
            stop.set()
            spinner.join()
            self._motion.close()
            self._transforms.close()
            executor.shutdown()

    def _locate(self, message: PointCloud2) -> Finding:
        """Return where the node would take the motion of a cloud from."""
        self._motion.reset()
        remedy = "publish TF or nav_msgs/Odometry, or: pip install kiss-icp"
        try:
            self._motion.locate(decode(message))
        except (NoPoseError, CloudError) as error:
            return warn("motion", str(error), remedy)
        source = self._motion.source
        found = f"{source.name}: {source.reason}"
        if source.name == EgoMotion.name:
            return warn("motion", found, remedy)
        return ok("motion", found)

    def findings(self, segmenter: Segmenter | None, odometry_topic: str | None) -> list[Finding]:
        """Return findings on what was received."""
        listed = ", ".join(f"{name} ({len(clouds)})" for name, clouds in self._clouds.items())
        found = [ok("topics", f"clouds: {listed}")]
        found += [_odometry_finding(*item, odometry_topic) for item in self._odometry.items()]
        if not self._odometry:
            found.append(ok("odometry", "none"))
        elif odometry_topic is None:
            choices = ", ".join(self._odometry)
            found.append(
                warn(
                    "odometry",
                    f"several topics: {choices}",
                    f"odometry_topic:={next(iter(self._odometry))} (here --odometry-topic)",
                )
            )
        for name, clouds in self._clouds.items():
            if len(self._clouds) > 1:
                found.append(ok(name, "the following is about this topic"))
            found.append(self._publishers(name, clouds))
            features = () if segmenter is None else segmenter.model.input.features
            found += clouds.findings(features)
            if name in self._located:
                found.append(self._located[name])
            if segmenter is not None:
                found += model_findings(segmenter, clouds)
        return found

    def _publishers(self, topic: str, clouds: CloudTopic) -> Finding:
        """Return publishers with their quality of service, and whether buffers hold a cloud."""
        publishers = self._node.get_publishers_info_by_topic(topic)
        listed = ", ".join(
            f"{each.node_name} ({each.qos_profile.reliability.name.lower()}, "
            f"{each.qos_profile.durability.name.lower()})"
            for each in publishers
        )
        if len(publishers) > 1:
            return warn("publishers", f"{listed}: several on one topic", "stop all but one")
        buffer = largest_receive_buffer()
        if buffer is not None and clouds.largest > buffer:
            return warn(
                "publishers",
                f"{listed}; a cloud of {clouds.largest:,} bytes is larger than the receive buffer "
                f"of {buffer:,}",
                f"sudo sysctl -w net.core.rmem_max={4 * clouds.largest}",
            )
        return ok("publishers", listed or "gone")


def _odometry_finding(topic: str, messages: list[Any], chosen: str | None) -> Finding:
    """Return rate and frames of an odometry topic."""
    if not messages:
        return warn("odometry", f"{topic}: no message", "start what publishes it")
    header = messages[-1].header
    stamps = [m.header.stamp.sec + 1e-9 * m.header.stamp.nanosec for m in messages]
    step = float(np.median(np.diff(stamps))) if len(stamps) > 1 else 0.0
    rate = f"{1 / step:.0f} Hz, " if step > 0 else ""
    found = f"{topic}: {rate}'{messages[-1].child_frame_id}' in '{header.frame_id}'"
    if topic == chosen and topic.rpartition("/")[2] != "odometry":
        found += f" (for the node: odometry_topic:={topic})"
    return ok("odometry", found)
