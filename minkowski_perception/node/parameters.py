# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The node's ROS parameters: the fields of `Settings`, with their descriptions and ranges."""

from __future__ import annotations

import difflib
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
from rclpy.exceptions import NameValidationException, ParameterException
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.validate_topic_name import validate_topic_name
from scipy.spatial.transform import Rotation

from minkowski_perception.clouds import read_clouds
from minkowski_perception.device import choose_device
from minkowski_perception.networks.model import read_card
from minkowski_perception.settings import SETTINGS, Setting, Settings, SettingsError


class ConfigurationError(ValueError):
    """The node cannot be configured with its parameters."""


def declare(node: Node) -> dict[str, str]:
    """Declare all parameters on a node, and those of its streams that have a start value.

    Returns:
        Errors by parameter, for start values that ROS refuses, which keep their defaults until
        they are set again, and for unknown parameters of streams.
    """
    refused = {}
    for name, setting in SETTINGS.items():
        default = ros_value(setting.default)
        try:
            node.declare_parameter(name, default, descriptor(setting))
        except ParameterException as error:
            refused[name] = str(error)
            node.declare_parameter(name, default, descriptor(setting), ignore_override=True)
    streams = stream_names(node)
    for given in node._parameter_overrides:
        first, _, rest = given.partition(".")
        of_stream = rest if first in streams else ""
        name, inside, _ = (of_stream or given).partition(".")
        if inside and name in SETTINGS:
            key = f"{first}.{name}" if of_stream else name
            refused[key] = (
                f"{key} must be one value, not a mapping (there is a parameter {given}); a text "
                f"of several lines begins with '{name}: |'"
            )
        elif of_stream:
            try:
                setting = _stream_setting(of_stream)
                node.declare_parameter(given, ros_value(setting.default), descriptor(setting))
            except (ParameterException, SettingsError) as error:
                refused[given] = f"{given}: {error}"
    return refused


def stream_names(node: Node) -> tuple[str, ...]:
    """Return the names of the streams; none if they are not valid, which `read` reports."""
    try:
        return tuple(SETTINGS["streams"].checked(node.get_parameter("streams").value or ()))
    except SettingsError:
        return ()


def _stream_setting(name: str) -> Setting:
    """Return the setting of a name that a stream can have for itself.

    Raises:
        SettingsError: there is none.
    """
    valid = [setting.name for setting in SETTINGS.values() if not setting.shared]
    if name in valid:
        return SETTINGS[name]
    if name in SETTINGS:
        raise SettingsError(f"'{name}' is the same for all streams: set it without a stream")
    near = difflib.get_close_matches(name, valid, n=1)
    hint = f"did you mean '{near[0]}'?" if near else f"valid: {', '.join(valid)}"
    raise SettingsError(f"a stream has no parameter '{name}'; {hint}")


def name_for(node: Node, stream: str, setting: str) -> str:
    """Return the name of the parameter that holds for a stream: its own, or that of the node."""
    own = f"{stream}.{setting}"
    return own if stream and node.has_parameter(own) else setting


def read(node: Node) -> dict[str, Settings]:
    """Return the settings of each stream by its name; without names one, of the name "".

    Raises:
        ConfigurationError: a value is not valid; it names parameter, value and valid values. Or
            two streams would give the same labels to the same clouds.
    """
    names = _value(node, "", SETTINGS["streams"]) or ("",)
    found = {
        stream: Settings(**{s.name: _value(node, stream, s) for s in SETTINGS.values()})
        for stream in names
    }
    streams: dict[tuple[str, ...], str] = {}
    for stream, settings in found.items():
        key = (settings.cloud_topic, settings.by_frame, settings.model)
        if key in streams:
            raise ConfigurationError(
                f"streams '{streams[key]}' and '{stream}' have the same clouds and model; give "
                f"'{stream}' its own {stream}.cloud_topic, {stream}.by_frame or {stream}.model"
            )
        streams[key] = stream
    return found


def _value(node: Node, stream: str, setting: Setting) -> Any:
    name = name_for(node, stream, setting.name)
    value = node.get_parameter(name).value
    if value is None and setting.default == ():
        value = ()  # ROS has no empty list in a parameter file
    try:
        return _checked(setting, value)
    except SettingsError as error:
        text = str(error) if name == setting.name else f"{name}: {error}"
        raise ConfigurationError(text) from error


def checked(parameters: Sequence[Parameter[Any]]) -> dict[str, Any]:
    """Return new values of settings by parameter; other parameters are left out.

    Raises:
        SettingsError: a value is not valid, or a setting is deleted; the valid values are named.
    """
    values = {}
    for parameter in parameters:
        setting = _setting_of(parameter.name)
        if setting is None:
            continue
        if parameter.type_ == Parameter.Type.NOT_SET:
            raise SettingsError(
                f"{parameter.name} cannot be deleted; its default is "
                f"{ros_value(setting.default)!r}"
            )
        values[parameter.name] = _checked(setting, parameter.value)
    return values


def _checked(setting: Setting, value: Any) -> Any:
    """Return a value that is valid here: on this machine, and as the name of a topic.

    Raises:
        SettingsError: it is not.
    """
    value = setting.checked(value)
    try:
        if setting.name == "device":
            choose_device(value)
        elif setting.name == "model":
            read_card(value)
        elif setting.name == "clouds":
            read_clouds(value)
        elif setting.name.endswith("_topic"):
            validate_topic_name(value)
    except (NameValidationException, ValueError) as error:
        raise SettingsError(str(error)) from error
    return value


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
    later = [name for name in names if (found := _setting_of(name)) and not found.live]
    return f"{', '.join(later)}: takes effect at the next configure" if later else ""


def _setting_of(parameter: str) -> Setting | None:
    """Return the setting of a parameter of the node or of a stream; None of others."""
    return SETTINGS.get(parameter.rpartition(".")[2])


def descriptor(setting: Setting) -> ParameterDescriptor:
    """Return the ROS description of a setting."""
    described = ParameterDescriptor(description=setting.description, read_only=setting.fixed)
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
