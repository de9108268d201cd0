# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Label sets: the classes of a model or a data set, their colours, and mappings between sets.

A label set is a YAML file: see `label_sets/`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt

from minkowski_perception.colours import readable
from minkowski_perception.schema import FILE_NAME, Range, SchemaError, read, read_yaml, unknown_at

UNLABELLED = 255
"""The id of a point without a label, as in vision_msgs/LabelInfo's 8-bit convention."""

UNLABELLED_COLOUR = (110, 110, 110)

MOVING_COLOUR = (255, 255, 255)
"""Colour of what moves, in pictures and in RViz; no class of the package's sets is near it."""

MOVING_IDS = {"semantickitti_raw": range(252, 260)}
"""Ids of moving objects, by data sets that distinguish them from static ones."""

_RAW_LABELS = 2**16
_FOLDER = resources.files("minkowski_perception") / "label_sets"
_SUFFIXES = (".yaml", ".yml")


class LabelSetError(ValueError):
    """A label set is missing or malformed, or has no mapping to another one."""


_Channel = Annotated[int, Range(0, 255)]


@dataclass(frozen=True)
class _Content:
    """Schema of a label set in YAML; the attributes are those of `LabelSet`."""

    name: Annotated[str, FILE_NAME]
    classes: Mapping[str, tuple[_Channel, _Channel, _Channel]]
    movable: tuple[str, ...] = ()
    sources: Mapping[str, Mapping[str | int, str]] = field(
        default_factory=dict, metadata={"key": "from"}
    )

    def __post_init__(self) -> None:
        if not 0 < len(self.classes) <= UNLABELLED:
            raise ValueError(f"there must be 1 to {UNLABELLED} classes, not {len(self.classes)}")
        for name in self.movable:
            self._check_class(name, "movable")
        for source, mapping in self.sources.items():
            for label, name in mapping.items():
                if isinstance(label, int) and not 0 <= label < _RAW_LABELS:
                    raise ValueError(f"from.{source}.{label}: ids are 0 to {_RAW_LABELS - 1}")
                self._check_class(name, f"from.{source}.{label}")

    def _check_class(self, name: str, path: str) -> None:
        if name not in self.classes:
            raise unknown_at(path, f"class '{name}'", name, self.classes)


