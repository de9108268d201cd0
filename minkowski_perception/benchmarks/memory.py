# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Whether memory stays flat while a stream goes on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from minkowski_perception.benchmarks.timing import resident_memory
from minkowski_perception.frame import Frame
from minkowski_perception.segmenter import Segmenter
from minkowski_perception.simulation.drive import simulate_drive

_PERIOD = 10**8
"""Nanoseconds from frame to frame."""


def resident_while_streaming(
    segmenter: Segmenter, frames: int, points: int, seed: int = 7002
) -> Iterator[tuple[int, int]]:
    """Label frames that are never twice the same, and see what the process holds.

    Each is a random part, of random size, of a simulated scan; now and then the stream jumps, so
    that the window starts anew.

    Args:
        segmenter: what labels them.
        frames: how many.
        points: most of a frame.
        seed: draws street and parts.

    Yields:
        number of frames so far, bytes in memory.

    Raises:
        OSError: the system does not tell.
        ImportError: Open3D, which casts the rays, is missing.
    """
    rng = np.random.default_rng(seed)
    drive = list(simulate_drive(seed, "vlp16", 20))
    stamp = 0
    for count in range(1, frames + 1):
        stamp += _PERIOD * (100 if rng.random() < 0.01 else 1)
        frame = drive[count % len(drive)]
        size = rng.integers(1, min(points, len(frame)) + 1)
        segmenter.segment(replace(_part(frame, rng, int(size)), stamp=stamp))
        yield count, resident_memory()


def _part(frame: Frame, rng: np.random.Generator, size: int) -> Frame:
    kept = np.zeros(len(frame), dtype=bool)
    kept[rng.choice(len(frame), size, replace=False)] = True
    return frame.subset(kept)
