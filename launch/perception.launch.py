# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Label the clouds of a topic: start the perception node, and RViz if requested.

    ros2 launch minkowski_perception perception.launch.py cloud_topic:=/velodyne_points

The node's parameters come from `params_file`. Each has an argument too, which wins over the file.
"""

import os
from pathlib import Path

import yaml
from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable
from launch.conditions import IfCondition
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

from minkowski_perception.node.fast_dds import profile_variables
from minkowski_perception.settings import SETTINGS
from minkowski_perception.view import FRAME, view_of_model

_RESPAWN_DELAY = 0.2  # seconds

CONFIG = PathJoinSubstitution([FindPackageShare("minkowski_perception"), "config"])

ARGUMENTS = {
    "params_file": (
        PathJoinSubstitution([CONFIG, "perception.yaml"]),
        "YAML file with the node's parameters.",
    ),
    "tf_topic": ("/tf", "Topic of TF, such as /robot/tf."),
    "tf_static_topic": ("/tf_static", "Topic of static TF, such as /robot/tf_static."),
    "namespace": ("", "Namespace of the node and its topics."),
    "respawn": (
        "true",
        "true starts the node again when its process ends, such as after its engine hung.",
    ),
    "log_level": ("info", "Log level: debug, info, warn, error or fatal."),
    "rviz": ("false", "true shows the labelled clouds in RViz."),
    "rviz_config": (
        "",
        "RViz configuration file. Empty: indoor.rviz or perception.rviz, by the model's card.",
    ),
    "rviz_fixed_frame": (
        "",
        "Fixed frame of RViz. Empty: the argument fixed_frame, or if that is empty too, "
        f"{FRAME}, an upright frame at the sensor that the launch publishes.",
    ),
}
"""Arguments that are not parameters of the node: default and description."""

PARAMETERS = {
    **{name: (type(setting.default), setting.summary) for name, setting in SETTINGS.items()},
    "use_sim_time": (bool, "Take the time from the topic /clock."),
}
"""Parameters of the node: type and description; a tuple is of floats or names."""


def generate_launch_description() -> LaunchDescription:
    """Return the launch description: arguments, the node, and RViz."""
    return LaunchDescription(
        [
            *(
                DeclareLaunchArgument(name, default_value=default, description=description)
                for name, (default, description) in ARGUMENTS.items()
            ),
            *(
                DeclareLaunchArgument(
                    name,
                    default_value="",
                    description=f"{description} Empty: the value in params_file.",
                )
                for name, (_, description) in PARAMETERS.items()
            ),
            # The node does so itself; this is for RViz and the other nodes of a launch.
            *(
                SetEnvironmentVariable(name, value)
                for name, value in profile_variables(os.environ).items()
            ),
            OpaqueFunction(function=perception_node),
            OpaqueFunction(function=rviz, condition=IfCondition(LaunchConfiguration("rviz"))),
        ]
    )


def perception_node(context: LaunchContext) -> list[Node]:
    """Return the node, with a parameter for each argument that is not empty."""
    given = {
        name: _list(text)
        if value_type is tuple
        else ParameterValue(LaunchConfiguration(name), value_type=value_type)
        for name, (value_type, _) in PARAMETERS.items()
        if (text := LaunchConfiguration(name).perform(context))
    }
    return [
        Node(
            package="minkowski_perception",
            executable="perception_node",
            # With its name, the parameters below win over a file that names the node too.
            name="minkowski_perception",
            namespace=LaunchConfiguration("namespace"),
            parameters=[LaunchConfiguration("params_file"), given],
            remappings=[
                ("/tf", LaunchConfiguration("tf_topic")),
                ("/tf_static", LaunchConfiguration("tf_static_topic")),
            ],
            respawn=LaunchConfiguration("respawn").perform(context).lower() == "true",
            respawn_delay=_RESPAWN_DELAY,
            ros_arguments=["--log-level", LaunchConfiguration("log_level")],
            output="screen",
        )
    ]


def _list(text: str) -> list[float] | list[str]:
    given = yaml.safe_load(text)
    values = given if isinstance(given, list) else [given]  # one name, without brackets
    # launch_ros refuses a list of both integers and floats.
    return [each if isinstance(each, str) else float(each) for each in values]


def rviz(context: LaunchContext) -> list[Node]:
    """Return RViz, and what publishes its fixed frame unless another one is given."""
    frames = ("rviz_fixed_frame", "fixed_frame")
    frame = next(filter(None, (LaunchConfiguration(f).perform(context) for f in frames)), None)
    config = LaunchConfiguration("rviz_config").perform(context)
    if not config:
        view = view_of_model(_value(context, "model"))
        config = PathJoinSubstitution([CONFIG, view.config])
    clouds = [("cloud", _value(context, "cloud_topic"))]
    nodes = [
        Node(
            package="rviz2",
            executable="rviz2",
            name="rviz",
            namespace=LaunchConfiguration("namespace"),
            arguments=["-d", config, "-f", frame or FRAME],
            remappings=clouds,
        )
    ]
    if frame is None:
        nodes.append(
            Node(
                package="minkowski_perception",
                executable="view_frame",
                namespace=LaunchConfiguration("namespace"),
                parameters=[{"axes": _value(context, "axes")}],
                remappings=clouds,
                output="screen",
            )
        )
    return nodes


def _value(context: LaunchContext, name: str) -> str:
    """Return a parameter of the node: its argument, or the value in the file, or the default."""
    if given := LaunchConfiguration(name).perform(context):
        return given
    try:
        path = Path(LaunchConfiguration("params_file").perform(context))
        content = yaml.safe_load(path.read_text())
        found = [node["ros__parameters"].get(name) for node in content.values()]
        return next((str(value) for value in found if value), SETTINGS[name].default)
    except (OSError, AttributeError, KeyError, TypeError, yaml.YAMLError):
        return SETTINGS[name].default  # the node says what is wrong with the file
