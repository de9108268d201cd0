# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What an importer is asked for, and what it makes of a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from minkowski_perception.lab.importers.fitting import Arguments
from minkowski_perception.lab.importers.homes import Home
from minkowski_perception.networks.crf import TrilateralCRF
from minkowski_perception.networks.network import Network


@dataclass(frozen=True)
class Orders:
    """Orders of slices where a checkpoint's shapes leave them open.

    Attributes:
        block: of kernels of 3 voxels in the blocks of a 3D network.
        even: of kernels of 2 voxels.
    """

    block: Literal["auto", "hybrid", "cube"] = "auto"
    even: Literal["auto", "first-axis", "last-axis"] = "auto"


@dataclass(frozen=True)
class Reading:
    """A checkpoint as a network of ours.

    Attributes:
        family: the code base and layout that it was recognised as.
        arguments: for `build_network`.
        network: with its weights, in evaluation mode.
        homes: what it may have been trained on, the likeliest first.
        decisions: what the file alone does not settle: subject, and choice with its reason.
        window: frames that it was trained on together.
        crf: what refines the network's logits, with its weights, in evaluation mode.
    """

    family: str
    arguments: Arguments
    network: Network
    homes: tuple[Home, ...]
    decisions: Mapping[str, str]
    window: int = 1
    crf: TrilateralCRF | None = None
