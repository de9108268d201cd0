# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Record MinkowskiEngine's logits for test/networks/test_golden.py.

The weights come from a formula (`lab.benchmarks.exactness.set_weights`), so a file holds only
voxels, features and logits: a few kilobytes.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from minkowski_perception.lab.benchmarks.exactness import set_weights
from minkowski_perception.lab.benchmarks.peers import MinkowskiPeer
from minkowski_perception.networks import build_network
from minkowski_perception.sparse import quantize
from minkowski_perception.sparse.engines.minkowski_engine import import_minkowski_engine

FOLDER = Path(__file__).resolve().parents[1] / "test" / "networks" / "golden"

NETWORKS = {
    "minkunet14a_3d": {"name": "MinkUNet14A", "dimension": 3, "kernel": "cube"},
    "minkunet34c_3d": {"name": "MinkUNet34C", "dimension": 3, "kernel": "cube"},
    "minkunet50_3d": {"name": "MinkUNet50", "dimension": 3, "kernel": "cube"},
    "minkunet14a_4d": {"name": "MinkUNet14A", "dimension": 4, "kernel": "cube"},
}
SIZE = {"in_channels": 3, "heads": {"classes": 8}, "width": 0.25}


def surface_voxels(dimension: int) -> torch.Tensor:
    """Return about 400 voxels of a curved surface around the origin, in two batches."""
    draw = np.random.default_rng(0)
    x, y = draw.integers(-20, 20, (2, 420))
    columns = [draw.integers(0, 2, 420), x, y, x * y // 50]
    if dimension == 4:
        columns.append(draw.integers(0, 3, 420))
    voxels = quantize(torch.from_numpy(np.stack(columns, axis=1))).coordinates
    return voxels[torch.from_numpy(draw.permutation(len(voxels)))]


def main() -> None:
    """Write one file for each network."""
    torch.manual_seed(0)
    FOLDER.mkdir(exist_ok=True)
    version = import_minkowski_engine().__version__
    for file_name, kind in NETWORKS.items():
        network = build_network(**kind, **SIZE)
        set_weights(network)
        coordinates = surface_voxels(kind["dimension"])
        features = torch.randn(len(coordinates), SIZE["in_channels"]).half()
        logits = MinkowskiPeer(network)(coordinates, features.float())
        save_file(
            {"coordinates": coordinates.to(torch.int8), "features": features, "logits": logits},
            FOLDER / f"{file_name}.safetensors",
            metadata={
                "network": json.dumps({**kind, **SIZE}),
                "recorded_with": f"MinkowskiEngine {version}",
            },
        )


if __name__ == "__main__":
    main()
