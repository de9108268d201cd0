# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What became of every cloud: received = labelled + dropped (by reason) + pending, always."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum


class DropReason(str, Enum):
    """Why a cloud went out without labels; the value is its name in diagnostics and summaries."""

    MALFORMED = "malformed", "the message does not describe a cloud"
    SUPERSEDED = "superseded", "a newer cloud came before this one was taken up"
    OUT_OF_ORDER = "out_of_order", "its stamp is not later than that of the cloud before"
    NO_POSE = "no_pose", "motion was asked for and no pose at its stamp came in time"
    INACTIVE = "inactive", "it came while the node was not active"
    INFERENCE_FAILED = "inference_failed", "the network or its engine raised an error"
    SHUTDOWN = "shutdown", "the node was stopped before its turn"

    meaning: str

    def __new__(cls, value: str, meaning: str) -> DropReason:
        """Keep the sentence beside the value."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.meaning = meaning
        return member


@dataclass(frozen=True)
class Counts:
    """The state of an `Accounting` at one instant."""

    received: int
    labelled: int
    dropped: Mapping[DropReason, int]

    @property
    def pending(self) -> int:
        """Clouds that have no answer yet."""
        return self.received - self.labelled - sum(self.dropped.values())


class Accounting:
    """Counts clouds in, and what became of them; safe to call from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._received = 0
        self._labelled = 0
        self._dropped: Counter[DropReason] = Counter()

    def received(self) -> None:
        """Count a cloud that came in."""
        with self._lock:
            self._received += 1

    def labelled(self) -> None:
        """Count a pending cloud as gone out with labels.

        Raises:
            ValueError: no cloud is pending, so one was counted twice.
        """
        with self._lock:
            self._refuse_a_second_answer()
            self._labelled += 1

    def dropped(self, reason: DropReason) -> None:
        """Count a pending cloud as one that will get no labels, for this reason.

        Raises:
            ValueError: no cloud is pending, so one was counted twice.
        """
        with self._lock:
            self._refuse_a_second_answer()
            self._dropped[reason] += 1

    def snapshot(self) -> Counts:
        """All counts as they are at one instant, with reasons that occurred only."""
        with self._lock:
            return self._counts()

    def _counts(self) -> Counts:
        return Counts(self._received, self._labelled, dict(self._dropped))

    def _refuse_a_second_answer(self) -> None:
        counts = self._counts()
        if counts.pending < 1:
            raise ValueError(f"a cloud was answered that is not pending: {counts}")
