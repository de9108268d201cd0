# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Number of frames of clips, and the gaps between them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

Rng = np.random.Generator
Shares = Mapping[int, float]
"""Numbers to draw from, each with its share."""


@dataclass(frozen=True)
class ClipSize:
    """Number of frames of clips, and the gap between them.

    Attributes:
        length: largest number of frames; or the numbers to draw from.
        shorter: share of the clips that may be shorter, as at the start of a stream; does not
            apply where `length` is drawn.
        stride: frames of the sequence from each frame of a clip to the next one; or the numbers to
            draw from, once for a clip.
    """

    length: int | Shares
    shorter: float = 0.4
    stride: int | Shares = 1

    @property
    def longest(self) -> int:
        """Largest number of frames."""
        return max(self.length) if isinstance(self.length, Mapping) else self.length

    @property
    def span(self) -> int:
        """Largest number of frames of the sequence from the first frame of a clip to its last."""
        stride = max(self.stride) if isinstance(self.stride, Mapping) else self.stride
        return (self.longest - 1) * stride + 1

    def draw(self, rng: Rng) -> range:
        """Draw a clip: the rows of its frames in a sequence, from 0 on."""
        length = self._draw_length(rng)
        stride = _draw(self.stride, rng) if isinstance(self.stride, Mapping) else self.stride
        return range(0, length * stride, stride)

    def _draw_length(self, rng: Rng) -> int:
        if isinstance(self.length, Mapping):
            return _draw(self.length, rng)
        if rng.random() < 1.0 - self.shorter:
            return self.length
        return int(rng.integers(1, self.length + 1))


def _draw(shares: Shares, rng: Rng) -> int:
    weights = np.array(list(shares.values()))
    return int(rng.choice(list(shares), p=weights / weights.sum()))
