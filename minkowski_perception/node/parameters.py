# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The node's ROS parameters: the fields of `Settings`, with their descriptions and ranges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rcl_interfaces.msg import Parameter as ParameterMessage
from rcl_interfaces.srv import SetParameters, SetParametersAtomically
from rclpy.exceptions import ParameterException
from rclpy.node import Node
from rclpy.parameter import Parameter
from scipy.spatial.transform import Rotation

from minkowski_perception.clouds import read_clouds
from minkowski_perception.device import choose_device
from minkowski_perception.networks.model import read_card
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
    for given in node._parameter_overrides:
        name, dot, _ = given.partition(".")
        if dot and name in SETTINGS:
            refused[name] = (
                f"{name} must be one value, not a mapping (there is a parameter {given}); a text "
                f"of several lines begins with '{name}: |'"
            )
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


def checked(parameters: Sequence[Parameter[Any]]) -> dict[str, Any]:
    """Return new values of settings by name; parameters that are no settings are left out.

    Raises:
        SettingsError: a value is not valid, or a setting is deleted; the valid values are named.
    """
    values = {}
    for parameter in parameters:
        setting = SETTINGS.get(parameter.name)
        if setting is None:
            continue
        if parameter.type_ == Parameter.Type.NOT_SET:
            raise SettingsError(
                f"{setting.name} cannot be deleted; its default is {ros_value(setting.default)!r}"
            )
        value = values[setting.name] = setting.checked(parameter.value)
        try:
            if setting.name == "device":
                choose_device(value)
            elif setting.name == "model":
                read_card(value)
            elif setting.name == "clouds":
                read_clouds(value)
        except ValueError as error:
            raise SettingsError(str(error)) from error
    return values


def serve(node: Node) -> None:
    """Answer requests to set parameters, whatever they hold.

    The services of rclpy raise for types that ROS does not know, which ends the process, and give
    no reason when they succeed.
    """

    def change(messages: Sequence[ParameterMessage]) -> SetParametersResult:
        if unknown := [m.name for m in messages if not node.has_parameter(m.name)]:
            names = ", ".join(f"'{name}'" for name in unknown)
            return SetParametersResult(successful=False, reason=f"no parameter {names}")
        try:
            parameters = [Parameter.from_parameter_msg(message) for message in messages]
            result = node.set_parameters_atomically(parameters)
        except Exception as error:
            return SetParametersResult(successful=False, reason=f"refused: {error}")
        if result.successful:
            result.reason = _when_applied([message.name for message in messages])
        return result

    def set_parameters(
        request: SetParameters.Request, response: SetParameters.Response
    ) -> SetParameters.Response:
        response.results = [change([message]) for message in request.parameters]
        return response

    def set_atomically(
        request: SetParametersAtomically.Request, response: SetParametersAtomically.Response
    ) -> SetParametersAtomically.Response:
        response.result = change(request.parameters)
        return response

    callbacks: Mapping[type, Any] = {
        SetParameters: set_parameters,
        SetParametersAtomically: set_atomically,
    }
    for service in node.services:
        if service.srv_type in callbacks:
            service.callback = callbacks[service.srv_type]


def _when_applied(names: Sequence[str]) -> str:
    """Return which of the parameters take effect later; "" if none."""
    later = [name for name in names if name in SETTINGS and not SETTINGS[name].live]
    return f"{', '.join(later)}: takes effect at the next configure" if later else ""


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
