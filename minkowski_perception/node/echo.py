# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""`echo`: send clouds back unchanged, to measure what rclpy and DDS alone cost."""

from __future__ import annotations

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from sensor_msgs.msg import PointCloud2

from minkowski_perception.node.qos import RELIABLE
from minkowski_perception.node.stopping import init_until_signalled


class Echo(Node):
    """Publishes each message of the topic `cloud` on `~/cloud`."""

    def __init__(self) -> None:
        super().__init__("echo")
        publisher = self.create_publisher(PointCloud2, "~/cloud", RELIABLE)
        self.create_subscription(PointCloud2, "cloud", publisher.publish, RELIABLE)


def main(args: list[str] | None = None) -> None:
    """Run the node until SIGINT or SIGTERM."""
    stop = init_until_signalled(args)
    node = Echo()
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    while not stop.is_set():
        executor.spin_once(timeout_sec=0.1)
    node.destroy_node()
    rclpy.try_shutdown()


if __name__ == "__main__":
    main()
