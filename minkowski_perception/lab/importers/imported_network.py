# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Options and result of an importer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from minkowski_perception.lab.importers.layouts import Arguments
from minkowski_perception.lab.importers.source_datasets import SourceDataset
from minkowski_perception.networks.crf import TrilateralCRF
from minkowski_perception.networks.network import Network


@dataclass(frozen=True)
class Orders:
    """Orders of kernel slices that a checkpoint's shapes leave open.

    Attributes:
        block: for kernels of size 3 in the blocks of a 3D network.
        even: for kernels of size 2.
    """

    block: Literal["auto", "hybrid", "cube"] = "auto"
    even: Literal["auto", "first-axis", "last-axis"] = "auto"


@dataclass(frozen=True)
class ImportedNetwork:
    """A network with the weights of a checkpoint.

    Attributes:
        family: the recognised code base and layout.
        arguments: arguments of `build_network`.
        network: the network, in evaluation mode.
        source_datasets: data sets that it may have been trained on, the likeliest first.
        decisions: by subject, each choice that the file leaves open, with its reason.
        window: number of frames in a training window.
        crf: the CRF that refines the network's logits, in evaluation mode, or None.
    """

    family: str
    arguments: Arguments
    network: Network
    source_datasets: tuple[SourceDataset, ...]
    decisions: Mapping[str, str]
    window: int = 1
    crf: TrilateralCRF | None = None
