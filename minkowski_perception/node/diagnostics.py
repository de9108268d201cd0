# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Contents of the node's messages on /diagnostics."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Mapping, Sequence

import numpy as np
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from minkowski_perception.accounting import Counts, DropReason


class Stages:
    """Thread-safe record of the seconds that each stage took, for the recent clouds."""

    def __init__(self, recent: int = 100) -> None:
        self._lock = threading.Lock()
        self._clouds: deque[dict[str, float]] = deque(maxlen=recent)

    def add(self, timings: dict[str, float]) -> None:
        """Add one cloud: seconds by stage."""
        with self._lock:
            self._clouds.append(timings)

    def medians(self) -> dict[str, float]:
        """Return the median milliseconds of each stage, in the order of the stages."""
        with self._lock:
            clouds = list(self._clouds)
        stages = dict.fromkeys(stage for cloud in clouds for stage in cloud)
        return {
            stage: 1e3 * float(np.median([c[stage] for c in clouds if stage in c]))
            for stage in stages
        }


class Monitor:
    """Computes the diagnostic level and message from the counts since the previous report."""

    def __init__(self) -> None:
        self._before = Counts(0, 0, {})

    def judge(
        self,
        state: str,
        problem: str,
        counts: Counts,
        errors: Sequence[str] = (),
        warnings: Sequence[str] = (),
    ) -> tuple[bytes, str]:
        """Return a level of DiagnosticStatus and a message.

        Args:
            state: lifecycle state.
            problem: why the last transition failed; "" if it succeeded.
            counts: current counts.
            errors: what else makes the level ERROR in the state active.
            warnings: what else makes it WARN.
        """
        before, self._before = self._before, counts
        if problem:
            return DiagnosticStatus.ERROR, problem
        if state != "active":
            return DiagnosticStatus.OK, state
        lost = {
            reason: counts.dropped.get(reason, 0) - before.dropped.get(reason, 0)
            for reason in DropReason
        }
        if lost[DropReason.INFERENCE_FAILED]:
            errors = [*errors, "inference failed, see last_refusal"]
        if errors:
            return DiagnosticStatus.ERROR, "; ".join(errors)
        texts = [f"{n} {reason.value}" for reason, n in lost.items() if n]
        if texts:
            warnings = [f"clouds dropped: {', '.join(texts)}", *warnings]
        if counts.received == before.received:
            warnings = ["no clouds", *warnings]
        if warnings:
            return DiagnosticStatus.WARN, "; ".join(warnings)
        return DiagnosticStatus.OK, "labelling"


class Increase:
    """Increase of a count since it was last asked for."""

    def __init__(self) -> None:
        self._before = 0

    def __call__(self, count: int) -> int:
        """Return the increase to a new count."""
        before, self._before = self._before, count
        return count - before


class Recurrence:
    """Detects streams that start anew again and again.

    Args:
        seconds: that are looked back.
        most: starts of a stream for one reason in that time that are no fault.
    """

    def __init__(self, seconds: float = 10.0, most: int = 2) -> None:
        self._seconds = seconds
        self._most = most
        self._past: deque[tuple[float, Counter[str]]] = deque()

    def warnings(self, resets: Mapping[str, int], now: float) -> list[str]:
        """Return a sentence for each reason that recurs.

        Args:
            resets: counts by reason.
            now: seconds of a monotonic clock.
        """
        self._past.append((now, Counter(resets)))
        while now - self._past[0][0] > self._seconds:
            self._past.popleft()
        before = self._past[0][1]
        return [
            f"the stream was reset {count - before[reason]} times in {self._seconds:.0f} s: "
            f"{_CAUSES.get(reason, reason)}"
            for reason, count in sorted(resets.items())
            if count - before[reason] > self._most
        ]


REQUESTED = "requested"
"""Reason of the resets that the service `~/reset` asks for."""

_CAUSES = {
    "frame_changed": "clouds of several frames come on one topic (frame_changed)",
    "gap": "the clouds are further apart than max_gap (gap)",
    "motion_changed": "the poses come and go (motion_changed)",
    "pose_jump": "the odometry jumps (pose_jump)",
    REQUESTED: "the service reset is called (requested)",
    "time_jump": "the stamps jump back (time_jump)",
}


def count_values(counts: Counts) -> dict[str, str]:
    """Return the counts as key-values; received = labelled + dropped + pending."""
    return {
        "received": str(counts.received),
        "labelled": str(counts.labelled),
        "pending": str(counts.pending),
        "dropped": str(sum(counts.dropped.values())),
        **{f"dropped_{r.value}": str(counts.dropped.get(r, 0)) for r in DropReason},
    }


def diagnostic_status(
    name: str, hardware_id: str, level: bytes, message: str, values: Mapping[str, str]
) -> DiagnosticStatus:
    """Return one entry of the diagnostics.

    Args:
        name: of the entry; aggregators keep one entry for each name.
        hardware_id: of the sensor; it never changes.
        level: of DiagnosticStatus.
        message: for people.
        values: key-values.
    """
    pairs = [KeyValue(key=key, value=value) for key, value in values.items()]
    return DiagnosticStatus(
        level=level, name=name, message=message, hardware_id=hardware_id, values=pairs
    )


def diagnostic_array(stamp: Time, entries: Sequence[DiagnosticStatus]) -> DiagnosticArray:
    """Return the message of some entries."""
    array = DiagnosticArray(status=entries)
    array.header.stamp = stamp
    return array
