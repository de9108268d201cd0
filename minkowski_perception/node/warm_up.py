# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Warm-up: what the first clouds would compile, load and allocate."""

from __future__ import annotations

from rclpy.serialization import serialize_message
from sensor_msgs.msg import PointCloud2, PointField

from minkowski_perception.codec import encode_frame, fill_message
from minkowski_perception.frame import NANOSECONDS
from minkowski_perception.motion.ego_motion import StandingStill
from minkowski_perception.segmenter import Segmenter
from minkowski_perception.stream import Stream
from minkowski_perception.trial import trial_frame

_POINTS = 20_000
_FRAMES = 2  # the second one is averaged, and reads the features of the first
_PERIOD = NANOSECONDS // 10


def warm_up(segmenter: Segmenter) -> None:
    """Label made-up clouds, from message to message, in a stream of their own.

    Raises:
        Dropped: they cannot be labelled.
    """
    stream = Stream(segmenter.another_stream(), StandingStill())
    for i in range(_FRAMES):
        message = fill_message(PointCloud2(), encode_frame(trial_frame(_POINTS, i)), PointField)
        message.header.frame_id = "trial"
        stream.accounting.received()
        labelled = stream.label(message, received_at=NANOSECONDS + i * _PERIOD)
        serialize_message(fill_message(PointCloud2(), labelled.cloud, PointField))
    stream.map()
