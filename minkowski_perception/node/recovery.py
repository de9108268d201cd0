# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Recovery from an engine that fails, in steps from cheap to drastic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from minkowski_perception.segmenter import Segmenter
from minkowski_perception.settings import Settings

RESET = "reset"

_SETTLED = 300
"""Labelled clouds after which a failure is a new one."""


class Recovery:
    """Chooses the next step after each failure in a row; a labelled cloud starts over.

    The first step drops the stream's state. The next ones build the engine anew: as it is
    configured, then slower ones (see `substitutes`). An engine is built a second time only after
    it has labelled many clouds. A slower engine stays until the node is configured again.

    Args:
        substitutes: settings of the engines to build, in order.

    Attributes:
        steps: number of steps taken since the node was configured.
    """

    def __init__(self, substitutes: Sequence[Settings]) -> None:
        self._substitutes = substitutes
        self._failures = self._successes = 0
        self._next = 0
        self.steps = 0

    def succeeded(self) -> None:
        """Note a labelled cloud."""
        self._failures = 0
        self._successes += 1

    def next_step(self) -> str | Settings | None:
        """Return `RESET`, the settings of an engine to build, or None: nothing is left to try."""
        if self._successes >= _SETTLED:
            self._next = max(0, self._next - 1)
            self._successes = 0
        self._failures += 1
        self.steps += 1
        if self._failures == 1:
            return RESET
        if self._next == len(self._substitutes):
            return None
        self._next += 1
        return self._substitutes[self._next - 1]


def substitutes(settings: Settings, segmenter: Segmenter) -> list[Settings]:
    """Return the settings of the engines that can take the place of a segmenter's, in order.

    The same engine built anew, then engine torch on the same device, then on the CPU: a lost GPU
    comes back only to a new process.
    """
    found = [settings]
    plain = replace(settings, engine="torch", precision="float32")
    if str(segmenter.engine) != "torch":
        found.append(plain)
    if segmenter.device.type != "cpu":
        found.append(replace(plain, device="cpu"))
    return found
