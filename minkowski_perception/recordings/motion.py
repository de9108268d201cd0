# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Ego motion for the clouds of a bag."""

from __future__ import annotations

from functools import cache
from typing import Any

from scipy.spatial.transform import Rotation

from minkowski_perception.frame import NANOSECONDS, nanoseconds
from minkowski_perception.motion.ego_motion import (
    EgoMotion,
    Mounts,
    RecordedMotion,
    StandingStill,
)
from minkowski_perception.motion.poses import PoseBuffer, pose_matrix
from minkowski_perception.motion.registration import Registration
from minkowski_perception.recordings.bags import BagError, BagReader, StampedPoses
from minkowski_perception.recordings.scan_files import FrameReader


def choose_ego_motion(
    bag: BagReader | FrameReader,
    topic: str,
    choice: str = "auto",
    odometry_topic: str | None = None,
    *,
    deskew: bool = True,
) -> EgoMotion:
    """Choose the ego-motion source for a cloud topic.

    Args:
        bag: an open bag, or frames.
        topic: its cloud topic.
        choice: "bag" for the bag's odometry or transforms, "kiss_icp", "none", or "auto" for the
            first of these that is available.
        odometry_topic: required if the bag has several and no transforms.
        deskew: see `Registration`.

    Raises:
        BagError: the topic has no clouds, the requested source is unavailable, several sources
            match, or the bag is corrupt.
    """
    received_at, first = next(bag.clouds(topic), (0, None))
    if first is None:
        losses = "".join(f"; {loss}" for loss in bag.losses)
        raise BagError(f"topic '{topic}' of {bag.path} has no clouds{losses}")
    if isinstance(bag, FrameReader):
        return _motion_of_frames(bag, topic, choice, deskew)
    mounts = cache(bag.mount)
    if choice == "none":
        return StandingStill(mounts)
    reason = "requested"
    if choice in ("auto", "bag"):
        frame_id = first.header.frame_id
        found = bag.poses_with_source(frame_id, topic=odometry_topic)
        if found.poses:
            reason = _clocks_apart(bag, first, received_at, found.poses)
        else:
            reason = found.reason or f"the bag's {found.source} gives no poses"
        if not reason:
            reason = "requested" if choice == "bag" else f"from bag {found.source}"

            buffer, fixed_frame = _pose_buffer(found.poses), found.fixed_frame

            def poses_of(name: str) -> PoseBuffer:
                if name == frame_id:
                    return buffer
                try:
                    known = bag.poses_with_source(name, fixed_frame, odometry_topic)
                except BagError:  # nothing connects this sensor: its clouds have no pose
                    return PoseBuffer()
                return _pose_buffer(known.poses)

            return RecordedMotion(cache(poses_of), fixed_frame, reason)
        if choice == "bag":
            raise BagError(f"{bag.path} gives no motion of frame '{frame_id}': {reason}")
    return _registration(choice, reason, deskew, mounts)


def _motion_of_frames(bag: FrameReader, topic: str, choice: str, deskew: bool) -> EgoMotion:
    if choice == "none":
        return StandingStill()
    reason = "requested"
    if choice in ("auto", "bag"):
        motion = bag.recorded_motion(topic, reason if choice == "bag" else "from the data")
        if motion is not None:
            return motion
        reason = "the scans have no poses"
        if choice == "bag":
            raise BagError(f"{bag.path} gives no motion: {reason}")
    return _registration(choice, reason, deskew)


def _registration(
    choice: str, reason: str, deskew: bool, mounts: Mounts | None = None
) -> EgoMotion:
    try:
        return Registration(deskew=deskew, reason=reason, mounts=mounts)
    except ImportError as error:
        if choice == "kiss_icp":
            raise BagError(str(error)) from error
        return EgoMotion(f"{reason}; {error}")


def _clocks_apart(bag: BagReader, first: Any, received_at: int, poses: StampedPoses) -> str:
    """Return why no cloud can have a pose by their clocks, or "" if one can.

    Args:
        bag: an open bag.
        first: the first cloud.
        received_at: of that cloud, nanoseconds.
        poses: of the sensor, by their own stamps.
    """
    begins = nanoseconds(first.header.stamp) or received_at
    ends = begins + bag.span()[1] - received_at
    if begins <= poses[-1][0] and ends >= poses[0][0]:
        return ""
    apart = (begins - received_at) / NANOSECONDS
    return (
        f"the clocks of clouds and poses do not meet: clouds have stamps from "
        f"{begins / NANOSECONDS:.1f} s, {apart:+.1f} s from the recorder's clock, poses from "
        f"{poses[0][0] / NANOSECONDS:.1f} to {poses[-1][0] / NANOSECONDS:.1f} s"
    )


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
