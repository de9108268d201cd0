# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Watchdog: ends a process that hangs, so that whoever started it can start it again."""

from __future__ import annotations

import faulthandler
import sys
import time
from collections.abc import Callable

from minkowski_perception.node.stopping import STALLED, exit_at_once

SLOW = 3.0
"""Seconds after which a cloud that is still being processed is an error in the diagnostics."""

_MARGIN = 5.0
"""Seconds beyond the limit after which the process ends although no Python thread runs."""

_ARM_PERIOD = 1.0  # seconds


class Watchdog:
    """Ends the process with the status `STALLED` when something takes longer than a limit.

    `beat` must be called several times a second. If nobody can call it, since native code holds
    the interpreter's lock, a thread of `faulthandler` ends the process with status 1.

    Args:
        last_words: called with the reason before the process ends, to log and report it.

    Attributes:
        limit: seconds; 0 for none.
    """

    def __init__(self, last_words: Callable[[str], None]) -> None:
        self.limit = 0.0
        self._last_words = last_words
        self._armed: float | None = None

    def beat(self) -> None:
        """Show that Python threads run."""
        now = time.monotonic()
        if self.limit and (self._armed is None or now - self._armed > _ARM_PERIOD):
            faulthandler.dump_traceback_later(self.limit + _MARGIN, exit=True)
            self._armed = now
        elif not self.limit and self._armed is not None:
            faulthandler.cancel_dump_traceback_later()
            self._armed = None

    def check(self, what: str, seconds: float) -> None:
        """End the process if something has taken longer than the limit."""
        if self.limit and seconds > self.limit:
            self.end(f"{what} for {seconds:.1f} s, longer than stall_timeout")

    def end(self, reason: str) -> None:
        """End the process: log the reason and where each thread is, report, exit."""
        faulthandler.dump_traceback(file=sys.stderr, all_threads=True)
        try:
            self._last_words(reason)
        finally:
            exit_at_once(STALLED)

    def close(self) -> None:
        """Stop watching."""
        self.limit = 0.0
        self.beat()
