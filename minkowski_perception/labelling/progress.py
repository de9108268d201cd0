# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Progress on standard error: a bar on a terminal, lines in a log."""

from __future__ import annotations

import sys
import time
from typing import Any

from tqdm import tqdm

PROGRAM = "minkowski-perception label"

_LINE = 5.0
"""Seconds between two lines in a log."""


def print_aside(text: str) -> None:
    """Print a message of the command to standard error, above a bar if there is one."""
    tqdm.write(f"{PROGRAM}: {text}", sys.stderr)


class ProgressBar:
    """A bar on a terminal; in a log a line every few seconds, without control characters.

    Args:
        what: a word for the work.
        total: number of units.
        unit: plural of what is counted.
        before: units that earlier runs have done.
    """

    def __init__(self, what: str, total: int, unit: str, before: int = 0) -> None:
        self._what, self._total, self._unit, self._before = what, total, unit, before
        self._started = self._said = time.monotonic()
        self._bar: Any = None
        if sys.stderr.isatty():
            self._bar = tqdm(None, what, total, unit=f" {unit}", initial=before)

    def show(self, done: int, more: str = "") -> None:
        """Show that some units are done.

        Args:
            done: their number.
            more: further text.
        """
        if self._bar is not None:
            self._bar.set_postfix_str(more, refresh=False)
            self._bar.update(done - self._bar.n)
            if more:
                self._bar.refresh()
        elif time.monotonic() - self._said >= _LINE:
            self._said = time.monotonic()
            print(self._line(done, more), file=sys.stderr, flush=True)

    def close(self) -> None:
        """End the bar."""
        if self._bar is not None:
            self._bar.close()

    def _line(self, done: int, more: str) -> str:
        line = f"{self._what}: {done} of {self._total} {self._unit}"
        rate = (done - self._before) / (time.monotonic() - self._started)
        if rate:
            left = (self._total - done) / rate
            line += f", {rate:.2g} {self._unit}/s, {left:.0f} s left"
        return f"{line}; {more}" if more else line
