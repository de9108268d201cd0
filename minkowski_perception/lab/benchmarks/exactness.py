# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Compares the logits of our engines with MinkowskiEngine's: same weights and voxels, float32."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import count

import numpy as np
import torch
from torch import Tensor

from minkowski_perception.lab.benchmarks.networks import NUM_CLASSES
from minkowski_perception.lab.benchmarks.peers import MinkowskiPeer, Peer
from minkowski_perception.networks import Network, build_network
from minkowski_perception.networks.blocks import Kernel
from minkowski_perception.sparse import BatchNorm, Convolution, Engine, SparseTensor
from minkowski_perception.sparse.engines.base import EngineError
from minkowski_perception.sparse.selection import ENGINES, load_engine

LIMIT = 1e-4
"""Limit of the difference, as a share of the spread of the logits (largest minus smallest)."""

Case = tuple[str, int, Kernel]

CASES: tuple[Case, ...] = (
    ("MinkUNet14A", 3, "cube"),
    ("MinkUNet34C", 3, "cube"),
    ("MinkUNet50", 3, "cube"),
    ("MinkUNet14A", 4, "cube"),
    ("MinkUNet14A", 4, "hybrid"),
    ("MinkUNet14A", 4, "cross"),
)
"""Network, dimension, kernel. MinkowskiEngine 0.5.4 runs the last two as sums of boxes: it has no
hybrid kernels, and reads the weights of a cross like those of a cube."""


@dataclass(frozen=True)
class Difference:
    """Difference of an implementation from MinkowskiEngine.

    Attributes:
        network: name, dimension and kernel of the network.
        engine: the implementation.
        difference: largest difference of a logit, over the spread of the logits.
    """

    network: str
    engine: str
    difference: float

    @property
    def passed(self) -> bool:
        """Whether the difference is below the limit."""
        return self.difference < LIMIT


def set_weights(network: Network) -> None:
    """Set all weights by a formula that is the same everywhere and keeps activations near 1."""
    streams = count(1)

    def uniform(tensor: Tensor, low: float, high: float) -> None:
        # Raw output of NumPy's bit generators never changes between versions; distributions may.
        raw = np.random.PCG64(next(streams)).random_raw(tensor.numel()) >> np.uint64(40)
        values = torch.from_numpy(raw.astype(np.float32) / 2**24)
        tensor.copy_((low + (high - low) * values).reshape(tensor.shape))

    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, Convolution):
                # About a third of a kernel's offsets meet a voxel.
                fan = module.in_channels * (len(module.region) + 2) / 3
                uniform(module.kernel, -math.sqrt(3 / fan), math.sqrt(3 / fan))
                if module.bias is not None:
                    uniform(module.bias, -0.5, 0.5)
            elif isinstance(module, BatchNorm):
                norm = module.bn
                assert norm.running_mean is not None
                assert norm.running_var is not None
                uniform(norm.weight, 0.5, 1.5)
                uniform(norm.bias, -0.25, 0.25)
                uniform(norm.running_mean, -0.25, 0.25)
                uniform(norm.running_var, 0.5, 1.5)


def cpu_engines() -> list[Engine]:
    """Return our engines that run on this machine's CPU, in float32."""
    device = torch.device("cpu")
    kinds = []
    for name in ENGINES:
        with suppress(EngineError):
            kinds.append(load_engine(name, device))
    return [kind(torch.float32) for kind in kinds]


def infer(
    network: Network, coordinates: Tensor, features: Tensor, engine: Engine | None = None
) -> Tensor:
    """Return the logits [N, classes] of voxels [N, 1 + D] with features [N, C], row by row."""
    with torch.inference_mode():
        tensor = SparseTensor(features, coordinates, engine=engine)
        return network.eval().class_logits(tensor).in_input_order()


def relative_difference(logits: Tensor, expected: Tensor) -> float:
    """Return the largest difference of logits [N, classes], over the spread of the expected."""
    return float((logits - expected).abs().max() / (expected.max() - expected.min()))


def compare(
    case: Case,
    coordinates: Tensor,
    features: Tensor,
    engines: Sequence[Engine],
    peers: Sequence[type[Peer]] = (),
    width: float = 1.0,
) -> list[Difference]:
    """Compare engines and peers with MinkowskiEngine.

    Args:
        case: network, dimension D and kernel.
        coordinates: [N, 1 + D], distinct.
        features: [N, C].
        engines: engines of ours.
        peers: other libraries to compare too.
        width: factor on the network's widths.

    Raises:
        EngineError: MinkowskiEngine or a peer's library is not installed.
    """
    name, dimension, kernel = case
    network = build_network(
        name,
        in_channels=features.shape[1],
        heads={"classes": NUM_CLASSES},
        dimension=dimension,
        kernel=kernel,
        width=width,
    )
    set_weights(network)
    expected = MinkowskiPeer(network)(coordinates, features)
    logits = {engine.name: infer(network, coordinates, features, engine) for engine in engines}
    logits |= {f"{peer.name} itself": peer(network)(coordinates, features) for peer in peers}
    return [
        Difference(f"{name} {dimension}D {kernel}", engine, relative_difference(values, expected))
        for engine, values in logits.items()
    ]


def table(differences: Sequence[Difference]) -> str:
    """Return the differences as lines of text, below 80 columns wide."""
    lines = [f"{'network':<24}{'engine':<20}{'difference':>12}   of the spread of logits"]
    lines += [
        f"{row.network:<24}{row.engine:<20}{row.difference:>12.1e}   "
        f"{'exact' if row.passed else f'not below {LIMIT}'}"
        for row in differences
    ]
    return "\n".join(lines)
