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
from minkowski_perception.motion.poses import MAX_STEP, Pose


class OutOfOrderError(ValueError):
    """The stamp of a frame is not later than that of the previous frame."""


@dataclass(frozen=True)
class Predecessor:
    """Stamp, frame_id and pose of the last frame, to compare the next one with."""

    stamp: int
    frame_id: str
    pose: Pose | None


class Continuity:
    """Decides whether a frame continues the stream or starts a new one.

    A new stream starts when time jumps back (a bag that loops, a clock that is set), after a
    pause, when frame_id changes, when motion becomes known or unknown, and when the pose jumps.

    Args:
        max_gap: seconds without a frame after which a new stream starts.
        max_step_back: seconds; a larger step back of the stamp is a jump of time, a smaller one
            means a frame out of order.

    Attributes:
        resets: how often a new stream started, by reason.
    """

    def __init__(self, max_gap: float = 1.0, max_step_back: float = 1.0) -> None:
        self.resets: Counter[str] = Counter()
        self._max_gap = max_gap
        self._max_step_back = max_step_back
        self._last: Predecessor | None = None

    def clear(self) -> None:
        """Forget the last frame: the next one starts a stream, which is no reset."""
        self._last = None

    def continues(self, frame: Frame) -> bool:
        """Return whether a frame continues the stream by its stamp and frame_id alone.

        Ego motion needs the answer before the frame has a pose.

        Raises:
            OutOfOrderError: the stamp is not later than the last one, by a small step.
        """
        return self._last is not None and self._interruption(frame, self._last) is None

    def admit(self, frame: Frame) -> Predecessor | None:
        """Compare a frame with the last one, and make it the last one.

        Returns:
            the previous frame if this one continues the stream; None if it starts a new one.

        Raises:
            OutOfOrderError: the stamp is not later than the last one, by a small step; nothing
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
        """Return the last frame as tensors by name; empty before the first frame."""
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
        """Replace the state by one that `state` returned."""
        self._last = None
        if state:
            self._last = Predecessor(
                int(state["stamp"]),
                bytes(state["frame_id"].tolist()).decode(),
                state["pose"].numpy() if "pose" in state else None,
            )

    def _interruption(self, frame: Frame, last: Predecessor) -> str | None:
        """Return why a frame starts a new stream whatever its pose, or None."""
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
    """Return why the pose of a frame starts a new stream, or None."""
    if pose is None or before is None:
        return None if pose is before else "motion_changed"
    step = np.linalg.norm(pose[:3, 3] - before[:3, 3])
    return "pose_jump" if step > MAX_STEP else None
