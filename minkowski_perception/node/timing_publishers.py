# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Publishers of the time that each stage takes, as numbers that rqt_plot and PlotJuggler draw."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from rclpy.node import Node
from std_msgs.msg import Float32

from minkowski_perception.node.qos import RELIABLE

STAGES = (
    "latency",
    "queue",
    "decode",
    "pose",
    "turn",
    "deskew",
    "voxelize",
    "network",
    "crf",
    "heads",
    "average",
    "map",
    "slice",
    "encode",
    "publish",
    "clouds",
)
"""All stages of a cloud, in their order; `latency` is from its arrival to `publish`."""


class TimingPublishers:
    """Publishes the milliseconds of each stage of a labelled cloud, on a topic for each stage.

    Args:
        node: owner of the topics.
        topic: returns the topic of a name; the names are `timing/STAGE`.
    """

    def __init__(self, node: Node, topic: Callable[[str], str]) -> None:
        self._node = node
        self._publishers = {
            stage: node.create_publisher(Float32, topic(f"timing/{stage}"), RELIABLE)
            for stage in STAGES
        }

    def publish(self, timings: Mapping[str, float]) -> None:
        """Publish the seconds of the stages that ran."""
        for stage, seconds in timings.items():
            self._publishers[stage].publish(Float32(data=1e3 * seconds))

    def close(self) -> None:
        """Destroy the publishers."""
        for publisher in self._publishers.values():
            self._node.destroy_publisher(publisher)
