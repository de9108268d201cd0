# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What reached the node of a topic: clouds lost on the way, and the frames of the clouds."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from rclpy.event_handler import SubscriptionEventCallbacks, UnsupportedEventTypeError
from rclpy.node import Node
from rclpy.qos import QoSProfile
from sensor_msgs.msg import PointCloud2

_RECENT = 5.0  # seconds
_MOST_FRAMES = 8


class Reception:
    """Subscription to clouds that counts those that did not arrive.

    The publisher numbers its messages. A jump of the numbers is a loss: in the network, or in the
    queue of the subscription. Where the middleware passes no numbers, or several publishers share
    the topic, its own event of lost messages counts.

    Args:
        node: subscribes.
        topic: of the clouds.
        qos: of the subscription.
        received: called with each cloud.
        frame_id: of the clouds to receive; empty for all.

    Attributes:
        lost: clouds that were published and not received.
        passed_over: clouds of other frames.
    """

    def __init__(
        self,
        node: Node,
        topic: str,
        qos: QoSProfile,
        received: Callable[[PointCloud2], None],
        frame_id: str = "",
    ) -> None:
        self.lost = self.passed_over = 0
        self._frame_id = frame_id
        self._node = node
        self._received = received
        self._numbers: dict[int, float] = {}  # the last one of each publisher, and when
        self._frames: dict[str, float] = {}
        self._subscription = self._subscribe(topic, qos)

    def _subscribe(self, topic: str, qos: QoSProfile) -> Any:
        create = self._node.create_subscription
        events = SubscriptionEventCallbacks(message_lost=self._on_lost)
        try:
            return create(PointCloud2, topic, self._on_cloud, qos, event_callbacks=events)
        except UnsupportedEventTypeError:
            return create(PointCloud2, topic, self._on_cloud, qos)

    @property
    def topic(self) -> str:
        """Full name of the topic."""
        return str(self._subscription.topic_name)

    @property
    def frames(self) -> list[str]:
        """The frame_ids of the clouds of the last seconds."""
        since = time.monotonic() - _RECENT
        return sorted(frame for frame, at in list(self._frames.items()) if at >= since)

    def close(self) -> None:
        """Unsubscribe."""
        self._node.destroy_subscription(self._subscription)

    def _on_cloud(self, message: PointCloud2, info: Mapping[str, Any]) -> None:
        self._count_numbers(info.get("publication_sequence_number"))
        frame_id = message.header.frame_id
        if frame_id not in self._frames and len(self._frames) == _MOST_FRAMES:
            del self._frames[min(self._frames, key=self._frames.__getitem__)]
        self._frames[frame_id] = time.monotonic()
        if self._frame_id and frame_id != self._frame_id:
            self.passed_over += 1
        else:
            self._received(message)

    def _count_numbers(self, number: int | None) -> None:
        """Count the messages between the highest lower number and this one as lost.

        The lower one is taken for one of the same publisher. Publishers number their messages
        separately, and the node learns late which ones come and go.
        """
        if number is None:
            return
        before = max((known for known in self._numbers if known < number), default=None)
        if before is not None:
            del self._numbers[before]
            if not self._is_shared():
                self.lost += number - before - 1
        now = time.monotonic()
        self._numbers = {n: at for n, at in self._numbers.items() if now - at < _RECENT}
        self._numbers[number] = now

    def _on_lost(self, event: Any) -> None:
        if not self._numbers or self._is_shared():
            self.lost += event.total_count_change

    def _is_shared(self) -> bool:
        """Return whether several publishers share the topic."""
        return self._node.count_publishers(self.topic) > 1
