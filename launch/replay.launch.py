# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Label the clouds of a bag: play it through the perception node and show them in RViz.

    ros2 launch minkowski_perception replay.launch.py bag:=PATH

The arguments of perception.launch.py are valid too. The launch ends with the bag.
"""

from launch import LaunchContext, LaunchDescription
from launch.actions import (
    DeclareLaunchArgument,
    IncludeLaunchDescription,
    OpaqueFunction,
    SetLaunchConfiguration,
    Shutdown,
)
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

from minkowski_perception.recordings.bags import BagReader
from minkowski_perception.recordings.motion import choose_ego_motion, node_ego_motion

ARGUMENTS = {
    "bag": (None, "ROS 1 or ROS 2 bag: a file, or the folder of a bag."),
    "topic": ("", "Topic of the bag's clouds. Empty: the only one."),
    "odometry_topic": ("", "Topic of the bag's odometry. Empty: the only one, or else its TF."),
    "ego_motion": (
        "",
        "Source of the sensor's motion: odometry, kiss_icp or none. Empty: odometry if the bag "
        "has odometry or TF, else kiss_icp if it is installed, else none.",
    ),
    "rate": ("1.0", "Speed of playback; 1.0 is the recorded speed."),
    "loop": ("false", "true plays the bag again and again."),
    "wait_for_answer": (
        "false",
        "true holds each cloud until the one before it is labelled, so that a slow machine drops "
        "none.",
    ),
    "namespace": ("", "Namespace of the nodes and their topics."),
    "rviz": ("true", "true shows the labelled clouds in RViz."),
}
"""Arguments: default and description."""

PLAYER_PARAMETERS = {
    "bag": str,
    "topic": str,
    "odometry_topic": str,
    "rate": float,
    "loop": bool,
    "wait_for_answer": bool,
}
"""Arguments that are parameters of the player, and their types."""


def generate_launch_description() -> LaunchDescription:
    """Return the launch description: arguments, the player, and the node with RViz."""
    return LaunchDescription(
        [
            *(
                DeclareLaunchArgument(name, default_value=default, description=description)
                for name, (default, description) in ARGUMENTS.items()
            ),
            OpaqueFunction(function=fill_in_from_bag),
            Node(
                package="minkowski_perception",
                executable="player",
                namespace=LaunchConfiguration("namespace"),
                parameters=[
                    {
                        name: ParameterValue(LaunchConfiguration(name), value_type=value_type)
                        for name, value_type in PLAYER_PARAMETERS.items()
                    },
                    # The player ends once the last cloud is labelled, and the launch with it.
                    {"answer_topic": "minkowski_perception/labelled"},
                ],
                output="screen",
                on_exit=Shutdown(reason="the player has ended"),
            ),
            IncludeLaunchDescription(
                PythonLaunchDescriptionSource(
                    PathJoinSubstitution(
                        [FindPackageShare("minkowski_perception"), "launch/perception.launch.py"]
                    )
                ),
                launch_arguments={
                    "cloud_topic": LaunchConfiguration("topic"),
                    "odometry_topic": "odometry",
                    "input_reliability": "reliable",
                }.items(),
            ),
        ]
    )


def fill_in_from_bag(context: LaunchContext) -> list[SetLaunchConfiguration]:
    """Set the empty arguments from the bag: topic and ego_motion.

    Raises:
        BagError: the bag is missing, has no clouds, or several topics match; the message lists
            the topics.
    """
    given = {name: LaunchConfiguration(name).perform(context) for name in ARGUMENTS}
    with BagReader(given["bag"]) as bag:
        topic = bag.choose_cloud_topic(given["topic"] or None)
        motion = choose_ego_motion(bag, topic, odometry_topic=given["odometry_topic"] or None)
    found = {"topic": topic, "ego_motion": node_ego_motion(motion)}
    return [SetLaunchConfiguration(name, given[name] or value) for name, value in found.items()]
