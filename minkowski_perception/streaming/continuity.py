# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Continuity of a stream: which frames belong together in time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from minkowski_perception.frame import NANOSECONDS, Frame
from minkowski_perception.motion.poses import MAX_STEP, Pose


class OutOfOrderError(ValueError):
    """A frame is not later than the one before it."""


@dataclass(frozen=True)
class Predecessor:
    """What the next frame is held against: the last one's stamp, frame_id and pose."""

    stamp: int
    frame_id: str
    pose: Pose | None


class Continuity:
    """Tells whether a frame goes on with the stream, or starts something new.

    It starts anew, and counts why in `resets`, when time jumps back (a bag that loops, a clock
    that is set), when the stream pauses, when the sensor's frame changes, when motion becomes
    known or unknown, and when a pose jumps: frames on either side of such an event do not belong
    together.

    Args:
        max_gap: seconds without a frame after which the stream starts anew.
        max_step_back: seconds; a stamp that lies further back than this is a jump of time, a
            smaller step back a frame out of order.
    """

    def __init__(self, max_gap: float = 1.0, max_step_back: float = 1.0) -> None:
        self.resets: Counter[str] = Counter()
        self._max_gap = max_gap
        self._max_step_back = max_step_back
        self._last: Predecessor | None = None

    def clear(self) -> None:
        """Forget what the next frame would be compared to."""
        self._last = None

    def continues(self, frame: Frame) -> bool:
        """Whether a frame goes on with the stream, as far as its stamp and sensor tell.

        What follows motion asks this before it gives the frame its pose.

        Raises:
            OutOfOrderError: its stamp is not later than the last one, by a small step.
        """
        return self._last is not None and self._interruption(frame, self._last) is None

    def admit(self, frame: Frame) -> Predecessor | None:
        """Hold a frame against the one before it, which it takes the place of.

        Returns:
            the frame before, where this one goes on with the stream; None where it starts anew.

        Raises:
            OutOfOrderError: its stamp is not later than the last one, by a small step; nothing
                changes.
        """
        before = self._last
        if before is not None:
            reason = self._interruption(frame, before) or _jump(frame.pose, before.pose)
            if reason is not None:
                self.resets[reason] += 1
                before = None
        self._last = Predecessor(frame.stamp, frame.frame_id, frame.pose)
        return before

    def state(self) -> dict[str, Tensor]:
        """Return what the next frame is held against, as tensors by name; none at a start."""
        if self._last is None:
            return {}
        state = {
            "stamp": torch.tensor(self._last.stamp),
            "frame_id": torch.tensor(list(self._last.frame_id.encode()), dtype=torch.uint8),
        }
        if self._last.pose is not None:
            state["pose"] = torch.from_numpy(self._last.pose.copy())
        return state

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on from what `state` gave."""
        self._last = None
        if state:
            self._last = Predecessor(
                int(state["stamp"]),
                bytes(state["frame_id"].tolist()).decode(),
                state["pose"].numpy() if "pose" in state else None,
            )

    def _interruption(self, frame: Frame, last: Predecessor) -> str | None:
        """Why a frame starts something new whatever its pose, or None."""
        step = (frame.stamp - last.stamp) / NANOSECONDS
        if frame.frame_id != last.frame_id:
            return "frame_changed"
        if step < -self._max_step_back:
            return "time_jump"
        if step <= 0.0:
            raise OutOfOrderError(
                f"stamp {frame.stamp} ns is not later than the last one, {last.stamp} ns"
            )
        return "gap" if step > self._max_gap else None


def _jump(pose: Pose | None, before: Pose | None) -> str | None:
    """Why a frame's pose starts something new, or None."""
    if pose is None or before is None:
        return None if pose is before else "motion_changed"
    step = np.linalg.norm(pose[:3, 3] - before[:3, 3])
    return "pose_jump" if step > MAX_STEP else None
