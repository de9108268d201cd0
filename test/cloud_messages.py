# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Clouds of a street, as messages and in bags."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np

from minkowski_perception.codec import encode_frame
from minkowski_perception.recordings.bags import BagWriter
from minkowski_perception.trial import trial_frame

SECOND = 10**9
STEP = SECOND // 10
START = 1_700_000_000 * SECOND


def street(index=0, scale=1.0, points=600):
    """Return the frame of an index, at 10 Hz."""
    frame = trial_frame(points, seed=index)
    return replace(
        frame,
        points=frame.points * np.float32(scale),
        stamp=START + index * STEP,
        frame_id="lidar",
        colour=None,
    )


def message(frame):
    """Return a frame as an object with the attributes of a PointCloud2."""
    cloud = encode_frame(frame)
    stamp = SimpleNamespace(
        **dict(zip(("sec", "nanosec"), divmod(frame.stamp, SECOND), strict=True))
    )
    return SimpleNamespace(
        header=SimpleNamespace(stamp=stamp, frame_id=frame.frame_id), **vars(cloud)
    )


def write_bag(path, number=14, scale=1.0, odometry=True, topics=("/points",)):
    """Write clouds at 10 Hz and, 30 ms before each, odometry at 2 m/s."""
    with BagWriter(path) as bag:
        for index in range(number + 1):
            frame = street(index, scale)
            if odometry:
                pose = np.eye(4)
                pose[0, 3] = 0.2 * index
                bag.write_odometry("/odom", frame.stamp - 30_000_000, pose, "odom", "lidar")
            for topic in topics if index < number else ():
                bag.write_cloud(topic, encode_frame(frame), frame.stamp, frame.frame_id)
    return path
