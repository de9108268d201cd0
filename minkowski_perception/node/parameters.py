# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The node's ROS parameters: the fields of `Settings`, with their descriptions and ranges."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.exceptions import ParameterException
from rclpy.node import Node
from scipy.spatial.transform import Rotation

from minkowski_perception.settings import SETTINGS, Setting, Settings, SettingsError


class ConfigurationError(ValueError):
    """The node cannot be configured with its parameters."""


def declare(node: Node) -> dict[str, str]:
    """Declare all parameters on a node.

    Returns:
        Errors by parameter, for start values that ROS refuses. These parameters keep their
        defaults until they are set again.
    """
    refused = {}
    for name, setting in SETTINGS.items():
        default = ros_value(setting.default)
        try:
            node.declare_parameter(name, default, descriptor(setting))
        except ParameterException as error:
            refused[name] = str(error)
            node.declare_parameter(name, default, descriptor(setting), ignore_override=True)
    return refused


def read(node: Node) -> Settings:
    """Return the values of the node's parameters.

    Raises:
        ConfigurationError: a value is not valid; it names parameter, value and valid values.
    """
    try:
        return Settings.from_values({name: node.get_parameter(name).value for name in SETTINGS})
    except SettingsError as error:
        raise ConfigurationError(str(error)) from error


def descriptor(setting: Setting) -> ParameterDescriptor:
    """Return the ROS description of a setting."""
    described = ParameterDescriptor(description=setting.description)
    if setting.choices:
        described.additional_constraints = setting.constraint
    elif setting.unit:
        described.additional_constraints = f"unit: {setting.unit}"
    kind = type(setting.default)
    if kind in (float, tuple):
        described.dynamic_typing = True  # accepts 1 for 1.0
    if setting.range and kind is float:
        low, high = setting.range
        described.floating_point_range = [FloatingPointRange(from_value=low, to_value=high)]
    elif setting.range:
        low, high = map(int, setting.range)
        described.integer_range = [IntegerRange(from_value=low, to_value=high, step=1)]
    return described


def ros_value(value: Any) -> Any:
    """Return a setting's value in the type of a ROS parameter: a tuple becomes a list."""
    return list(value) if isinstance(value, tuple) else value


def sensor_matrix(sensor_pose: Sequence[float]) -> npt.NDArray[np.float64]:
    """Return the setting `sensor_pose` as a [4, 4] matrix.

    Args:
        sensor_pose: x, y, z in metres, roll, pitch, yaw in radians (REP-103).

    Returns:
        [4, 4] float64, transforms points of the sensor to the odometry's child frame.
    """
    pose = np.eye(4)
    pose[:3, :3] = Rotation.from_euler("xyz", sensor_pose[3:]).as_matrix()
    pose[:3, 3] = sensor_pose[:3]
    return pose
