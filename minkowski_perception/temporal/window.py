# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The sliding window: which frames belong together in time."""

from __future__ import annotations

from collections import Counter, deque

import numpy as np
import numpy.typing as npt

from minkowski_perception.frame import Frame
from minkowski_perception.voxels import VoxelFrame

NANOSECONDS = 1_000_000_000
MAX_STEP = 100.0
"""Metres: no robot moves so far between two frames; its odometry was set anew."""


class OutOfOrderError(ValueError):
    """A frame is not later than the one before it."""


class SlidingWindow:
    """The voxels of the last frames of one stream, oldest first.

    It starts anew, and counts why in `resets`, when time jumps back (a bag that loops, a clock
    that is set), when the stream pauses, when the sensor's frame changes, when motion becomes
    known or unknown, and when a pose jumps: frames on either side of such an event do not belong
    together.

    Args:
        length: frames to keep, at least 1.
        max_gap: seconds without a frame after which the window starts anew.
        max_step_back: seconds; a stamp that lies further back than this is a jump of time, a
            smaller step back a frame out of order.
    """

    def __init__(self, length: int, max_gap: float = 1.0, max_step_back: float = 1.0) -> None:
        if length < 1:
            raise ValueError(f"the window must be 1 frame or more, not {length}")
        self.resets: Counter[str] = Counter()
        self._frames: deque[VoxelFrame] = deque(maxlen=length)
        self._max_gap = max_gap
        self._max_step_back = max_step_back
        self._last: tuple[int, str, npt.NDArray[np.float64] | None] | None = None

    def __len__(self) -> int:
        return len(self._frames)

    @property
    def length(self) -> int:
        """Frames that the window holds at most."""
        assert self._frames.maxlen is not None
        return self._frames.maxlen

    @property
    def frames(self) -> list[VoxelFrame]:
        """The frames in the window, oldest first."""
        return list(self._frames)

    def clear(self) -> None:
        """Forget all frames, and with them what the next one is compared to."""
        self._frames.clear()
        self._last = None

    def continues(self, frame: Frame) -> bool:
        """Whether a frame goes on with the stream, as far as its stamp and sensor tell.

        What follows motion asks this before it gives the frame its pose.

        Raises:
            OutOfOrderError: its stamp is not later than the last one, by a small step.
        """
        return self._last is not None and self._interruption(frame) is None

    def admit(self, frame: Frame) -> None:
        """Hold a frame against the one before it: reset if it starts something new.

        Raises:
            OutOfOrderError: its stamp is not later than the last one, by a small step.
        """
        position = None if frame.pose is None else frame.pose[:3, 3]
        if self._last is not None:
            reason = self._interruption(frame)
            before = self._last[2]
            if reason is not None:
                self._reset(reason)
            elif position is None or before is None:
                if position is not before:
                    self._reset("motion_changed")
            elif np.linalg.norm(position - before) > MAX_STEP:
                self._reset("pose_jump")
        self._last = (frame.stamp, frame.frame_id, position)

    def push(self, voxels: VoxelFrame) -> None:
        """Append a frame; the oldest one leaves when the window is full."""
        self._frames.append(voxels)

    def _interruption(self, frame: Frame) -> str | None:
        """Why a frame starts something new whatever its pose, or None."""
        assert self._last is not None
        stamp, frame_id, _ = self._last
        step = (frame.stamp - stamp) / NANOSECONDS
        if frame.frame_id != frame_id:
            return "frame_changed"
        if step < -self._max_step_back:
            return "time_jump"
        if step <= 0.0:
            raise OutOfOrderError(
                f"stamp {frame.stamp} ns is not later than the last one, {stamp} ns"
            )
        return "gap" if step > self._max_gap else None

    def _reset(self, reason: str) -> None:
        self.resets[reason] += 1
        self._frames.clear()
