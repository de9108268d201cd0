# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Small models with random weights."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from minkowski_perception.labels import LabelSet
from minkowski_perception.networks import build_network
from minkowski_perception.networks.crf import TrilateralCRF
from minkowski_perception.networks.model import save_model


def save_tiny(
    path: Path,
    *,
    crf: bool = False,
    labels: str = "semantickitti19",
    features: Sequence[str] = ("one", "intensity"),
    **network: Any,
) -> None:
    """Save a U-Net for voxels of 0.5 m with random weights, and with a random CRF if `crf`."""
    torch.manual_seed(0)
    classes = len(LabelSet.load(labels))
    config = {"name": "MinkUNet14A", "in_channels": len(features), "heads": {"classes": classes}}
    config |= {"width": 0.125, "stem_kernel": 3, **network}
    card = {
        "name": path.name,
        "network": config,
        "label_set": labels,
        "window": 1 if config["dimension"] == 3 else 3,
        "input": {"voxel_size": 0.5, "features": list(features), "reduce": "mean"},
    }
    refiner = TrilateralCRF(classes, causal=True) if crf else None
    if refiner is not None:
        torch.nn.init.normal_(refiner.kernel)
    save_model(path, build_network(**config), card, crf=refiner)
