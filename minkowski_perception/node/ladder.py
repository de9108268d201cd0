# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What the node gives up, step by step, to answer within a latency budget."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from statistics import median

FULL = "full"
WITHOUT_CRF = "without_crf"

_DOWN_AFTER = 10
"""Clouds whose median tells that the budget is exceeded."""

_UP_AFTER = 50
_LONGEST_WAIT = 3200
_EASE = 0.8
"""Share of the budget below which a step up is tried."""


class Ladder:
    """Steps down when clouds take longer than the budget, and up again when there is room.

    A step up that does not hold is tried again only after twice as many clouds, so that a machine
    at its limit does not go up and down for ever.

    Args:
        budget: seconds from a cloud's arrival to its labels; 0 for none: the ladder stays at its
            top.
        rungs: names of the steps, the best one first.
    """

    def __init__(self, budget: float, rungs: Sequence[str]) -> None:
        self._budget = budget
        self._rungs = rungs
        self._place = 0
        self._latencies: deque[float] = deque(maxlen=_UP_AFTER)
        self._wait = _UP_AFTER
        self._since = 0
        self._went_up = False

    @property
    def rung(self) -> str:
        """Name of the step that it stands on."""
        return self._rungs[self._place]

    def add(self, latency: float) -> bool:
        """Take note of a cloud's latency in seconds; return whether that led to another step."""
        if not self._budget:
            return False
        self._latencies.append(latency)
        self._since += 1
        recent = list(self._latencies)
        if len(recent) >= _DOWN_AFTER and median(recent[-_DOWN_AFTER:]) > self._budget:
            if self._place + 1 == len(self._rungs):
                return False
            if self._went_up and self._since < _UP_AFTER:
                self._wait = min(2 * self._wait, _LONGEST_WAIT)
            self._step(1)
            return True
        if self._place and self._since >= self._wait and median(recent) < _EASE * self._budget:
            self._step(-1)
            return True
        return False

    def _step(self, way: int) -> None:
        self._place += way
        self._went_up = way < 0
        self._latencies.clear()
        self._since = 0
