# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Publisher of a stream's map."""

from __future__ import annotations

import time

from rclpy.node import Node
from sensor_msgs.msg import PointCloud2, PointField

from minkowski_perception.codec import fill_message
from minkowski_perception.frame import NANOSECONDS
from minkowski_perception.node.qos import LATCHED
from minkowski_perception.node.stopping import wait_until_acknowledged
from minkowski_perception.stream import Stream

_PERIOD = 1.0
"""Least seconds between two maps."""


class MapPublisher:
    """Publishes the map, latched: when it has changed and has subscribers.

    The thread that labels calls it, since no other may read the stream's state. A subscriber that
    comes while no cloud does gets the latched map, and a newer one within the period.
    """

    def __init__(self, node: Node, topic: str) -> None:
        self._node = node
        self._publisher = node.create_publisher(PointCloud2, topic, LATCHED)
        self._changed = False
        self._published = -_PERIOD

    def note_labelled(self) -> None:
        """Note that a cloud was labelled: the map has changed."""
        self._changed = True

    def publish(self, stream: Stream, at_once: bool = False) -> None:
        """Publish the map if it has changed and has subscribers, once a period or at once."""
        due = at_once or time.monotonic() - self._published >= _PERIOD
        if not due or not self._changed or not self._publisher.get_subscription_count():
            return
        found = stream.map()
        if found is None:
            return
        message = fill_message(PointCloud2(), found.cloud, PointField)
        message.header.frame_id = found.frame_id
        stamp = message.header.stamp
        stamp.sec, stamp.nanosec = divmod(found.voxels.stamp, NANOSECONDS)
        self._publisher.publish(message)
        self._changed, self._published = False, time.monotonic()

    def close(self) -> None:
        """Deliver the last map, and destroy the publisher."""
        wait_until_acknowledged(self._publisher, 1.0)
        self._node.destroy_publisher(self._publisher)
