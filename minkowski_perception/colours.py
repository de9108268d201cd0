# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Contrast of colours, as WCAG 2.2 defines it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

BACKGROUND = (48, 48, 48)
"""Background of RViz, unless its configuration names another."""

MIN_CONTRAST = 2.0
"""Least contrast with the background; it becomes more than 3 on the black of our configurations.

At 3 on grey, classes of the same hue would become the same colour.
"""


def contrast(a: npt.ArrayLike, b: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return the contrast ratio, 1 to 21, of colours [..., 3] with others, 0 to 255."""
    one, other = _luminance(a), _luminance(b)
    return (np.maximum(one, other) + 0.05) / (np.minimum(one, other) + 0.05)


def readable(colour: tuple[int, int, int]) -> tuple[int, int, int]:
    """Return a colour, mixed with as little white as makes it readable on `BACKGROUND`."""
    white = np.linspace(0.0, 1.0, 256)[:, None]
    mixed = np.ceil(np.array(colour) * (1.0 - white) + 255.0 * white)
    enough = (contrast(mixed, BACKGROUND) >= MIN_CONTRAST) & (
        _luminance(mixed) > _luminance(BACKGROUND)
    )
    red, green, blue = mixed[int(enough.argmax())].astype(int).tolist()
    return red, green, blue


def _luminance(colour: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return the relative luminance, 0 to 1, of sRGB colours [..., 3]."""
    share = np.asarray(colour, dtype=np.float64) / 255.0
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    return np.asarray(linear @ np.array([0.2126, 0.7152, 0.0722]))
