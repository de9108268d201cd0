# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What is lost of a damaged recording."""

from __future__ import annotations

from collections.abc import Hashable


class Losses:
    """Places of a recording that are lost, counted by what they are.

    Messages are read several times, so a place is noted by a key, and counts once.
    """

    def __init__(self) -> None:
        self._places: dict[str, dict[Hashable, int]] = {}
        self._causes: dict[str, str] = {}

    def add(self, what: str, place: Hashable, cause: object, count: int = 1) -> None:
        """Note a loss.

        Args:
            what: is lost, such as "damaged messages on /points".
            place: where; the last count of a place is taken.
            cause: why.
            count: number of what is lost.
        """
        self._places.setdefault(what, {})[place] = count
        self._causes.setdefault(what, str(cause) or repr(cause))

    def sentences(self) -> list[str]:
        """Return a sentence for each kind of loss."""
        return [
            f"{what}: {sum(places.values()):,} ({self._causes[what]})"
            for what, places in self._places.items()
        ]
