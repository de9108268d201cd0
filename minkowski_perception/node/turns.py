# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""A fair lock: threads get it in the order in which they ask for it."""

from __future__ import annotations

import threading
from collections import deque


class Turns:
    """Lock that threads get in the order in which they asked for it.

    A thread that gives it back and asks again comes after all that wait. So with one thread for
    each stream, a cloud waits for at most one cloud of each other stream. A `threading.Lock` has
    no order: a busy thread may take it again and again.
    """

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._waiting: deque[threading.Event] = deque()
        self._taken = False

    def __enter__(self) -> None:
        """Wait for the turn."""
        with self._guard:
            if not self._taken:
                self._taken = True
                return
            turn = threading.Event()
            self._waiting.append(turn)
        turn.wait()

    def __exit__(self, *exception: object) -> None:
        """Pass the turn on to the thread that has waited longest."""
        with self._guard:
            if self._waiting:
                self._waiting.popleft().set()
            else:
                self._taken = False
