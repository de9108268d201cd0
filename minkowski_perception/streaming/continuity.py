# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Continuity of a stream: whether a frame continues it or starts a new one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from minkowski_perception.frame import NANOSECONDS, Frame
from minkowski_perception.motion.jumps import MotionLimits
from minkowski_perception.motion.poses import Pose
from minkowski_perception.motion.twist import Twist

_SHORTEST_STEP = 0.02
"""Seconds; poses that are closer in time give no velocity, since their noise weighs too much."""


class OutOfOrderError(ValueError):
    """The stamp of a frame is not later than that of the previous frame."""


@dataclass(frozen=True)
class Predecessor:
    """Stamp, frame_id, pose and velocity of the last frame, to compare the next one with."""

    stamp: int
    frame_id: str
    pose: Pose | None
    velocity: Twist | None = None


class Continuity:
    """Decides whether a frame continues the stream or starts a new one.

    A new stream starts when time jumps back (a bag that loops, a clock that is set), after a
    pause, when frame_id changes, when motion becomes known or unknown, and when the pose jumps.

    A frame that steps back a little is out of order. If the next one steps back too, but follows
    the refused one, the two agree against the last frame: its stamp was ahead, or the clock was
    set back. Then time jumps. So a wrong stamp costs one frame.

    Args:
        max_gap: seconds without a frame after which a new stream starts; a skipped frame counts
            as a frame.
        max_step_back: seconds; a larger step back of the stamp is a jump of time at once, a
            smaller one means a frame out of order.
        limits: a larger motion between two frames is a jump of the pose; None for the defaults.

    Attributes:
        resets: how often a new stream started, by reason.
    """

    def __init__(
        self,
        max_gap: float = 1.0,
        max_step_back: float = 1.0,
        limits: MotionLimits | None = None,
    ) -> None:
        self.resets: Counter[str] = Counter()
        self._max_gap = max_gap
        self._max_step_back = max_step_back
        self._limits = limits or MotionLimits()
        self._last: Predecessor | None = None
        self._present = 0
        self._refused: int | None = None  # stamp of a frame out of order since the last frame

    def clear(self) -> None:
        """Forget the last frame: the next one starts a stream, which is no reset."""
        self._last = self._refused = None

    def skip(self, stamp: int, frame_id: str) -> None:
        """Note a frame that was received but is not processed, in the order of stamps.

        It keeps the pause before the next frame from starting a new stream.
        """
        if self._last is None or frame_id != self._last.frame_id:
            return
        if 0 < stamp - self._present <= self._max_gap * NANOSECONDS:
            self._present = stamp

    def continues(self, frame: Frame) -> bool:
        """Return whether a frame continues the stream by its stamp and frame_id alone.

        Ego motion needs the answer before the frame has a pose.

        Raises:
            OutOfOrderError: the stamp is not later than the last one, by a small step, and no
                refused frame confirms it.
        """
        return self._last is not None and self._interruption(frame, self._last) is None

    def admit(self, frame: Frame) -> Predecessor | None:
        """Compare a frame with the last one, and make it the last one.

        Returns:
            the previous frame if this one continues the stream; None if it starts a new one.

        Raises:
            OutOfOrderError: see `continues`; the last frame stays.
        """
        before = self._last
        if before is not None:
            reason = self._interruption(frame, before) or self._jump(frame, before)
            if reason is not None:
                self.resets[reason] += 1
                before = None
        velocity = None if before is None else _velocity(frame, before)
        self._last = Predecessor(frame.stamp, frame.frame_id, frame.pose, velocity)
        self._present = frame.stamp
        self._refused = None
        return before

    def state(self) -> dict[str, Tensor]:
        """Return the last frame as tensors by name; empty before the first frame."""
        if self._last is None:
            return {}
        state = {
            "stamp": torch.tensor(self._last.stamp),
            "frame_id": torch.tensor(list(self._last.frame_id.encode()), dtype=torch.uint8),
        }
        if self._last.pose is not None:
            state["pose"] = torch.from_numpy(self._last.pose.copy())
        if (velocity := self._last.velocity) is not None:
            state["velocity"] = torch.from_numpy(np.stack([velocity.angular, velocity.linear]))
        return state

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Replace the state by one that `state` returned."""
        self.clear()
        if state:
            self._present = int(state["stamp"])
            self._last = Predecessor(
                self._present,
                bytes(state["frame_id"].tolist()).decode(),
                state["pose"].numpy() if "pose" in state else None,
                Twist(*state["velocity"].numpy()) if "velocity" in state else None,
            )

    def _interruption(self, frame: Frame, last: Predecessor) -> str | None:
        """Return why a frame starts a new stream whatever its pose, or None."""
        step = (frame.stamp - last.stamp) / NANOSECONDS
        if frame.frame_id != last.frame_id:
            return "frame_changed"
        if step < -self._max_step_back:
            return "time_jump"
        if step <= 0.0:
            if self._refused is not None and frame.stamp > self._refused:
                return "time_jump"
            self._refused = frame.stamp
            raise OutOfOrderError(
                f"stamp {frame.stamp} ns is not later than the last one, {last.stamp} ns"
            )
        pause = (frame.stamp - self._present) / NANOSECONDS
        return "gap" if pause > self._max_gap else None

    def _jump(self, frame: Frame, last: Predecessor) -> str | None:
        """Return why the pose of a later frame starts a new stream, or None."""
        if frame.pose is None or last.pose is None:
            return None if frame.pose is last.pose else "motion_changed"
        seconds = (frame.stamp - last.stamp) / NANOSECONDS
        possible = self._limits.allow(last.pose, frame.pose, seconds, last.velocity)
        return None if possible else "pose_jump"


def _velocity(frame: Frame, before: Predecessor) -> Twist | None:
    """Return the velocity of the sensor at a frame that continues a stream; None if unknown."""
    if frame.pose is None or before.pose is None:
        return None
    seconds = (frame.stamp - before.stamp) / NANOSECONDS
    if seconds < _SHORTEST_STEP:
        return before.velocity
    return Twist.between(before.pose, frame.pose, seconds)
