# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""`view_frame`: publish an upright frame at the sensor, in which RViz shows its clouds."""

from __future__ import annotations

import sys
import threading
from typing import Any

import rclpy
from geometry_msgs.msg import TransformStamped
from rcl_interfaces.msg import ParameterDescriptor
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from scipy.spatial.transform import Rotation
from sensor_msgs.msg import PointCloud2

from minkowski_perception.axes import SensorAxes
from minkowski_perception.codec import CloudError, decode
from minkowski_perception.frame import Axes, upright
from minkowski_perception.node.qos import LATCHED
from minkowski_perception.node.stopping import init_until_signalled
from minkowski_perception.settings import SETTINGS, SettingsError
from minkowski_perception.view import FRAME

USER_ERROR = 2
_POLL = 0.5  # seconds between looks at the signals


def view_transform(frame_id: str, axes: Axes) -> TransformStamped:
    """Return the transform of `FRAME`, below the frame of a sensor with these axes.

    As a child of that frame it leaves the sensor's frame its only parent.
    """
    transform = TransformStamped()
    transform.header.frame_id = frame_id
    transform.child_frame_id = FRAME
    rotation = transform.transform.rotation
    turn = Rotation.from_matrix(upright(axes)[:3, :3].T)
    rotation.x, rotation.y, rotation.z, rotation.w = turn.as_quat().tolist()
    return transform


class ViewFrame(Node):
    """Publishes `FRAME` on /tf_static once the axes of the clouds on the topic `cloud` are known.

    Args:
        message_type: tf2_msgs/TFMessage.
    """

    def __init__(self, message_type: Any) -> None:
        super().__init__("view_frame")
        setting = SETTINGS["axes"]
        description = ParameterDescriptor(description=setting.summary)
        self.declare_parameter("axes", setting.default, description)
        self._axes = SensorAxes(setting.checked(self.get_parameter("axes").value))
        self._message_type = message_type
        self._publisher = self.create_publisher(message_type, "/tf_static", LATCHED)
        self.create_subscription(PointCloud2, "cloud", self._on_cloud, qos_profile_sensor_data)
        self._is_known = False

    def _on_cloud(self, message: PointCloud2) -> None:
        if self._is_known:
            return
        try:
            frame = decode(message)
        except CloudError:
            return  # the perception node reports it
        self._axes.update(frame.points, frame.height, frame.frame_id)
        transform = view_transform(frame.frame_id, self._axes.axes)
        self._publisher.publish(self._message_type(transforms=[transform]))
        self._is_known = frame.height == 1 or self._axes.how != "assumed"
        self.get_logger().info(f"'{FRAME}' is upright at '{frame.frame_id}', axes {self._axes}")

    def run(self, stop: threading.Event) -> None:
        """Publish until `stop` is set; clouds are received only as long as they are needed."""
        executor = SingleThreadedExecutor()
        executor.add_node(self)
        while not stop.is_set():
            executor.spin_once(timeout_sec=_POLL)
            if self._is_known:
                for subscription in list(self.subscriptions):
                    self.destroy_subscription(subscription)


def main(args: list[str] | None = None) -> int:
    """Run the node; return the exit status: 2 if a package is missing or a parameter invalid."""
    stop = init_until_signalled(args)
    try:
        from tf2_msgs.msg import TFMessage

        ViewFrame(TFMessage).run(stop)
        return 0
    except ImportError:
        print("view_frame: needs tf2_msgs: apt install ros-$ROS_DISTRO-tf2-msgs", file=sys.stderr)
        return USER_ERROR
    except SettingsError as error:
        print(f"view_frame: {error}", file=sys.stderr)
        return USER_ERROR
    finally:
        rclpy.try_shutdown()


if __name__ == "__main__":
    sys.exit(main())
