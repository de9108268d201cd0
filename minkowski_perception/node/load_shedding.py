# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Load shedding: lower levels of quality that keep a latency budget."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from statistics import median

FULL = "full"
WITHOUT_CRF = "without_crf"

_DOWN_AFTER = 10
"""Clouds whose median latency decides that the budget is exceeded."""

_UP_AFTER = 50
_LONGEST_WAIT = 3200
_EASE = 0.8
"""Share of the budget below which the next better level is tried again."""


class LoadShedding:
    """Lowers the level when clouds take longer than the budget, and restores it later.

    After a restored level has failed, it is tried again only after twice as many clouds, so that a
    machine at its limit does not oscillate.

    Args:
        budget: seconds from a cloud's arrival to its labels; 0 for no limit.
        levels: names of the levels, the best one first.
    """

    def __init__(self, budget: float, levels: Sequence[str]) -> None:
        self._budget = budget
        self._levels = levels
        self._index = 0
        self._latencies: deque[float] = deque(maxlen=_UP_AFTER)
        self._wait = _UP_AFTER
        self._since_change = 0
        self._restored = False

    @property
    def level(self) -> str:
        """Name of the current level."""
        return self._levels[self._index]

    def add(self, latency: float) -> bool:
        """Add a cloud's latency in seconds; return whether the level changed."""
        if not self._budget:
            return False
        self._latencies.append(latency)
        self._since_change += 1
        recent = list(self._latencies)
        if len(recent) >= _DOWN_AFTER and median(recent[-_DOWN_AFTER:]) > self._budget:
            if self._index + 1 == len(self._levels):
                return False
            if self._restored and self._since_change < _UP_AFTER:
                self._wait = min(2 * self._wait, _LONGEST_WAIT)
            self._change(1)
            return True
        has_room = median(recent) < _EASE * self._budget
        if self._index and self._since_change >= self._wait and has_room:
            self._change(-1)
            return True
        return False

    def _change(self, step: int) -> None:
        self._index += step
        self._restored = step < 0
        self._latencies.clear()
        self._since_change = 0
