# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Warm-up of the node: that of its segmenter, and the messages."""

from __future__ import annotations

from rclpy.serialization import serialize_message
from sensor_msgs.msg import PointCloud2, PointField

from minkowski_perception.codec import fill_message
from minkowski_perception.segmenter import Segmenter
from minkowski_perception.warm_up import label_trial_clouds


def warm_up(segmenter: Segmenter) -> None:
    """Label made-up clouds, in a stream of their own, and serialize them.

    Raises:
        Dropped: they cannot be labelled.
    """
    for cloud in label_trial_clouds(segmenter):
        serialize_message(fill_message(PointCloud2(), cloud, PointField))
