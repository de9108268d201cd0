# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Thread that calls a function again and again, whatever else the process does."""

from __future__ import annotations

import threading
from collections.abc import Callable

_PATIENCE = 1.0  # seconds


class Heartbeat:
    """Calls a function with a fixed period of wall time, in a thread of its own.

    Neither a busy executor nor a paused simulation clock delays it.

    Args:
        period: seconds.
        beat: the function.
        failed: called with an exception of `beat`; the thread goes on.
    """

    def __init__(
        self, period: float, beat: Callable[[], None], failed: Callable[[Exception], None]
    ) -> None:
        self._period = period
        self._beat = beat
        self._failed = failed
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Make no further call after the current one, which may take a second."""
        self._stop.set()
        if threading.current_thread() is not self._thread:
            self._thread.join(_PATIENCE)

    def _run(self) -> None:
        while not self._stop.wait(self._period):
            try:
                self._beat()
            except Exception as error:
                self._failed(error)
