# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Bond with a lifecycle manager: the heartbeats that it expects of a node that it activated.

The protocol is that of bondcpp, which nav2_lifecycle_manager uses. Both sides publish
`bond/msg/Status` on one topic, with the same id and an instance of their own: active once a
period. A side that leaves publishes that it is inactive, and the other one answers with the same.
A side that is not heard for a timeout has died.
"""

from __future__ import annotations

import threading
import uuid
from typing import Any

from rclpy.node import Node

from minkowski_perception.node.qos import RELIABLE

_TOPIC = "bond"  # in the namespace of the node, as with bondcpp
_TIMEOUT = 4.0  # seconds; each side declares it, and applies its own


class Bond:
    """A node's side of bonds, one after the other; without the package `bond` it does nothing.

    Args:
        node: whose name is the id of the bond.
        period: seconds between two calls of `beat`.

    Attributes:
        is_available: whether the package `bond` is installed.
    """

    def __init__(self, node: Node, period: float) -> None:
        self._node = node
        self._period = period
        self._lock = threading.Lock()  # nothing may follow the last status of an instance
        self._instance = self._sister = ""
        try:
            from bond.msg import Status
        except ImportError:
            self.is_available = False
            return
        self.is_available = True
        self._status: type[Any] = Status
        self._publisher = node.create_publisher(Status, _TOPIC, RELIABLE)
        node.create_subscription(Status, _TOPIC, self._on_status, RELIABLE)

    def form(self) -> None:
        """Begin a bond."""
        if self.is_available:
            self._sister = ""
            self._instance = str(uuid.uuid4())

    def beat(self) -> None:
        """Tell the other side that the node is alive."""
        with self._lock:
            if self._instance:
                self._publish(active=True)

    def end(self) -> None:
        """Tell the other side that the node leaves."""
        with self._lock:
            if self._instance:
                self._publish(active=False)
            self._instance = ""

    def _on_status(self, status: Any) -> None:
        own, sister = self._instance, status.instance_id
        if not own or status.id != self._node.get_name() or sister == own:
            return
        if status.active:
            self._sister = self._sister or sister
        elif sister == self._sister:  # not that of an earlier bond
            self.end()

    def _publish(self, active: bool) -> None:
        status = self._status(
            id=self._node.get_name(),
            instance_id=self._instance,
            active=active,
            heartbeat_timeout=_TIMEOUT,
            heartbeat_period=self._period,
        )
        status.header.stamp = self._node.get_clock().now().to_msg()
        self._publisher.publish(status)
