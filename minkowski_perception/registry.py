# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Tables that decorators fill: networks, heads, losses and metrics by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn, TypeVar

from minkowski_perception.schema import unknown_at

T = TypeVar("T")


class Registry(dict[str, T]):
    """Entries by name.

    Args:
        kind: what an entry is, for errors.

    Raises:
        SchemaError: an unknown name is looked up; the nearest and all valid ones are listed.
    """

    def __init__(self, kind: str) -> None:
        super().__init__()
        self._kind = kind

    def register(self, name: str) -> Callable[[T], T]:
        """Return a decorator that enters what it decorates, and returns it unchanged.

        Raises:
            ValueError: the name is taken.
        """

        def enter(entry: T) -> T:
            if name in self:
                raise ValueError(f"{self._kind} '{name}' is registered already")
            self[name] = entry
            return entry

        return enter

    def __missing__(self, name: str) -> NoReturn:
        raise unknown_at("", f"{self._kind} {name!r}", name, self)
