# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Parts of an augmentation that change the measurement.

Properties of the sensor (beams, gain, colours) are drawn once for a clip, those of a measurement
(noise, dropped points) for each frame.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from minkowski_perception.frame import Frame
from minkowski_perception.lab.simulation.noise import beam_count, beam_of

Rng = np.random.Generator

_BRIGHTEST = 255.0


@dataclass(frozen=True)
class Jitter:
    """Adds Gaussian noise to points.

    Attributes:
        sigma: its standard deviation, metres.
    """

    sigma: float = 0.01

    def __call__(self, clip: Sequence[Frame], rng: Rng) -> list[Frame]:
        """Return a noisy copy."""
        return [
            replace(frame, points=frame.points + _normal(rng, frame.points.shape, self.sigma))
            for frame in clip
        ]


@dataclass(frozen=True)
class DropPoints:
    """Drops points.

    Attributes:
        ratio: least and largest share of a frame's points.
    """

    ratio: tuple[float, float] = (0.2, 0.2)

    def __call__(self, clip: Sequence[Frame], rng: Rng) -> list[Frame]:
        """Return a thinner copy."""
        return [
            frame.subset(rng.random(len(frame)) >= ratio)
            for frame, ratio in zip(clip, rng.uniform(*self.ratio, len(clip)), strict=True)
        ]


@dataclass(frozen=True)
class DropBeams:
    """Drops beams of a spinning LiDAR, the same in all frames.

    Attributes:
        ratio: least and largest share of the beams.
        spacing: degrees of elevation of one beam.
    """

    ratio: tuple[float, float] = (0.0, 0.5)
    spacing: float = 0.4

    def __call__(self, clip: Sequence[Frame], rng: Rng) -> list[Frame]:
        """Return a copy with fewer beams."""
        lost = rng.random(beam_count(self.spacing)) < rng.uniform(*self.ratio)
        return [frame.subset(~lost[beam_of(frame, self.spacing)]) for frame in clip]


@dataclass(frozen=True)
class ShiftIntensity:
    """Brightens or darkens intensity (0 to 1).

    Attributes:
        gain: least and largest factor.
        shift: largest value that is added or subtracted.
    """

    gain: tuple[float, float] = (0.8, 1.2)
    shift: float = 0.1

    def __call__(self, clip: Sequence[Frame], rng: Rng) -> list[Frame]:
        """Return a copy with other intensity, where there is any."""
        gain, shift = rng.uniform(*self.gain), rng.uniform(-self.shift, self.shift)
        return [
            frame
            if frame.intensity is None
            else replace(
                frame,
                intensity=np.clip(gain * frame.intensity + shift, 0.0, 1.0).astype(np.float32),
            )
            for frame in clip
        ]


@dataclass(frozen=True)
class SpeckleIntensity:
    """Multiplies intensity (0 to 1) by noise of each point and by a gain of each beam.

    Both are log-normal; their standard deviations are drawn once for a clip.

    Attributes:
        points: least and largest standard deviation of the points' logarithms.
        beams: the same of the beams' logarithms.
        spacing: degrees of elevation of one beam.
    """

    points: tuple[float, float] = (0.0, 0.3)
    beams: tuple[float, float] = (0.0, 0.2)
    spacing: float = 0.4

    def __call__(self, clip: Sequence[Frame], rng: Rng) -> list[Frame]:
        """Return a copy with speckled intensity, where there is any."""
        speckle, spread = rng.uniform(*self.points), rng.uniform(*self.beams)
        gains = spread * rng.normal(size=beam_count(self.spacing))
        frames = []
        for frame in clip:
            if frame.intensity is not None:
                noise = gains[beam_of(frame, self.spacing)] + _normal(rng, (len(frame),), speckle)
                speckled = (frame.intensity * np.exp(noise)).clip(0.0, 1.0)
                frame = replace(frame, intensity=speckled.astype(np.float32))
            frames.append(frame)
        return frames


@dataclass(frozen=True)
class AutoContrast:
    """Stretches each colour to its full range, and blends the result with the original."""

    def __call__(self, clip: Sequence[Frame], rng: Rng) -> list[Frame]:
        """Return a copy with more contrast."""
        colours = [frame.colour for frame in clip if frame.colour is not None and len(frame)]
        if not colours:
            return list(clip)
        low = np.min([colour.min(axis=0) for colour in colours], axis=0).astype(float)
        high = np.max([colour.max(axis=0) for colour in colours], axis=0).astype(float)
        span = np.maximum(high - low, 1.0)
        blend = rng.random()
        return _recoloured(
            clip, lambda c: (1.0 - blend) * c + blend * (c - low) * (_BRIGHTEST / span)
        )


@dataclass(frozen=True)
class ShiftColour:
    """Shifts red, green and blue.

    Attributes:
        ratio: largest shift in either direction, a share of the full range.
    """

    ratio: float = 0.1

    def __call__(self, clip: Sequence[Frame], rng: Rng) -> list[Frame]:
        """Return a copy with other colours."""
        shift = rng.uniform(-1.0, 1.0, 3) * self.ratio * _BRIGHTEST
        return _recoloured(clip, lambda colour: colour + shift)


@dataclass(frozen=True)
class JitterColour:
    """Adds Gaussian noise to colours.

    Attributes:
        sigma: its standard deviation, a share of the full range.
    """

    sigma: float = 0.05

    def __call__(self, clip: Sequence[Frame], rng: Rng) -> list[Frame]:
        """Return a copy with noisy colours."""
        return _recoloured(clip, lambda c: c + _normal(rng, c.shape, self.sigma * _BRIGHTEST))


def _normal(rng: Rng, shape: tuple[int, ...], sigma: float) -> npt.NDArray[np.float32]:
    return np.float32(sigma) * rng.standard_normal(shape, dtype=np.float32)


def _recoloured(
    clip: Sequence[Frame], change: Callable[[npt.NDArray[np.floating]], npt.NDArray[np.floating]]
) -> list[Frame]:
    """Return frames with their colours, if any, changed by a function on floats 0 to 255."""
    frames = []
    for frame in clip:
        if frame.colour is not None:
            changed = change(frame.colour.astype(np.float32)).clip(0.0, _BRIGHTEST)
            frame = replace(frame, colour=np.round(changed).astype(np.uint8))
        frames.append(frame)
    return frames
