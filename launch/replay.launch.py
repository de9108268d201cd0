# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Label the clouds of a recording: plays a bag through the perception node and shows it in RViz.

    ros2 launch minkowski_perception replay.launch.py bag:=PATH

The arguments of perception.launch.py can be given too. The launch ends with the bag.
"""

from launch import LaunchContext, LaunchDescription
from launch.actions import (
    DeclareLaunchArgument,
    IncludeLaunchDescription,
    OpaqueFunction,
    SetLaunchConfiguration,
    Shutdown,
    TimerAction,
)
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

from minkowski_perception.datasets.bags import BagReader

ARGUMENTS = {
    "bag": (None, "ROS 1 or ROS 2 bag: a file, or a folder that holds one"),
    "topic": ("", "topic of the bag's clouds; empty: the only one there is"),
    "rate": ("1.0", "speed of playing; 1.0 is the recording's own"),
    "loop": ("false", "true: play the bag again and again"),
    "rviz": ("true", "true: show the labelled clouds in RViz"),
    "fixed_frame": ("", "frame in which RViz shows the clouds; empty: that of the bag's clouds"),
}
"""Arguments: default and description."""

SECONDS_FOR_THE_LAST_CLOUD = 2.0


def generate_launch_description() -> LaunchDescription:
    """Describe the launch: arguments, the node with RViz, and the player."""
    perception = PathJoinSubstitution(
        [FindPackageShare("minkowski_perception"), "launch", "perception.launch.py"]
    )
    return LaunchDescription(
        [
            *(
                DeclareLaunchArgument(name, default_value=default, description=description)
                for name, (default, description) in ARGUMENTS.items()
            ),
            OpaqueFunction(function=look_into_the_bag),
            IncludeLaunchDescription(
                PythonLaunchDescriptionSource(perception),
                launch_arguments={
                    "cloud_topic": LaunchConfiguration("topic"),
                    "odometry_topic": "/odometry",
                }.items(),
            ),
            Node(
                package="minkowski_perception",
                executable="player",
                parameters=[
                    {
                        "bag": ParameterValue(LaunchConfiguration("bag"), value_type=str),
                        "topic": ParameterValue(LaunchConfiguration("topic"), value_type=str),
                        "rate": ParameterValue(LaunchConfiguration("rate"), value_type=float),
                        "loop": ParameterValue(LaunchConfiguration("loop"), value_type=bool),
                    }
                ],
                output="screen",
                on_exit=TimerAction(
                    period=SECONDS_FOR_THE_LAST_CLOUD,
                    actions=[Shutdown(reason="the bag has ended")],
                ),
            ),
        ]
    )


def look_into_the_bag(context: LaunchContext) -> list[SetLaunchConfiguration]:
    """Name the topic of the clouds and the frame to show them in, where no argument does."""
    with BagReader(LaunchConfiguration("bag").perform(context)) as bag:
        topic = bag.choose_cloud_topic(LaunchConfiguration("topic").perform(context) or None)
        recorded = (cloud.header.frame_id for _, cloud in bag.clouds(topic))
        frame = LaunchConfiguration("fixed_frame").perform(context) or next(recorded, "odom")
    return [
        SetLaunchConfiguration("topic", topic),
        SetLaunchConfiguration("fixed_frame", frame),
    ]
