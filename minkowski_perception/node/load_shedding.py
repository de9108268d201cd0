# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Load shedding: lower levels of quality that keep a latency budget and the sensor's rate."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

_DOWN_AFTER = 10
"""Clouds that decide whether a limit is exceeded."""

_UP_AFTER = 50
_LONGEST_WAIT = 3200
_EASE = 0.8
"""Share of a limit below which the next better level is tried again."""

_SHORT_AVERAGING = 3  # frames


@dataclass(frozen=True)
class Level:
    """A level of quality.

    Attributes:
        name: in diagnostics.
        averaging: largest number of frames over which probabilities are averaged; None for no
            limit.
        crf: whether the CRF may run.
        stride: one of this many points is computed; see `PointLimits`.
        period: one of this many clouds is labelled.
    """

    name: str
    averaging: int | None = None
    crf: bool = True
    stride: int = 1
    period: int = 1


FULL = Level("full")
SHORT_AVERAGING = Level("short_averaging", _SHORT_AVERAGING)
WITHOUT_CRF = Level("without_crf", _SHORT_AVERAGING, crf=False)
HALF_POINTS = Level("half_points", _SHORT_AVERAGING, crf=False, stride=2)
HALF_CLOUDS = Level("half_clouds", _SHORT_AVERAGING, crf=False, stride=2, period=2)


def levels(has_crf: bool, averaging: int) -> list[Level]:
    """Return the levels that make a difference to a model, the best one first."""
    found = [FULL]
    if averaging > _SHORT_AVERAGING:
        found.append(SHORT_AVERAGING)
    if has_crf:
        found.append(WITHOUT_CRF)
    return [*found, HALF_POINTS, HALF_CLOUDS]


class LoadShedding:
    """Lowers the level when a limit is exceeded, and restores it later.

    After a restored level has failed, it is tried again only after twice as many clouds, so that a
    machine at its limit does not oscillate.

    Args:
        levels: the best one first.
        budget: seconds from a cloud's arrival to its labels; 0 for no limit.
        max_superseded: share of clouds that newer ones may supersede; 1 for no limit.

    Attributes:
        reason: why the level changed last; "" before.
    """

    def __init__(
        self, levels: Sequence[Level], budget: float = 0.0, max_superseded: float = 1.0
    ) -> None:
        self.reason = ""
        self._levels = levels
        self._budget = budget
        self._max_superseded = max_superseded
        self._index = 0
        self._clouds: deque[tuple[float, int]] = deque(maxlen=_UP_AFTER)
        self._wait = _UP_AFTER
        self._since_change = 0
        self._restored = False

    @property
    def level(self) -> Level:
        """The current level."""
        return self._levels[self._index]

    def add(self, latency: float, superseded: int = 0) -> bool:
        """Add a labelled cloud; return whether the level changed.

        Args:
            latency: seconds from its arrival to its labels.
            superseded: number of clouds that were superseded since the last one.
        """
        if not self._budget and self._max_superseded >= 1.0:
            return False
        self._clouds.append((latency, superseded))
        self._since_change += 1
        recent = list(self._clouds)
        if len(recent) >= _DOWN_AFTER:
            excess = self._excess(recent[-_DOWN_AFTER:], 1.0)
            if excess:
                return self._lower(excess)
        if self._index and self._since_change >= self._wait and not self._excess(recent, _EASE):
            self._change(-1, f"within the limits for {self._since_change} clouds")
            return True
        return False

    def _excess(self, clouds: Sequence[tuple[float, int]], share: float) -> str:
        """Return which limit the clouds exceed, "" if none.

        Args:
            clouds: latency and number of superseded clouds of each.
            share: of the limits.
        """
        latency = median(each for each, _ in clouds)
        if self._budget and latency > share * self._budget:
            return f"latency {latency:.3g} s, budget {self._budget:g} s"
        missed = sum(superseded for _, superseded in clouds)
        missed_share = missed / (missed + len(clouds))
        if self._max_superseded < 1.0 and missed_share > share * self._max_superseded:
            return f"{missed_share:.0%} of the clouds superseded, limit {self._max_superseded:.0%}"
        return ""

    def _lower(self, reason: str) -> bool:
        if self._index + 1 == len(self._levels):
            return False
        if self._restored and self._since_change < _UP_AFTER:
            self._wait = min(2 * self._wait, _LONGEST_WAIT)
        self._change(1, reason)
        return True

    def _change(self, step: int, reason: str) -> None:
        self._index += step
        self.reason = reason
        self._restored = step < 0
        self._clouds.clear()
        self._since_change = 0
