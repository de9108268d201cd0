# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""TF in the node: how sensors are mounted, and transforms at a stamp, for all its streams."""

from __future__ import annotations

import threading
from typing import Any

import rclpy
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile

from minkowski_perception.missing import MissingPackageError
from minkowski_perception.motion.poses import Pose
from minkowski_perception.motion.transforms import TransformTree

_STATIC = QoSProfile(depth=100, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class Transforms:
    """Static transforms from the start, and a buffer of all transforms for those that ask for it.

    The topics are /tf and /tf_static, which can be remapped. Without the package tf2_msgs no
    static transform is known.

    Args:
        node: subscribes.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._static = TransformTree()
        self._lock = threading.Lock()
        self._listening: _Listening | None = None
        try:
            from tf2_msgs.msg import TFMessage
        except ImportError:
            self._subscription = None
        else:
            self._subscription = node.create_subscription(
                TFMessage, "/tf_static", self._on_static, _STATIC
            )

    def _on_static(self, message: Any) -> None:
        for transform in message.transforms:
            self._static.replace_static(transform)

    def mount(self, frame_id: str) -> Pose | None:
        """Return the pose of a sensor in the robot, by the static transforms so far.

        Returns:
            [4, 4] float64 from the sensor's frame to the highest frame that does not move against
            it, such as base_link; None if no transform leads from the sensor's frame.
        """
        return self._static.mount(frame_id)

    def between(self, frame_id: str, child_frame_id: str) -> Pose | None:
        """Return the static transform [4, 4] from one frame to another; None if unknown."""
        path = self._static.path(frame_id, child_frame_id)
        return None if path is None else path.at(0)

    def buffer(self) -> Any:
        """Return the tf2_ros.Buffer of all transforms; it is filled from the first call on.

        Raises:
            MissingPackageError: tf2_ros is not installed.
        """
        with self._lock:
            if self._listening is None:
                self._listening = _Listening(self._node)
            return self._listening.buffer

    def close(self) -> None:
        """Unsubscribe."""
        if self._subscription is not None:
            self._node.destroy_subscription(self._subscription)
        if self._listening is not None:
            self._listening.close()


class _Listening:
    """A buffer of tf2_ros, filled on a node and a thread of its own.

    So it does not share the executor of the clouds.
    """

    def __init__(self, node: Node) -> None:
        try:
            import tf2_ros
        except ImportError as error:
            raise MissingPackageError(
                "TF needs the package tf2_ros, which is not installed "
                "(apt install ros-$ROS_DISTRO-tf2-ros-py)"
            ) from error
        self.buffer = tf2_ros.Buffer()
        name = f"{node.get_name()}_tf_listener"
        # A launch file renames all nodes of a process; a node's own arguments take precedence.
        rename = ["--ros-args", "-r", f"__node:={name}"]
        self._node = rclpy.create_node(name, context=node.context, cli_args=rename)
        self._listener = tf2_ros.TransformListener(self.buffer, self._node, spin_thread=True)

    def close(self) -> None:
        """Stop the listener and its node."""
        self._listener.unregister()
        self._listener.executor.shutdown()
        self._node.destroy_node()
