# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Label the clouds of a topic: starts the perception node, and RViz if wanted.

    ros2 launch minkowski_perception perception.launch.py cloud_topic:=/velodyne_points

Parameters of the node come from `params_file`; an argument that is given here wins over the file.
"""

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable
from launch.conditions import IfCondition
from launch.substitutions import EnvironmentVariable, LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

CONFIG = PathJoinSubstitution([FindPackageShare("minkowski_perception"), "config"])

PARAMETERS = {
    "autostart": (bool, "true: the node configures and activates itself; false: you do"),
    "device": (str, "where the network runs: auto, cpu, cuda or cuda:N"),
    "ego_motion": (str, "where poses come from: auto, tf, odometry, kiss_icp or none"),
    "engine": (str, "what computes: auto, torch, numba, spconv_triton, spconv or minkowski"),
    "input_reliability": (str, "of what the node subscribes: best_effort or reliable"),
    "model": (str, "name of a model of the package, or path of its .yaml card"),
    "use_sim_time": (bool, "true: the clock is the /clock topic"),
}
"""Parameters of the node that have an argument of their own: type and description."""

ARGUMENTS = {
    "cloud_topic": ("cloud", "topic of the sensor_msgs/PointCloud2 to label"),
    "odometry_topic": ("odometry", "topic of nav_msgs/Odometry, for ego_motion odometry and auto"),
    "params_file": (
        PathJoinSubstitution([CONFIG, "perception.yaml"]),
        "YAML file with the node's parameters",
    ),
    "namespace": ("", "namespace of the node and its topics"),
    "log_level": ("info", "debug, info, warn, error or fatal"),
    "rviz": ("false", "true: show the labelled clouds in RViz"),
    "rviz_config": (PathJoinSubstitution([CONFIG, "perception.rviz"]), "RViz configuration file"),
    "fixed_frame": ("odom", "frame in which RViz shows the clouds"),
}
"""The other arguments: default and description."""


def generate_launch_description() -> LaunchDescription:
    """Describe the launch: arguments, the node, and RViz."""
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
                    description=f"{description}; empty: as params_file says",
                )
                for name, (_, description) in PARAMETERS.items()
            ),
            # Fast DDS needs several times longer for a large cloud with its default transports.
            SetEnvironmentVariable(
                "FASTDDS_BUILTIN_TRANSPORTS",
                EnvironmentVariable("FASTDDS_BUILTIN_TRANSPORTS", default_value="LARGE_DATA"),
            ),
            OpaqueFunction(function=perception_node),
            Node(
                condition=IfCondition(LaunchConfiguration("rviz")),
                package="rviz2",
                executable="rviz2",
                name="rviz",
                namespace=LaunchConfiguration("namespace"),
                arguments=[
                    *("-d", LaunchConfiguration("rviz_config")),
                    *("-f", LaunchConfiguration("fixed_frame")),
                ],
                remappings=[("cloud", LaunchConfiguration("cloud_topic"))],
            ),
        ]
    )


def perception_node(context: LaunchContext) -> list[Node]:
    """Start the node with those parameters that an argument was given for."""
    given = {
        name: ParameterValue(LaunchConfiguration(name), value_type=value_type)
        for name, (value_type, _) in PARAMETERS.items()
        if LaunchConfiguration(name).perform(context)
    }
    return [
        Node(
            package="minkowski_perception",
            executable="perception_node",
            # Named here, so that the parameters below win over a file that names the node too.
            name="minkowski_perception",
            namespace=LaunchConfiguration("namespace"),
            parameters=[LaunchConfiguration("params_file"), given],
            remappings=[
                ("cloud", LaunchConfiguration("cloud_topic")),
                ("odometry", LaunchConfiguration("odometry_topic")),
            ],
            ros_arguments=["--log-level", LaunchConfiguration("log_level")],
            output="screen",
        )
    ]
