# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Ego motion for the clouds of a bag."""

from __future__ import annotations

from scipy.spatial.transform import Rotation

from minkowski_perception.motion.ego_motion import EgoMotion, RecordedMotion, StandingStill
from minkowski_perception.motion.poses import PoseBuffer, pose_matrix
from minkowski_perception.motion.registration import Registration
from minkowski_perception.recordings.bags import BagError, BagReader, StampedPoses


def choose_ego_motion(
    bag: BagReader,
    topic: str,
    choice: str = "auto",
    odometry_topic: str | None = None,
    *,
    deskew: bool = True,
) -> EgoMotion:
    """Choose the ego-motion source for a cloud topic.

    Args:
        bag: an open bag.
        topic: its cloud topic.
        choice: "bag" for the bag's odometry or transforms, "kiss_icp", "none", or "auto" for the
            first of these that is available.
        odometry_topic: required if the bag has several and no transforms.
        deskew: see `Registration`.

    Raises:
        BagError: the topic has no clouds, the requested source is unavailable, several sources
            match, or the bag is corrupt.
    """
    _, first = next(bag.clouds(topic), (0, None))
    if first is None:
        raise BagError(f"topic '{topic}' of {bag.path} has no clouds")
    if choice == "none":
        return StandingStill()
    reason = "requested"
    if choice in ("auto", "bag"):
        frame_id = first.header.frame_id
        source, fixed_frame, poses = bag.poses_with_source(frame_id, topic=odometry_topic)
        if poses:
            reason = reason if choice == "bag" else f"from bag {source}"
            return RecordedMotion(_pose_buffer(poses), fixed_frame, reason)
        reason = "the bag has no odometry or transforms"
        if choice == "bag":
            raise BagError(f"{bag.path} has no odometry or transforms of frame '{frame_id}'")
    try:
        return Registration(deskew=deskew, reason=reason)
    except ImportError as error:
        if choice == "kiss_icp":
            raise BagError(str(error)) from error
        return EgoMotion(f"{reason}; {error}")


def node_ego_motion(motion: EgoMotion) -> str:
    """Return the value of the node's parameter `ego_motion` that matches a choice.

    The player publishes recorded poses as odometry. Where the motion is unknown, the node chooses
    by itself.
    """
    return {EgoMotion: "auto", RecordedMotion: "odometry"}.get(type(motion), motion.name)


def _pose_buffer(poses: StampedPoses) -> PoseBuffer:
    buffer = PoseBuffer(capacity=len(poses))
    for stamp, pose in poses:
        # Through a quaternion, as in an odometry message: bit for bit what the node receives.
        buffer.add(stamp, pose_matrix(pose[:3, 3], Rotation.from_matrix(pose[:3, :3]).as_quat()))
    return buffer
