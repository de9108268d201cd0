# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Helpers for tests of converted networks."""

from importlib import resources
from pathlib import Path

import torch

from minkowski_perception.sparse import SparseTensor

TRAINED = Path(
    str(
        resources.files("minkowski_perception")
        / "lab/benchmarks/ablation_models/ablation_hybrid.yaml"
    )
)
"""A trained symmetric 4D model with known kernel orders."""


def some_voxels(dimension, channels, extent=16):
    """Return voxels [N, dimension] from 0 to extent - 1 per axis, and features [N, channels]."""
    random = torch.Generator().manual_seed(dimension)
    voxels = torch.randint(0, extent, (150, 3), generator=random)
    voxels = torch.cat([voxels, torch.tensor([[0, 0, 0], [extent - 1] * 3])])
    if dimension == 4:
        voxels = torch.cat([voxels, torch.randint(0, 3, (len(voxels), 1), generator=random)], 1)
    voxels = torch.unique(voxels, dim=0)
    return voxels, torch.randn(len(voxels), channels, generator=random)


def largest_difference(network, coordinates, features, expected, clip=False):
    """Return the largest logit error relative to the spread of the expected logits."""
    batch = torch.nn.functional.pad(coordinates, (1, 0))
    with torch.no_grad():
        logits = network.class_logits(SparseTensor(features, batch, clip=clip)).at(batch)
    return float((logits - expected).abs().max() / expected.std())
