# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""A mailbox of one slot: the latest message wins."""

from __future__ import annotations

import threading
from typing import Generic, TypeVar

T = TypeVar("T")


class Mailbox(Generic[T]):
    """Hands items from one thread to another; a newer item takes the place of an older one."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._item: T | None = None
        self._closed = False

    def put(self, item: T) -> T | None:
        """Put an item in; return the one that it displaces, or itself if the box is closed."""
        with self._condition:
            if self._closed:
                return item
            displaced, self._item = self._item, item
            self._condition.notify()
            return displaced

    def take(self) -> T | None:
        """Wait for an item and take it out; None once the box is closed."""
        with self._condition:
            self._condition.wait_for(lambda: self._item is not None or self._closed)
            if self._closed:
                return None
            item, self._item = self._item, None
            return item

    def close(self) -> T | None:
        """Let nobody wait any longer; return the item that was left."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()
            item, self._item = self._item, None
            return item
