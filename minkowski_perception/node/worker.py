# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Thread that handles the items of a mailbox."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Generic, TypeVar

from minkowski_perception.node.mailbox import Mailbox

T = TypeVar("T")

_IDLE_PERIOD = 1.0  # seconds


class Worker(Generic[T]):
    """Thread that handles the items of a mailbox, one at a time, until the mailbox is closed.

    `start` starts it. An exception of `handle` or `idle` ends neither the thread nor the process.

    Args:
        mailbox: source of the items.
        handle: called with each item.
        failed: called with such an exception.
        idle: called once a second while there is no item, and at the end.
    """

    def __init__(
        self,
        mailbox: Mailbox[T],
        handle: Callable[[T], None],
        failed: Callable[[BaseException], None],
        idle: Callable[[], None] = lambda: None,
    ) -> None:
        self._mailbox = mailbox
        self._handle = handle
        self._failed = failed
        self._idle = idle
        self._started: float | None = None
        self._begun = self._ended = False
        self._thread = threading.Thread(target=self._run, name="labelling", daemon=True)

    def start(self) -> None:
        """Start the thread; the owner must have stored the worker, since `handle` may use it."""
        self._thread.start()
        self._begun = True

    @contextmanager
    def turn(self, turns: AbstractContextManager[object]) -> Iterator[None]:
        """Hold the turn of this worker's thread; `busy` counts from there, and is 0 before."""
        self._started = None
        with turns:
            self._started = time.monotonic()
            yield

    @property
    def busy(self) -> float:
        """Seconds since the current item was taken, or had its turn; 0 without one."""
        started = self._started
        return 0.0 if started is None else time.monotonic() - started

    @property
    def is_dead(self) -> bool:
        """Whether the thread ended although the mailbox is open."""
        return self._begun and not self._thread.is_alive() and not self._ended

    def join(self, seconds: float) -> bool:
        """Wait for the end, after the mailbox was closed; return whether it came in time."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while True:
            try:
                item = self._mailbox.take(_IDLE_PERIOD)
            except TimeoutError:
                self._guarded(self._idle)
                continue
            if item is None:
                break
            self._started = time.monotonic()
            self._guarded(partial(self._handle, item))
            self._started = None
        self._guarded(self._idle)
        self._ended = True

    def _guarded(self, call: Callable[[], None]) -> None:
        try:
            call()
        except BaseException as error:
            self._failed(error)
