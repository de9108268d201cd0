# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Measures the size of networks, and their multiply-adds and time on a scan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch
from torch import Tensor

from minkowski_perception.lab.benchmarks.scans import Scan
from minkowski_perception.lab.benchmarks.timing import seconds as seconds_of
from minkowski_perception.networks import Network, build_network
from minkowski_perception.sparse import Engine, KernelMap, SparseTensor
from minkowski_perception.sparse.engines.base import EngineError
from minkowski_perception.sparse.engines.torch_engine import TorchEngine
from minkowski_perception.sparse.selection import load_engine

_MADE_FOR = {"cpu": "numba", "cuda": "triton"}

NUM_CLASSES = 19  # SemanticKITTI

NETWORKS = (
    "MinkUNet18-W16",
    "MinkUNet18-W20",
    "MinkUNet18-W32",
    "MinkUNet34-W32",
    "MinkUNet34v2-W32",
    "SPVCNN-W16",
    "SPVCNN-W20",
    "SPVCNN-W32",
    "MinkUNet14A",
    "MinkUNet18A",
    "MinkUNet34C",
)
"""Networks that are measured by default."""


@dataclass(frozen=True)
class Published:
    """Figures that the authors of a network publish.

    Attributes:
        parameters: number of parameters, 10^6.
        macs: multiply-adds on SemanticKITTI in voxels of 5 cm, 10^9.
    """

    parameters: float
    macs: float


PUBLISHED_SOURCE = "README of github.com/mit-han-lab/spvnas, on SemanticKITTI at 5 cm"
PUBLISHED: Mapping[str, Published] = {
    "MinkUNet18-W16": Published(5.5, 28.5),
    "MinkUNet18-W20": Published(8.8, 45.9),
    "MinkUNet18-W32": Published(21.7, 113.9),
    "SPVCNN-W16": Published(5.5, 30.0),
    "SPVCNN-W20": Published(8.8, 47.4),
    "SPVCNN-W32": Published(21.8, 118.6),
}


@dataclass(frozen=True)
class NetworkFigures:
    """Measured figures of a network.

    Attributes:
        name: of the network.
        parameters: number of parameters.
        macs: multiply-adds of its convolutions and linear layers on the scan: C_in times C_out
            for each pair of the kernel maps.
        seconds: median time of a forward pass in float32, kernel maps included.
        published: figures of its authors, if any.
    """

    name: str
    parameters: int
    macs: int
    seconds: float
    published: Published | None


def measure(
    name: str,
    scan: Scan,
    device: torch.device,
    repeats: int = 3,
    config: Mapping[str, Any] | None = None,
) -> NetworkFigures:
    """Measure a network with random weights on a scan.

    Args:
        name: one of `network_names()`.
        scan: in 3D or 4D; the network gets the same dimension.
        device: to run on.
        repeats: number of timed forward passes.
        config: contents of a net.config, for SPVNAS.

    Raises:
        ValueError: an unknown network, or an invalid config.
    """
    network = build_network(
        name,
        in_channels=scan.features.shape[1],
        heads={"classes": NUM_CLASSES},
        dimension=scan.coordinates.shape[1] - 1,
        **({} if config is None else {"config": config}),
    ).eval()
    parameters = sum(parameter.numel() for parameter in network.parameters())
    macs = count_macs(network, scan)
    network.to(device)
    engine = _engine(device)
    features, coordinates = scan.features.to(device), scan.coordinates.to(device)

    def infer() -> None:
        with torch.no_grad():
            network.class_logits(SparseTensor(features, coordinates, engine=engine))

    infer()  # compiles, packs the weights
    seconds = median(seconds_of(infer, device) for _ in range(repeats))
    return NetworkFigures(name, parameters, macs, seconds, PUBLISHED.get(name))


def _engine(device: torch.device) -> Engine:
    """Return a device's own engine in float32, or PyTorch's if that is not installed."""
    try:
        return load_engine(_MADE_FOR[device.type], device)(torch.float32)
    except EngineError:
        return TorchEngine()


def count_macs(network: Network, scan: Scan) -> int:
    """Count the multiply-adds of a network on a scan, without doing them."""
    counter = _MacCounter()
    with torch.no_grad():
        network.eval().class_logits(SparseTensor(scan.features, scan.coordinates, engine=counter))
    return counter.macs


class _MacCounter(Engine):
    """Counts multiply-adds and returns zeros."""

    name = "count"

    def __init__(self) -> None:
        super().__init__()
        self.macs = 0

    def prepare(self, kernel: Tensor, bias: Tensor | None, last: bool) -> tuple[int, int]:
        """Return the numbers of input and output channels."""
        _, channels_in, channels_out = kernel.shape
        return channels_in, channels_out

    def convolve(
        self,
        features: Tensor,
        weights: tuple[int, int],
        kernel_map: KernelMap,
        residual: Tensor | None = None,
        relu: bool = False,
    ) -> Tensor:
        """Count multiply-adds; see `Engine.convolve` for shapes."""
        channels_in, channels_out = weights
        self.macs += len(kernel_map.pairs.inputs) * channels_in * channels_out
        return features.new_zeros(len(kernel_map.target), channels_out)


def table(scan: Scan, figures: Sequence[NetworkFigures]) -> str:
    """Return the figures as lines of text, below 80 columns wide."""
    lines = [
        f"{scan.name}: {scan.points:,} points in {len(scan.coordinates):,} voxels",
        "",
        f"{'':<18}{'':>12}{'published':>12}{'':>10}{'published':>12}{'':>10}",
        f"{'network':<18}{'parameters':>12}{'/ 10^6':>12}{'GMACs':>10}{'GMACs':>12}{'ms':>10}",
    ]
    for row in figures:
        published = row.published
        authors = (
            ("-", "-") if published is None else (f"{published.parameters}", f"{published.macs}")
        )
        lines.append(
            f"{row.name:<18}{row.parameters:>12,}{authors[0]:>12}{row.macs / 1e9:>10.1f}"
            f"{authors[1]:>12}{1e3 * row.seconds:>10.0f}"
        )
    lines += ["", f"published: {PUBLISHED_SOURCE}"]
    return "\n".join(lines)
