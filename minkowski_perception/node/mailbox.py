# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Mailbox with one slot: the latest item wins."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Mailbox(Generic[T]):
    """Passes items from one thread to another; a new item replaces one that was not taken.

    Args:
        merge: called with an item and the one that it replaces, before it can be taken.
    """

    def __init__(self, merge: Callable[[T, T], None] | None = None) -> None:
        self._merge = merge
        self._condition = threading.Condition()
        self._item: T | None = None
        self._closed = False

    def put(self, item: T) -> T | None:
        """Put an item in; return the item that it replaces, or itself if the mailbox is closed."""
        with self._condition:
            if self._closed:
                return item
            if self._merge is not None and self._item is not None:
                self._merge(item, self._item)
            replaced, self._item = self._item, item
            self._condition.notify()
            return replaced

    def take(self, timeout: float | None = None) -> T | None:
        """Wait for an item and take it out; return None once the mailbox is closed.

        Raises:
            TimeoutError: neither happened within the seconds.
        """
        with self._condition:
            if not self._condition.wait_for(
                lambda: self._item is not None or self._closed, timeout
            ):
                raise TimeoutError
            if self._closed:
                return None
            item, self._item = self._item, None
            return item

    def close(self) -> T | None:
        """Close the mailbox, wake its waiters, and return the item that was not taken."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()
            item, self._item = self._item, None
            return item
