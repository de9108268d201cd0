# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Augmentation of clips, composed of the parts that a recipe lists."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np

from minkowski_perception.frame import Frame
from minkowski_perception.lab.training.augment import Augmentation
from minkowski_perception.lab.training.geometry import (
    Crop,
    Elastic,
    Flip,
    ForgetMotion,
    JitterPoses,
    Mount,
    Reverse,
    Rotate,
    Scale,
    Shift,
)
from minkowski_perception.lab.training.measurement import (
    AutoContrast,
    DropBeams,
    DropPoints,
    Jitter,
    JitterColour,
    ShiftColour,
    ShiftIntensity,
    SpeckleIntensity,
)
from minkowski_perception.lab.training.mixing import LaserMix, PolarMix
from minkowski_perception.schema import Range, error_at, named, read

Rng = np.random.Generator
Another = Callable[[], Sequence[Frame]]
"""Draws another clip from the source of a clip."""

_CHANGES: Mapping[str, type] = {
    "lidar": Augmentation,
    "rotate": Rotate,
    "scale": Scale,
    "flip": Flip,
    "shift": Shift,
    "elastic": Elastic,
    "crop": Crop,
    "reverse": Reverse,
    "mount": Mount,
    "forget_motion": ForgetMotion,
    "jitter_poses": JitterPoses,
    "jitter": Jitter,
    "drop_points": DropPoints,
    "drop_beams": DropBeams,
    "shift_intensity": ShiftIntensity,
    "speckle_intensity": SpeckleIntensity,
    "auto_contrast": AutoContrast,
    "shift_colour": ShiftColour,
    "jitter_colour": JitterColour,
}
_MIXES: Mapping[str, type] = {"laser_mix": LaserMix, "polar_mix": PolarMix}
_ONE_OF = "one_of"
_NAMES = {**_CHANGES, **_MIXES, _ONE_OF: None}


_SHARE = Annotated[float, Range(least=0.0, most=1.0)]


@dataclass(frozen=True)
class Augment:
    """Parts that vary a clip, one after the other.

    Attributes:
        parts: each with the share of clips that it is applied to. A part is a change of the clip,
            a mix with another clip (which the parts before have varied too), or a tuple of parts
            of which one is drawn.
    """

    parts: tuple[tuple[float, Any], ...]

    def __call__(self, clip: Sequence[Frame], rng: Rng, another: Another) -> list[Frame]:
        """Return a varied copy of the frames; `another` draws clips to mix with."""
        varied = list(clip)
        for index, (share, part) in enumerate(self.parts):
            if share < 1.0 and rng.random() >= share:
                continue
            if isinstance(part, tuple):
                part = part[int(rng.integers(len(part)))]
            if isinstance(part, (LaserMix, PolarMix)):
                before = Augment(self.parts[:index])
                varied = part(varied, before(another(), rng, another), rng)
            else:
                varied = part(varied, rng)
        return varied


def read_augmentation(value: Any, path: str) -> Augment:
    """Read an augmentation: a list of parts, or the settings of the single part "lidar".

    A part is NAME or {NAME: settings}; a setting `share` is the share of clips that it is applied
    to.

    Raises:
        SchemaError: a part or a setting is unknown or impossible; the valid ones are listed.
    """
    if isinstance(value, Mapping):
        value = [{"lidar": value}]
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise error_at(path, f"must be a list of parts, not {value!r}")
    return Augment(tuple(_part(item, f"{path}[{i}]") for i, item in enumerate(value)))


def _part(item: Any, path: str) -> tuple[float, Any]:
    name, settings = named(item, path, _NAMES)
    path = f"{path}.{name}"
    if name == _ONE_OF:
        if not isinstance(settings, Sequence) or isinstance(settings, str) or not settings:
            raise error_at(path, "must be a list of parts")
        choices = [_part(choice, f"{path}[{i}]") for i, choice in enumerate(settings)]
        if any(share != 1.0 or isinstance(part, tuple) for share, part in choices):
            raise error_at(path, f"its parts must have no share, and must not be {_ONE_OF}")
        return 1.0, tuple(part for _, part in choices)
    if not isinstance(settings, Mapping):
        raise error_at(path, f"must be a mapping of its settings, not {settings!r}")
    share = read(_SHARE, settings.get("share", 1.0), f"{path}.share")
    others = {key: setting for key, setting in settings.items() if key != "share"}
    return share, read({**_CHANGES, **_MIXES}[name], others, path)
