# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Label the clouds of a recording: plays a bag through the perception node and shows it in RViz.

    ros2 launch minkowski_perception replay.launch.py bag:=PATH

Arguments of perception.launch.py can be given too. The launch ends when the bag does.
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
    "bag": (None, "ROS 1 or ROS 2 bag: a file, or a folder that holds one"),
    "topic": ("", "topic of the bag's clouds; empty: the only one there is"),
    "odometry_topic": ("", "topic of the bag's odometry; empty: the only one, else its TF"),
    "ego_motion": (
        "",
        "odometry, kiss_icp or none; empty: odometry if the bag has odometry or transforms, else "
        "kiss_icp if it is installed, else none",
    ),
    "rate": ("1.0", "speed of playing; 1.0 is that of the recording"),
    "loop": ("false", "true: play the bag again and again"),
    "wait_for_answer": (
        "false",
        "true: hold each cloud until the one before it is labelled, so that none is dropped "
        "however slow the machine is",
    ),
    "namespace": ("", "namespace of the nodes and their topics"),
    "rviz": ("true", "true: show the labelled clouds in RViz"),
    "fixed_frame": ("", "frame in which RViz shows the clouds; empty: that of the bag's clouds"),
}
"""Default and description."""

PLAYER_PARAMETERS = {
    "bag": str,
    "topic": str,
    "odometry_topic": str,
    "rate": float,
    "loop": bool,
    "wait_for_answer": bool,
}
"""Those arguments that the player takes as they are, and their types."""


def generate_launch_description() -> LaunchDescription:
    """Describe the launch: arguments, the player, and the node with RViz."""
    return LaunchDescription(
        [
            *(
                DeclareLaunchArgument(name, default_value=default, description=description)
                for name, (default, description) in ARGUMENTS.items()
            ),
            OpaqueFunction(function=look_into_the_bag),
            Node(
                package="minkowski_perception",
                executable="player",
                namespace=LaunchConfiguration("namespace"),
                parameters=[
                    {
                        name: ParameterValue(LaunchConfiguration(name), value_type=value_type)
                        for name, value_type in PLAYER_PARAMETERS.items()
                    },
                    # The player ends when the last cloud has been labelled, and all ends with it.
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


def look_into_the_bag(context: LaunchContext) -> list[SetLaunchConfiguration]:
    """Fill in from the bag what is left empty: topic, ego motion and fixed frame.

    Raises:
        BagError: there is no such bag, it has no clouds, or several topics match; the topics are
            listed.
    """
    given = {name: LaunchConfiguration(name).perform(context) for name in ARGUMENTS}
    with BagReader(given["bag"]) as bag:
        topic = bag.choose_cloud_topic(given["topic"] or None)
        motion = choose_ego_motion(bag, topic, odometry_topic=given["odometry_topic"] or None)
        _, cloud = next(bag.clouds(topic))
    found = {
        "topic": topic,
        "ego_motion": node_ego_motion(motion),
        "fixed_frame": cloud.header.frame_id,
    }
    return [SetLaunchConfiguration(name, given[name] or value) for name, value in found.items()]
