# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""How RViz shows the clouds of a model: its configuration, and where the legend stands in it.

The launch files import this module, so it needs neither PyTorch nor ROS.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np
import numpy.typing as npt

from minkowski_perception.labels import LabelSet
from minkowski_perception.schema import read_yaml

FRAME = "minkowski_view"
"""Frame at the sensor with z up, in which RViz shows clouds unless another one is given."""

_FAR = 15.0
"""Metres; a model whose clouds do not reach further is for rooms."""
_WEIGHTS = resources.files("minkowski_perception") / "weights"
_INDOORS = "floor"
"""Class that the label sets of rooms have, and those of streets have not."""


@dataclass(frozen=True)
class View:
    """A configuration of RViz that looks from behind the sensor, and the place of its legend.

    Attributes:
        config: file name of the configuration.
        line: metres from one name to the next.
        beside: metres from the sensor to the left, where the names are centred.
        middle: metres above the sensor, where the column of names is centred.
    """

    config: str
    line: float
    beside: float
    middle: float

    @property
    def text(self) -> float:
        """Height of the letters, metres: less than a line, which the viewer sees from above."""
        return 0.7 * self.line

    def places(self, count: int) -> npt.NDArray[np.float64]:
        """Return where so many names stand, from the top: [count, 3] metres, z up."""
        places = np.zeros((count, 3))
        places[:, 1] = self.beside
        places[:, 2] = self.middle + self.line * ((count - 1) / 2 - np.arange(count))
        return places


OUTDOORS = View("perception.rviz", line=1.0, beside=12.0, middle=7.0)
INDOORS = View("indoor.rviz", line=0.1, beside=1.4, middle=0.6)


def view_of(label_set: LabelSet, domain: Mapping[str, tuple[float, float]] | None = None) -> View:
    """Return the view of a model's clouds.

    Args:
        label_set: of the model.
        domain: statistics of its training, of which the range of the far points decides if it is
            there; otherwise the label set does.
    """
    if domain and "far_range" in domain:
        return INDOORS if domain["far_range"][1] < _FAR else OUTDOORS
    return INDOORS if _INDOORS in label_set.names else OUTDOORS


def view_of_model(name: str) -> View:
    """Return the view of a model, given its name or the path of its card or weights."""
    if Path(name).suffix:
        return view_of_card(Path(name).with_suffix(".yaml"))
    return view_of_card(Path(str(_WEIGHTS / f"{name}.yaml")))


def view_of_card(path: Path) -> View:
    """Return the view of a model, given the path of its card; `OUTDOORS` if that is no card."""
    try:
        card = read_yaml(path)
        content = card["label_set"]
        read = LabelSet.load if isinstance(content, str) else LabelSet.from_dict
        return view_of(read(content), card.get("domain"))
    except (ValueError, KeyError, TypeError, IndexError):
        return OUTDOORS  # the node says what is wrong with the card
