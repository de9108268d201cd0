# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Contents of the node's messages on /diagnostics."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Mapping, Sequence

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
        self, state: str, problem: str, counts: Counts, unlike: Sequence[str] = ()
    ) -> tuple[bytes, str]:
        """Return a level of DiagnosticStatus and a message.

        Args:
            state: lifecycle state.
            problem: why the last transition failed; "" if it succeeded.
            counts: current counts.
            unlike: warnings of the domain monitor.
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
            return DiagnosticStatus.ERROR, "inference failed, see last_refusal"
        lost = {reason: n for reason, n in lost.items() if n}
        if lost:
            text = ", ".join(f"{n} {reason.value}" for reason, n in lost.items())
            return DiagnosticStatus.WARN, f"clouds dropped: {text}"
        if counts.received == before.received:
            return DiagnosticStatus.WARN, "no clouds"
        if unlike:
            return DiagnosticStatus.WARN, f"unlike the training: {'; '.join(unlike)}"
        return DiagnosticStatus.OK, "labelling"


def count_values(counts: Counts) -> dict[str, str]:
    """Return the counts as key-values; received = labelled + dropped + pending."""
    return {
        "received": str(counts.received),
        "labelled": str(counts.labelled),
        "pending": str(counts.pending),
        "dropped": str(sum(counts.dropped.values())),
        **{f"dropped_{r.value}": str(counts.dropped.get(r, 0)) for r in DropReason},
    }


def diagnostic_array(
    stamp: Time,
    name: str,
    hardware_id: str,
    level: bytes,
    message: str,
    values: Mapping[str, str] | Iterable[tuple[str, str]],
) -> DiagnosticArray:
    """Return a message with one status."""
    status = DiagnosticStatus(
        level=level,
        name=name,
        message=message,
        hardware_id=hardware_id,
        values=[KeyValue(key=key, value=value) for key, value in dict(values).items()],
    )
    array = DiagnosticArray(status=[status])
    array.header.stamp = stamp
    return array