@dataclass(frozen=True)
class LabelSet:
    """Classes 0 to K-1 with names and colours.

    Attributes:
        name: of the set, in models, bags and options.
        names: K class names; the position is the id.
        colours: K red, green, blue triples, 0 to 255.
        sources: for each other set that maps to this one, its labels (class names or raw ids) to
            class names of this set.
        movable: names of the classes whose members can move.
    """

    name: str
    names: tuple[str, ...]
    colours: tuple[tuple[int, int, int], ...]
    sources: Mapping[str, Mapping[str | int, str]] = field(default_factory=dict, repr=False)
    movable: tuple[str, ...] = field(default=(), repr=False)

    def __len__(self) -> int:
        return len(self.names)

    @classmethod
    def available(cls) -> list[str]:
        """Return the names of the sets that come with the package."""
        return sorted(Path(f.name).stem for f in _FOLDER.iterdir() if f.name.endswith(_SUFFIXES))

    @classmethod
    def load(cls, name: str | Path) -> LabelSet:
        """Read a set of the package by its name, or a YAML file by its path.

        Raises:
            LabelSetError: no such set or file (the valid names are listed), or a malformed one.
        """
        path = Path(name)
        if path.suffix not in _SUFFIXES:
            if str(name) not in cls.available():
                raise LabelSetError(
                    f"unknown label set '{name}'; choose one of {', '.join(cls.available())}, "
                    "or give the path of a .yaml file"
                )
            path = Path(str(_FOLDER / f"{name}.yaml"))
        try:
            return cls.from_dict(read_yaml(path))
        except SchemaError as error:
            raise LabelSetError(f"label set {path}: {error}") from error

    @classmethod
    def from_dict(cls, data: Any, path: str = "") -> LabelSet:
        """Build a set from the content of its YAML file.

        Args:
            data: the content.
            path: of the set in a larger file, for errors.

        Raises:
            SchemaError: the content does not describe a label set.
        """
        content = read(_Content, data, path)
        return cls(
            content.name,
            tuple(content.classes),
            tuple(content.classes.values()),
            content.sources,
            content.movable,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the content of its YAML file; `from_dict` reads it."""
        return {
            "name": self.name,
            "classes": {n: list(c) for n, c in zip(self.names, self.colours, strict=True)},
            "movable": list(self.movable),
            "from": {source: dict(mapping) for source, mapping in self.sources.items()},
        }

    def legend(self) -> list[dict[str, Any]]:
        """Return id, name and colour (red, green, blue) of each label, "unlabelled" last."""
        named = [*zip(range(len(self)), self.names, self.colours, strict=True)]
        named.append((UNLABELLED, "unlabelled", UNLABELLED_COLOUR))
        return [{"id": i, "name": name, "colour": list(colour)} for i, name, colour in named]

    @property
    def movable_ids(self) -> npt.NDArray[np.intp]:
        """Ids of the movable classes."""
        return np.array([self.names.index(name) for name in self.movable], dtype=np.intp)

    @property
    def divided_by_motion(self) -> tuple[str, ...]:
        """Classes that SemanticKITTI's ids divide into still and moving; none in other sets."""
        ids = MOVING_IDS["semantickitti_raw"]
        sources = self.sources.get("semantickitti_raw", {})
        found = {name for label, name in sources.items() if label in ids}
        return tuple(name for name in self.names if name in found)

    @property
    def palette(self) -> npt.NDArray[np.uint8]:
        """Colours by label, [256, 3] uint8; labels that are no class get the unlabelled grey."""
        table = np.full((256, 3), UNLABELLED_COLOUR, dtype=np.uint8)
        table[: len(self)] = self.colours
        return table

    @property
    def shown_colours(self) -> tuple[tuple[int, int, int], ...]:
        """The colours as RViz shows them: dark ones are lightened, see `colours.readable`."""
        return _shown(self.colours)

    @property
    def shown_palette(self) -> npt.NDArray[np.uint8]:
        """As `palette`, with the colours that RViz shows."""
        return replace(self, colours=self.shown_colours).palette

    def mapping_from(self, source: LabelSet | str) -> npt.NDArray[np.uint8]:
        """Return the lookup table from another set's labels to this set's ids.

        The mapping is that of this set's `sources`; the other set gives the ids of its classes.

        Args:
            source: a set, or the name of a set of the package or of raw ids of a data set.

        Returns:
            [65536] uint8; labels that map to no class are 255.

        Raises:
            LabelSetError: there is no mapping from `source`; the available ones are listed. Or a
                set of this one's name has other classes.
        """
        table = np.full(_RAW_LABELS, UNLABELLED, dtype=np.uint8)
        name = source if isinstance(source, str) else source.name
        if name == self.name:
            if isinstance(source, LabelSet) and source.names != self.names:
                raise LabelSetError(f"two label sets of different classes are named '{name}'")
            table[: len(self)] = np.arange(len(self))
            return table
        if name not in self.sources:
            available = ", ".join([self.name, *self.sources])
            raise LabelSetError(
                f"no mapping from label set '{name}' to '{self.name}'; available: {available}"
            )
        for label, target in self.sources[name].items():
            if isinstance(label, str):
                if isinstance(source, str):
                    source = LabelSet.load(source)
                if label not in source.names:
                    raise LabelSetError(f"label set '{name}' has no class '{label}'")
                label = source.names.index(label)
            table[label] = self.names.index(target)
        return table


@cache
def _shown(colours: tuple[tuple[int, int, int], ...]) -> tuple[tuple[int, int, int], ...]:
    return tuple(map(readable, colours))
