# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Signals as requests to stop between two clouds."""

from __future__ import annotations

import signal
import threading
from collections.abc import Sequence
from types import FrameType
from typing import Any


class StopSignals:
    """Notes signals within a `with` statement; a second one interrupts at once.

    Does nothing in a thread that cannot handle signals.

    Args:
        numbers: of the signals.
    """

    def __init__(self, numbers: Sequence[int] = (signal.SIGINT, signal.SIGTERM)) -> None:
        self._number = 0
        self._numbers = numbers
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():
            for number in self._numbers:
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def received(self) -> bool:
        """Return whether a signal has arrived."""
        return bool(self._number)

    @property
    def status(self) -> int:
        """Exit status of a process that the signal ends."""
        return 128 + self._number

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self._number:
            raise KeyboardInterrupt
        self._number = number
