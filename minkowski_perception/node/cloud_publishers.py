# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Publishers of the clouds of selected points."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from rclpy.node import Node
from sensor_msgs.msg import PointCloud2, PointField

from minkowski_perception.clouds import Selection
from minkowski_perception.codec import fill_message
from minkowski_perception.node.qos import RELIABLE
from minkowski_perception.stream import Labelled


class CloudPublishers:
    """Publishes each cloud that has subscribers, for every labelled cloud.

    Args:
        node: owner of the topics.
        selections: by name of the cloud.
        topic: returns the topic of a name.

    Attributes:
        without_motion: clouds of moving points that were published without a point, since the
            motion of the sensor is unknown.
    """

    def __init__(
        self, node: Node, selections: Mapping[str, Selection], topic: Callable[[str], str]
    ) -> None:
        self._node = node
        self._clouds = {
            name: (selection, node.create_publisher(PointCloud2, topic(name), RELIABLE))
            for name, selection in selections.items()
        }
        self.without_motion: list[str] = []

    @property
    def topics(self) -> list[str]:
        """Full names of the topics."""
        return [publisher.topic_name for _, publisher in self._clouds.values()]

    def publish(self, message: PointCloud2, labelled: Labelled) -> bool:
        """Publish the clouds, and return whether any has subscribers.

        Args:
            message: as it was received.
            labelled: the same with its labels.
        """
        wanted = {
            name: (selection, publisher)
            for name, (selection, publisher) in self._clouds.items()
            if publisher.get_subscription_count()
        }
        for selection, publisher in wanted.values():
            rows = selection.rows(labelled.received, labelled.result, labelled.up)
            cloud = selection.encode(
                message, labelled.received, rows, labelled.intensity_full_scale
            )
            selected = PointCloud2(header=message.header)
            publisher.publish(fill_message(selected, cloud, PointField))
        is_unknown = labelled.frame.pose is None
        self.without_motion = [
            name
            for name, (selection, _) in wanted.items()
            if is_unknown and selection.cloud.moving is not None
        ]
        return bool(wanted)

    def close(self) -> None:
        """Destroy the publishers."""
        for _, publisher in self._clouds.values():
            self._node.destroy_publisher(publisher)
