# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Launch files and clouds for the tests."""

import time

import numpy as np
import pytest
from ament_index_python import PackageNotFoundError, get_package_share_directory
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource

from minkowski_perception.frame import Frame

PATIENCE = 300.0  # seconds, on a busy machine


def installed_launch_file(name, **arguments):
    """Return an action that includes the launch file that `ros2 launch` finds."""
    try:
        share = get_package_share_directory("minkowski_perception")
    except PackageNotFoundError:
        pytest.skip("the package is not installed where ROS finds it: colcon build, and source")
    source = PythonLaunchDescriptionSource(f"{share}/launch/{name}")
    return IncludeLaunchDescription(source, launch_arguments=arguments.items())


def wait_for(condition):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "timed out"
        time.sleep(0.05)


def street(points=2000, stamp=10**18):
    """Return a flat ground with a wall beside it, 1.7 m below the sensor."""
    random = np.random.default_rng(stamp)
    x, y = random.uniform(-20.0, 20.0, (2, points))
    z = np.where(y > 8.0, random.uniform(-1.7, 3.0, points), -1.7)
    xyz = np.column_stack([x, np.minimum(y, 8.0), z]).astype(np.float32)
    intensity = random.uniform(0.0, 255.0, points).astype(np.float32)
    return Frame(xyz, stamp, "lidar", intensity)
