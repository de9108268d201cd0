# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""`recorder`: record topics into a bag (MCAP), without deserialising their messages."""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter
from importlib import import_module
from typing import Any

import rclpy
from rcl_interfaces.msg import ParameterDescriptor
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile

from minkowski_perception.node.stopping import init_until_signalled
from minkowski_perception.recordings.bags import BagError, BagWriter

USER_ERROR = 2

_POLL = 0.02  # seconds between looks at the graph, which sends no events
_QUIET = 0.5  # seconds without a message after which none is in transit


class Recorder(Node):
    """Writes every message of its topics, with its time of reception, into a new bag.

    It waits until all topics have publishers, and creates the bag once it has subscribed to them:
    what is published after the bag has appeared is recorded.
    """

    def __init__(self) -> None:
        super().__init__("recorder")
        self.declare_parameter(
            "bag", "recording", ParameterDescriptor(description="Folder of the new bag.")
        )
        self.declare_parameter(
            "topics",
            ["/minkowski_perception/labelled", "/diagnostics"],
            ParameterDescriptor(description="Topics to record."),
        )
        self._recorded: Counter[str] = Counter()

    def record(self, stop: threading.Event) -> Counter[str]:
        """Record until `stop` is set, then the messages in transit.

        Returns:
            Number of messages by topic.

        Raises:
            BagError: the bag already exists, or cannot be written.
        """
        topics = [self.resolve_topic_name(t) for t in self.get_parameter("topics").value]
        self.get_logger().info(f"waiting for {', '.join(topics)}")
        while not all(self.get_publishers_info_by_topic(topic) for topic in topics):
            if stop.wait(_POLL):
                return self._recorded
        bag = BagWriter(self.get_parameter("bag").value)
        for topic in topics:
            self._subscribe(topic, bag)
        executor = SingleThreadedExecutor()
        executor.add_node(self)
        with bag:
            while not stop.is_set():
                executor.spin_once(timeout_sec=_QUIET)
            before = None
            while self._recorded != before:
                before = self._recorded.copy()
                executor.spin_once(timeout_sec=_QUIET)
        return self._recorded

    def _subscribe(self, topic: str, bag: BagWriter) -> None:
        """Subscribe with the message type, reliability and durability of the publisher."""
        offer = self.get_publishers_info_by_topic(topic)[0]

        def write(cdr: bytes) -> None:
            bag.write_raw(topic, offer.topic_type, time.time_ns(), cdr)
            self._recorded[topic] += 1

        qos = QoSProfile(
            depth=100,
            reliability=offer.qos_profile.reliability,
            durability=offer.qos_profile.durability,
        )
        self.create_subscription(_message_class(offer.topic_type), topic, write, qos, raw=True)


def _message_class(name: str) -> Any:
    package, _, message = name.split("/")
    return getattr(import_module(f"{package}.msg"), message)


def main(args: list[str] | None = None) -> int:
    """Run the recorder; return the exit status: 2 if the bag cannot be written."""
    stop = init_until_signalled(args)
    recorder = Recorder()
    try:
        for topic, count in recorder.record(stop).items():
            recorder.get_logger().info(f"recorded {count} messages of '{topic}'")
        return 0
    except BagError as error:
        recorder.get_logger().fatal(str(error))
        return USER_ERROR
    finally:
        recorder.destroy_node()
        rclpy.try_shutdown()


if __name__ == "__main__":
    sys.exit(main())
