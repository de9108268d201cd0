# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Ego motion for the sequences of a data set, chosen as `label` chooses it for a bag."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, islice

from minkowski_perception.frame import Frame
from minkowski_perception.lab.evaluation import EvaluationError
from minkowski_perception.motion.ego_motion import EgoMotion, NoPoseError, StandingStill
from minkowski_perception.motion.poses import Pose
from minkowski_perception.motion.registration import Registration

_LOOK_AHEAD = 10
"""Frames at the start of a sequence among which one with a pose is looked for."""


class RecordedPoses(EgoMotion):
    """Poses that the frames already have."""

    name = "recorded"
    knows_up = True

    def locate(self, frame: Frame) -> Pose:
        """Return the frame's pose; see `EgoMotion.locate`."""
        if frame.pose is None:
            raise NoPoseError(f"the recording has no pose at stamp {frame.stamp} ns")
        return frame.pose


def choose_ego_motion(
    frames: Iterable[Frame], choice: str = "auto", *, deskew: bool = True
) -> tuple[EgoMotion, Iterator[Frame]]:
    """Choose the ego-motion source for a sequence.

    Args:
        frames: of the sequence.
        choice: "bag" for the poses of the recording, "kiss_icp", "none", or "auto" for the first
            of these that is available.
        deskew: see `Registration`.

    Returns:
        The source, and all frames.

    Raises:
        EvaluationError: the requested source is not available.
    """
    if choice == "none":
        return StandingStill(), iter(frames)
    rest, head = iter(frames), []
    if choice in ("auto", "bag"):
        for frame in islice(rest, _LOOK_AHEAD):
            head.append(frame)
            if frame.pose is not None:
                reason = "requested" if choice == "bag" else "from the data"
                return RecordedPoses(reason), chain(head, rest)
        if choice == "bag":
            raise EvaluationError(f"the first {len(head)} frames of a sequence have no poses")
    reason = "requested" if choice == "kiss_icp" else "the data have no poses"
    try:
        return Registration(deskew=deskew, reason=reason), chain(head, rest)
    except ImportError as error:
        if choice == "kiss_icp":
            raise EvaluationError(str(error)) from error
        return EgoMotion(f"{reason}; {error}"), chain(head, rest)
