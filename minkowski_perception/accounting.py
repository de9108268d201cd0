# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Counts of clouds; always received = labelled + dropped (by reason) + pending."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum


class DropReason(str, Enum):
    """Reason for a dropped cloud; the value is its name in diagnostics and summaries."""

    MALFORMED = "malformed", "the message is not a valid cloud"
    SUPERSEDED = "superseded", "a newer cloud arrived before this one was processed"
    OUT_OF_ORDER = "out_of_order", "its stamp is not later than that of the previous cloud"
    NO_POSE = "no_pose", "no pose at its stamp arrived in time"
    INACTIVE = "inactive", "it arrived while the node was inactive"
    UNSUITABLE = "unsuitable", "it lacks a field that the model needs"
    INFERENCE_FAILED = "inference_failed", "the network or its engine raised an error"
    INTERNAL_ERROR = "internal_error", "the node raised an error outside the network"
    STALLED = "stalled", "the engine did not return in time, and the process ended"
    SHED = "shed", "load shedding left it out"
    SHUTDOWN = "shutdown", "the node stopped before processing it"

    meaning: str

    def __new__(cls, value: str, meaning: str) -> DropReason:
        """Store the meaning beside the value."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.meaning = meaning
        return member


@dataclass(frozen=True)
class Counts:
    """Counts of an `Accounting` at one instant."""

    received: int
    labelled: int
    dropped: Mapping[DropReason, int]

    @property
    def pending(self) -> int:
        """Clouds that are neither labelled nor dropped yet."""
        return self.received - self.labelled - sum(self.dropped.values())


class Accounting:
    """Thread-safe counter of received, labelled and dropped clouds."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._received = 0
        self._labelled = 0
        self._dropped: Counter[DropReason] = Counter()

    def received(self) -> None:
        """Count a received cloud."""
        with self._lock:
            self._received += 1

    def labelled(self) -> None:
        """Count a pending cloud as labelled.

        Raises:
            ValueError: no cloud is pending, so one was counted twice.
        """
        with self._lock:
            self._require_pending()
            self._labelled += 1

    def dropped(self, reason: DropReason) -> None:
        """Count a pending cloud as dropped for a reason.

        Raises:
            ValueError: no cloud is pending, so one was counted twice.
        """
        with self._lock:
            self._require_pending()
            self._dropped[reason] += 1

    def snapshot(self) -> Counts:
        """Return all counts at this instant; `dropped` has only the reasons that occurred."""
        with self._lock:
            return self._counts()

    def _counts(self) -> Counts:
        return Counts(self._received, self._labelled, dict(self._dropped))

    def _require_pending(self) -> None:
        counts = self._counts()
        if counts.pending < 1:
            raise ValueError(f"no cloud is pending: {counts}")
