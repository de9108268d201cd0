# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Warnings and progress of the labelling of a recording, and requests to stop it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from minkowski_perception.labelling.folder import State
from minkowski_perception.labelling.progress import ProgressBar, print_aside

_NOTE = 2.0
"""Seconds between two notes of the state."""


class Stopped(Exception):  # noqa: N818 - a request, not a fault
    """The work was asked to stop.

    Attributes:
        done: clouds that were processed.
        total: clouds to process.
    """

    def __init__(self, done: int, total: int) -> None:
        super().__init__(f"stopped after {done} of {total} clouds")
        self.done = done
        self.total = total


class OutOfSpace(Stopped):
    """Little space is left for the results."""


class Watch:
    """Collects warnings, counts clouds, and stops the work when asked to.

    Args:
        stop: returns whether to stop before the next cloud.

    Attributes:
        warnings: sentences on the recording.
        done: clouds that were processed.
        total: clouds to process, at most.
        note: called with the state every few seconds; None for no call.
        full: returns whether little space is left for the results.
    """

    def __init__(self, stop: Callable[[], bool] = lambda: False) -> None:
        self.warnings: list[str] = []
        self.done = self.total = 0
        self.note: Callable[[State], None] | None = None
        self.full: Callable[[], bool] = lambda: False
        self._stop = stop
        self._noted = 0.0

    def begin(self, total: int) -> None:
        """Start to count.

        Args:
            total: clouds to process, at most.
        """
        self.done, self.total = 0, total
        self._tell()

    def step(self) -> None:
        """Count a cloud.

        Raises:
            Stopped: the work is to stop.
            OutOfSpace: little space is left.
        """
        self.done += 1
        if time.monotonic() - self._noted >= _NOTE:
            self._tell()
        if self.done == self.total:
            return
        if self._stop():
            raise Stopped(self.done, self.total)
        if self.full():
            raise OutOfSpace(self.done, self.total)

    def warn(self, text: str) -> None:
        """Take a sentence on the recording."""
        self.warnings.append(text)

    def tell(self, text: str) -> None:
        """Show a sentence on the work, if there is a display."""

    def close(self) -> None:
        """End the display, if there is one."""

    def _tell(self) -> None:
        self._noted = time.monotonic()
        if self.note is not None:
            self.note(State(self.done, self.total))


class PrintingWatch(Watch):
    """Also prints to standard error; progress as a bar on a terminal, else as lines.

    Args:
        stop: see `Watch`.
    """

    def __init__(self, stop: Callable[[], bool] = lambda: False) -> None:
        super().__init__(stop)
        self._bar: Any = None

    def begin(self, total: int) -> None:
        """See `Watch.begin`."""
        super().begin(total)
        self._bar = ProgressBar("labelling", total, "clouds")

    def step(self) -> None:
        """See `Watch.step`."""
        super().step()
        self._bar.show(self.done)

    def warn(self, text: str) -> None:
        """See `Watch.warn`."""
        super().warn(text)
        print_aside(text)

    def tell(self, text: str) -> None:
        """See `Watch.tell`."""
        print_aside(text)

    def close(self) -> None:
        """See `Watch.close`."""
        if self._bar is not None:
            self._bar.close()
