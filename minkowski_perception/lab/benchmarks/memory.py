# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Measures memory over a long stream."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from minkowski_perception.frame import Frame
from minkowski_perception.lab.benchmarks.timing import resident_memory
from minkowski_perception.lab.simulation.drive import simulate_drive
from minkowski_perception.segmenter import Segmenter

_PERIOD = 10**8
"""Nanoseconds between frames."""

_WARM = 0.1
"""Share of the frames after which memory should no longer grow."""


@dataclass(frozen=True)
class Held:
    """Memory after a frame.

    Attributes:
        resident: resident bytes of the process.
        state: bytes of the stream's state.
    """

    resident: int
    state: int


def resident_while_streaming(
    segmenter: Segmenter, frames: int, points: int, seed: int = 7002
) -> Iterator[tuple[int, Held]]:
    """Label random frames and measure the memory of the process.

    Each frame is a random part, of random size, of a simulated scan. About every hundredth frame
    the time stamp jumps, which resets the stream.

    Args:
        segmenter: labels the frames.
        frames: number of frames.
        points: largest number of points of a frame.
        seed: of the street and of the parts.

    Yields:
        number of frames so far, memory.

    Raises:
        OSError: the system does not report memory.
        MissingPackageError: Open3D, which casts the rays, is missing.
    """
    rng = np.random.default_rng(seed)
    drive = list(simulate_drive(seed, "vlp16", 20))
    stamp = 0
    for count in range(1, frames + 1):
        stamp += _PERIOD * (100 if rng.random() < 0.01 else 1)
        frame = drive[count % len(drive)]
        size = rng.integers(1, min(points, len(frame)) + 1)
        segmenter.segment(replace(_part(frame, rng, int(size)), stamp=stamp))
        yield count, Held(resident_memory(), segmenter.state_bytes)


def table(held: Mapping[int, Held]) -> str:
    """Return ten measurements, and the rise after warming up, as lines of text."""
    last = max(held)
    lines = [f"{'frames':>8}{'MB in memory':>14}{'MB of state':>13}"]
    for count in range(step := max(1, last // 10), last + 1, step):
        now = held[count]
        lines.append(f"{count:>8}{now.resident / 1e6:>14.1f}{now.state / 1e6:>13.2f}")
    rise = report(held)["rise_bytes"]
    return "\n".join([*lines, f"from frame {_warm(last)} to {last}: {rise / 1e6:+.1f} MB"])


def report(held: Mapping[int, Held]) -> dict[str, Any]:
    """Return all figures for JSON; the rise is of the process after warming up."""
    last = max(held)
    return {
        "frames": last,
        "bytes": {count: now.resident for count, now in held.items()},
        "rise_bytes": held[last].resident - held[_warm(last)].resident,
        "most_state_bytes": max(now.state for now in held.values()),
    }


def _warm(frames: int) -> int:
    return max(1, int(_WARM * frames))


def _part(frame: Frame, rng: np.random.Generator, size: int) -> Frame:
    kept = np.zeros(len(frame), dtype=bool)
    kept[rng.choice(len(frame), size, replace=False)] = True
    return frame.subset(kept)
