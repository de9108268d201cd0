# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Choice of fewer points that show the same surfaces."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_ROUNDS = 20


def thin(ranges: npt.NDArray[np.floating], most: int) -> npt.NDArray[np.intp]:
    """Return the rows of about `most` points, at most, in ascending order.

    A sensor measures near surfaces more densely than far ones. So a point is kept with a
    probability in proportion to its range, and neighbours in the order of measurement take turns
    (systematic sampling): the choice is even, and the same each time.

    Args:
        ranges: [N] distances from the sensor, above 0.
        most: number of points to keep.
    """
    if len(ranges) <= most:
        return np.arange(len(ranges))
    shares = ranges * (most / ranges.sum(dtype=np.float64))
    for _ in range(_ROUNDS):  # what points above 1 have too much goes to the others
        shares = shares.clip(max=1.0)
        lacking = most - shares.sum()
        below = shares < 1.0
        if lacking < 1.0 or not below.any():
            break
        shares[below] *= 1.0 + lacking / shares[below].sum()
    steps = np.floor(shares.clip(max=1.0).cumsum(dtype=np.float64))
    return np.flatnonzero(np.diff(steps, prepend=0.0))


def take_evenly(count: int, most: int) -> npt.NDArray[np.intp]:
    """Return at most `most` of `count` rows, evenly spaced, in ascending order."""
    return np.arange(count) if count <= most else np.arange(most) * count // most
