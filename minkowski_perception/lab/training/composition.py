# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Augmentations put together from parts, as recipes list them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minkowski_perception.frame import Frame
from minkowski_perception.lab.training.augment import Augmentation
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
from minkowski_perception.lab.training.place import (
    Crop,
    Elastic,
    Flip,
    ForgetMotion,
    Mount,
    Reverse,
    Rotate,
    Scale,
    Shift,
)
from minkowski_perception.lab.training.schema import RecipeError, named, read

Rng = np.random.Generator
Another = Callable[[], Sequence[Frame]]
"""Draws another clip from where a clip came from."""

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


@dataclass(frozen=True)
class Augment:
    """Parts that vary a clip, one after the other.

    Attributes:
        parts: each with the share of clips that it is for. A part is a change of the clip, a mix
            with another clip (as the parts before made it), or several of which one is drawn.
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


def read_augmentation(value: Any, where: str) -> Augment:
    """Read an augmentation: a list of parts, or the settings of the part "lidar" alone.

    A part is NAME or {NAME: settings}; a setting `share` is the share of clips that it is for.

    Raises:
        RecipeError: a part or a setting is unknown or impossible; the valid ones are listed.
    """
    if isinstance(value, Mapping):
        value = [{"lidar": value}]
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise RecipeError(f"{where} must be a list of parts, not {value!r}")
    return Augment(tuple(_part(item, f"{where}[{i}]") for i, item in enumerate(value)))


def _part(item: Any, where: str) -> tuple[float, Any]:
    name, settings = named(item, where, _NAMES)
    where = f"{where}.{name}"
    if name == _ONE_OF:
        if not isinstance(settings, Sequence) or not settings:
            raise RecipeError(f"{where} must be a list of parts")
        choices = [_part(choice, f"{where}[{i}]") for i, choice in enumerate(settings)]
        if any(share != 1.0 or isinstance(part, tuple) for share, part in choices):
            raise RecipeError(f"{where}: its parts take no share, and are no {_ONE_OF}")
        return 1.0, tuple(part for _, part in choices)
    if not isinstance(settings, Mapping):
        raise RecipeError(f"{where} must be a mapping of its settings, not {settings!r}")
    share = settings.get("share", 1.0)
    if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0.0 <= share <= 1.0:
        raise RecipeError(f"{where}.share must be 0 to 1, not {share!r}")
    others = {key: setting for key, setting in settings.items() if key != "share"}
    return float(share), read({**_CHANGES, **_MIXES}[name], others, where)
