# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Publish clouds of a street at 10 Hz and odometry at 20 Hz until this process is killed."""

import time

import rclpy
from cloud_messages import street
from nav_msgs.msg import Odometry
from sensor_msgs.msg import PointCloud2, PointField

from minkowski_perception.codec import encode_frame, fill_message


def main() -> None:
    """Publish /points and /odom of frames 'lidar' and 'odom'."""
    rclpy.init()
    node = rclpy.create_node("driver")
    clouds = node.create_publisher(PointCloud2, "/points", 10)
    odometry = node.create_publisher(Odometry, "/odom", 10)
    cloud = fill_message(PointCloud2(), encode_frame(street()), PointField)
    cloud.header.frame_id = "lidar"
    pose = Odometry(child_frame_id="lidar")
    pose.header.frame_id = "odom"
    pose.pose.pose.orientation.w = 1.0
    for tick in range(10**6):
        now = node.get_clock().now().to_msg()
        pose.header.stamp = now
        odometry.publish(pose)
        if tick % 2:
            cloud.header.stamp = now
            clouds.publish(cloud)
        time.sleep(0.05)


if __name__ == "__main__":
    main()
