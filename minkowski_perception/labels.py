# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Label sets: the classes of a model or a data set, their colours, and how sets map to each other.

A set is a YAML file (see `label_sets/`), so that a new one is data and not code.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import yaml

UNLABELLED = 255
"""The id of a point without a label, as in vision_msgs/LabelInfo's 8-bit convention."""

UNLABELLED_COLOUR = (110, 110, 110)


class LabelSetError(ValueError):
    """A label set is missing, malformed, or does not map to another one."""


@dataclass(frozen=True)
class LabelSet:
    """Classes 0 to K-1 with names and colours.

    Attributes:
        name: what models, bags and options call the set.
        names: K class names; the position is the id.
        colours: K red, green, blue triples, 0 to 255.
        sources: for each other set, its labels (names or ids) to class names of this set.
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
        """Names of the sets that come with the package."""
        folder = resources.files("minkowski_perception") / "label_sets"
        return sorted(Path(str(f)).stem for f in folder.iterdir() if str(f).endswith(".yaml"))

    @classmethod
    def load(cls, name: str | Path) -> LabelSet:
        """Read a set by its name, or from a YAML file by its path.

        Raises:
            LabelSetError: no such set or file (the valid names are listed), or a malformed one.
        """
        path = Path(name)
        if path.suffix not in (".yaml", ".yml"):
            if str(name) not in cls.available():
                raise LabelSetError(
                    f"unknown label set '{name}'; choose one of {', '.join(cls.available())}, "
                    "or give the path of a .yaml file"
                )
            folder = resources.files("minkowski_perception") / "label_sets"
            path = Path(str(folder / f"{name}.yaml"))
        try:
            return cls.from_dict(yaml.safe_load(path.read_text()))
        except OSError as error:
            raise LabelSetError(f"cannot read label set {path}: {error.strerror}") from error
        except (yaml.YAMLError, KeyError, TypeError, ValueError) as error:
            raise LabelSetError(f"label set {path} is malformed: {error!r}") from error

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> LabelSet:
        """Build a set from what its YAML says.

        Raises:
            KeyError, TypeError, ValueError: the mapping does not describe a label set.
        """
        classes: Mapping[str, Any] = data["classes"]
        if not 0 < len(classes) <= UNLABELLED:
            raise ValueError(f"{len(classes)} classes; 1 to {UNLABELLED} are possible")
        colours = []
        for name, colour in classes.items():
            red, green, blue = (int(c) for c in colour)
            if not all(0 <= c <= 255 for c in (red, green, blue)):
                raise ValueError(f"colour {colour} of class '{name}' is outside 0 to 255")
            colours.append((red, green, blue))
        sources = data.get("from") or {}
        for source, mapping in sources.items():
            wrong = set(mapping.values()) - set(classes)
            if wrong:
                raise ValueError(f"labels of '{source}' map to unknown classes {sorted(wrong)}")
        movable = tuple(data.get("movable") or ())
        if unknown := set(movable) - set(classes):
            raise ValueError(f"movable are the unknown classes {sorted(unknown)}")
        return cls(str(data["name"]), tuple(classes), tuple(colours), sources, movable)

    @property
    def movable_ids(self) -> npt.NDArray[np.intp]:
        """Ids of `movable`."""
        return np.array([self.names.index(name) for name in self.movable], dtype=np.intp)

    @property
    def palette(self) -> npt.NDArray[np.uint8]:
        """[256, 3] uint8: colour by label; ids that are no class get the unlabelled grey."""
        table = np.full((256, 3), UNLABELLED_COLOUR, dtype=np.uint8)
        table[: len(self)] = self.colours
        return table

    def mapping_from(self, source: LabelSet | str) -> npt.NDArray[np.uint8]:
        """Lookup table from another set's labels to this set's ids.

        Args:
            source: a set, or the name of a set whose labels are plain numbers (raw data set ids).

        Returns:
            [65536] uint8; labels that this set does not know are 255.

        Raises:
            LabelSetError: this set says nothing of `source`; the known sources are listed.
        """
        table = np.full(65536, UNLABELLED, dtype=np.uint8)
        source_name = source if isinstance(source, str) else source.name
        if source_name == self.name:
            table[: len(self)] = np.arange(len(self))
            return table
        if source_name not in self.sources:
            known = ", ".join([self.name, *self.sources])
            raise LabelSetError(
                f"labels of '{source_name}' cannot be told in '{self.name}'; known: {known}"
            )
        for label, name in self.sources[source_name].items():
            if isinstance(label, str):
                if isinstance(source, str):
                    source = LabelSet.load(source)
                if label not in source.names:
                    raise LabelSetError(f"'{source_name}' has no class '{label}'")
                label = source.names.index(label)
            table[label] = self.names.index(name)
        return table
