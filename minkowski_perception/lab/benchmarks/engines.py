# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Compares our engines with other libraries on the same networks, weights and voxels."""

from __future__ import annotations

import copy
import platform
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor

from minkowski_perception.lab.benchmarks import BenchmarkError
from minkowski_perception.lab.benchmarks.networks import NUM_CLASSES, count_macs
from minkowski_perception.lab.benchmarks.peers import MinkowskiPeer, SpconvPeer
from minkowski_perception.lab.benchmarks.scans import (
    FEATURES,
    Scan,
    simulated_points,
    simulated_scan,
)
from minkowski_perception.lab.benchmarks.timing import peak_memory, seconds
from minkowski_perception.networks import Network, build_network
from minkowski_perception.sparse import Engine, SparseTensor, quantize
from minkowski_perception.sparse.engines.base import EngineError, precision_name
from minkowski_perception.sparse.engines.torch_engine import TorchEngine

_NETWORKS: Mapping[str, Mapping[str, Any]] = {
    "MinkUNet14A": {"name": "MinkUNet14A"},
    "MinkUNet34C": {"name": "MinkUNet34C"},
    "MinkUNet34-W32": {"name": "MinkUNet34-W32"},
    "MinkUNet14A-4D-hybrid": {"name": "MinkUNet14A", "dimension": 4, "kernel": "hybrid"},
    "MinkUNet14A-4D-cube": {"name": "MinkUNet14A", "dimension": 4, "kernel": "cube"},
}
DEFAULT_NETWORKS = {
    "cpu": ("MinkUNet34C", "MinkUNet14A", "MinkUNet14A-4D-hybrid", "MinkUNet14A-4D-cube"),
    "cuda": tuple(_NETWORKS),
}

_POINTS = 131_072
"""Points of the cloud whose quantization is timed."""

_FRAMES = (1, 2, 3, 5, 8)
"""Numbers of frames in the 4D network's window, to measure how time grows with them."""

Forward = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Contender:
    """An engine or library that runs a network.

    Attributes:
        name: of the engine or library, with the precision unless it is float32.
        ours: whether it is an engine of this package.
        precision: of the products.
        forward: voxels [N, 1 + D] in canonical order and features [N, C] to logits [N, classes].
    """

    name: str
    ours: bool
    precision: torch.dtype
    forward: Forward


@dataclass
class Timing:
    """Time, memory and accuracy of a contender.

    Attributes:
        contender: the contender.
        seconds: time of each forward pass, kernel maps included.
        peak: peak memory that a pass adds, bytes; None if the system does not report it.
        labels_equal: share of voxels with the same label as from plain PyTorch in float32.
    """

    contender: Contender
    seconds: list[float] = field(default_factory=list)
    peak: int | None = None
    labels_equal: float = 1.0

    @property
    def median(self) -> float:
        """Median time of a forward pass, seconds."""
        return median(self.seconds)


@dataclass(frozen=True)
class Race:
    """All contenders on one network and one scan.

    Attributes:
        network: name of the network.
        scan: input of the network.
        macs: multiply-adds of a forward pass.
        timings: of each contender, plain PyTorch first.
        absent: reason why a contender did not run, by name.
    """

    network: str
    scan: Scan
    macs: int
    timings: list[Timing]
    absent: dict[str, str]

    def ours_in(self, low: bool = False) -> Timing:
        """Return our fastest engine in float32, or in a lower precision if `low`.

        Raises:
            ValueError: none of our engines runs in a lower precision.
        """
        ours = [
            t
            for t in self.timings
            if t.contender.ours and (t.contender.precision != torch.float32) == low
        ]
        return min(ours, key=lambda t: t.median)

    def ratios(self, low: bool = False) -> dict[str, float]:
        """Return the times of the other libraries over the time of `ours_in(low)`."""
        try:
            ours = self.ours_in(low).median
        except ValueError:
            return {}
        others = [t for t in self.timings if not t.contender.ours]
        return {t.contender.name: t.median / ours for t in others}


def build(name: str) -> Network:
    """Build a network with random but reproducible weights.

    Raises:
        BenchmarkError: an unknown network.
    """
    arguments = _arguments(name)
    torch.manual_seed(0)
    return build_network(
        in_channels=len(FEATURES), heads={"classes": NUM_CLASSES}, **arguments
    ).eval()


def dimension_of(name: str) -> int:
    """Return the dimension of a network.

    Raises:
        BenchmarkError: an unknown network.
    """
    return int(_arguments(name).get("dimension", 3))


def _arguments(name: str) -> Mapping[str, Any]:
    if name not in _NETWORKS:
        raise BenchmarkError(f"unknown network {name!r}; choose from {', '.join(_NETWORKS)}")
    return _NETWORKS[name]


def find_contenders(
    network: Network, device: torch.device
) -> tuple[list[Contender], dict[str, str]]:
    """Find the contenders that can run a network on a device, plain PyTorch first.

    Returns:
        the contenders; and the reasons why others cannot run it, by name.
    """
    present: list[Contender] = []
    absent: dict[str, str] = {}
    for ours, table in ((True, _OURS), (False, _PEERS)):
        for (name, precision), make in table[device.type].items():
            label = name if precision == torch.float32 else f"{name} {precision_name(precision)}"
            try:
                present.append(Contender(label, ours, precision, make(network, precision)))
            except (ImportError, EngineError) as error:
                absent[label] = str(error)
    return present, absent


def _torch(network: Network, _: torch.dtype) -> Forward:
    return _by(TorchEngine(), network)


def _numba(network: Network, precision: torch.dtype) -> Forward:
    from minkowski_perception.sparse.engines.numba_engine import NumbaEngine

    if precision not in NumbaEngine.precisions(torch.device("cpu")):
        raise EngineError(
            f"this CPU has no instructions for products of {precision_name(precision)}"
        )
    return _by(NumbaEngine(precision), network)


def _triton(network: Network, precision: torch.dtype) -> Forward:
    from minkowski_perception.sparse.engines.triton_engine import TritonEngine

    TritonEngine.check(torch.device("cuda"))
    return _by(TritonEngine(precision), network)


def _spconv_triton(network: Network, precision: torch.dtype) -> Forward:
    from minkowski_perception.sparse.engines.spconv_triton_engine import SpconvTritonEngine

    SpconvTritonEngine.check(torch.device("cuda"))
    return _by(SpconvTritonEngine(precision), network)


def _by(engine: Engine, network: Network) -> Forward:
    @torch.inference_mode()
    def forward(coordinates: Tensor, features: Tensor) -> Tensor:
        tensor = SparseTensor(features, coordinates, engine=engine)
        return network.class_logits(tensor).features

    return forward


def _spconv_triton_peer(network: Network, precision: torch.dtype) -> Forward:
    peer = SpconvPeer(copy.deepcopy(network).to(precision), "spconv_triton")
    return lambda coordinates, features: peer(coordinates, features.to(precision)).float()


_FLOAT, _HALF, _BRAIN = torch.float32, torch.float16, torch.bfloat16
_Makers = Mapping[str, Mapping[tuple[str, torch.dtype], Callable[[Network, torch.dtype], Forward]]]
_OURS: _Makers = {
    "cpu": {("torch", _FLOAT): _torch, ("numba", _FLOAT): _numba, ("numba", _BRAIN): _numba},
    "cuda": {
        ("torch", _FLOAT): _torch,
        ("triton", _FLOAT): _triton,
        ("triton", _HALF): _triton,
        ("triton", _BRAIN): _triton,
        ("spconv_triton", _FLOAT): _spconv_triton,
        ("spconv_triton", _HALF): _spconv_triton,
        ("spconv_triton", _BRAIN): _spconv_triton,
    },
}
_PEERS: _Makers = {
    "cpu": {
        ("minkowski", _FLOAT): lambda network, _: MinkowskiPeer(network),
        ("spconv", _FLOAT): lambda network, _: SpconvPeer(network),
    },
    "cuda": {
        ("spconv-triton's own", _FLOAT): _spconv_triton_peer,
        ("spconv-triton's own", _HALF): _spconv_triton_peer,
    },
}


def race(
    name: str,
    scan: Scan,
    device: torch.device,
    repeats: int,
    tick: Callable[[], object] = lambda: None,
    ours_alone: bool = False,
    only: Collection[str] | None = None,
) -> Race:
    """Let all contenders run a network on a scan in turns, each time another one first.

    Args:
        name: of the network.
        scan: input, of the network's dimension.
        device: to run on.
        repeats: number of timed passes of each, after two that are not timed.
        tick: called after every pass.
        ours_alone: leave other libraries out.
        only: contenders by name, "torch" among them; None for all.

    Raises:
        BenchmarkError: an unknown network.
    """
    network = build(name)
    macs = count_macs(network, scan)
    present, absent = find_contenders(network.to(device), device)
    if ours_alone:
        present = [contender for contender in present if contender.ours]
    if only is not None:
        present = [contender for contender in present if contender.name in only]
        absent = {name: reason for name, reason in absent.items() if name in only}
    tensor = SparseTensor(scan.features.to(device), scan.coordinates.to(device))
    voxels = tensor.coordinates, tensor.features
    timings = [Timing(contender) for contender in present]
    labels = None
    for timing in timings:
        best = timing.contender.forward(*voxels).argmax(dim=1)
        labels = best if labels is None else labels
        timing.labels_equal = float((best == labels).float().mean())
        timing.peak = peak_memory(partial(timing.contender.forward, *voxels), device)
        tick()
    for turn in range(repeats):
        first = turn % len(timings)
        for timing in timings[first:] + timings[:first]:
            timing.seconds.append(seconds(partial(timing.contender.forward, *voxels), device))
            tick()
    return Race(name, scan, macs, timings, absent)


@dataclass(frozen=True)
class MoreFigures:
    """Figures beside the races.

    Attributes:
        growth: our engines on the hybrid 4D network with longer and longer windows of 16 beams.
        quantization: seconds from 131,072 coordinates to voxels and inverse map.
        quantized: our engines on the smallest network and those voxels.
        matrix_rates: multiply-adds per second of PyTorch's products of large matrices.
    """

    growth: list[Race]
    quantization: float
    quantized: Race
    matrix_rates: dict[str, float]


def more_figures(device: torch.device, repeats: int) -> MoreFigures:
    """Measure the figures that need no other library."""
    growth = []
    for frames in _FRAMES:
        scan = simulated_scan(16, frames, dimension=4)
        growth.append(race("MinkUNet14A-4D-hybrid", scan, device, repeats, ours_alone=True))
    coordinates = simulated_points(_POINTS).to(device)
    voxels = quantize(coordinates).coordinates
    cloud = Scan("cloud", _POINTS, voxels, torch.ones(len(voxels), len(FEATURES)))
    return MoreFigures(
        growth,
        median(seconds(partial(quantize, coordinates), device) for _ in range(max(5, repeats))),
        race("MinkUNet14A", cloud, device, repeats, ours_alone=True),
        matrix_rates(device),
    )


def describe(device: torch.device) -> str:
    """Return the name of a device and the version of PyTorch."""
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
    else:
        cpuinfo = Path("/proc/cpuinfo")
        lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
        names = (line.partition(": ")[2] for line in lines if line.startswith("model name"))
        name = next(names, platform.processor() or platform.machine())
    return f"{name}, PyTorch {torch.__version__}"


def matrix_rates(device: torch.device) -> dict[str, float]:
    """Return multiply-adds per second of PyTorch's products of large matrices, by precision."""
    size = 2048 if device.type == "cpu" else 8192  # a GPU takes microseconds for smaller ones
    rates = {}
    for precision in (torch.float32, torch.bfloat16):
        left, right = (torch.randn(size, size, device=device).to(precision) for _ in range(2))
        best = min(seconds(partial(torch.mm, left, right), device) for _ in range(7))
        rates[precision_name(precision)] = size**3 / best
    return rates


def table(race: Race) -> str:
    """Return a race as lines of text, below 100 columns wide."""
    voxels = len(race.scan.coordinates)
    ours = race.ours_in().median
    lines = [
        "",
        f"{race.network} on {race.scan.name}: {race.scan.points:,} points in {voxels:,} voxels, "
        f"{race.macs / 1e9:.1f} GMAC",
        f"{'':<26}{'ms':>9}{'over ours':>11}{'GMAC/s':>9}{'us/voxel':>10}{'peak MB':>9}"
        f"{'B/voxel':>9}{'labels':>9}",
    ]
    for t in sorted(race.timings, key=lambda t: t.median):
        name = f"{t.contender.name} (ours)" if t.contender.ours else t.contender.name
        peak = ("-", "-") if t.peak is None else (f"{t.peak / 1e6:.0f}", f"{t.peak / voxels:.0f}")
        lines.append(
            f"{name:<26}{1e3 * t.median:>9.1f}{t.median / ours:>11.2f}"
            f"{race.macs / t.median / 1e9:>9.1f}{1e6 * t.median / voxels:>10.2f}"
            f"{peak[0]:>9}{peak[1]:>9}{t.labels_equal:>9.2%}"
        )
    lines += [f"without {name}: {reason}" for name, reason in race.absent.items()]
    return "\n".join(lines)


def summary(more: MoreFigures) -> str:
    """Return the figures beside the races as lines of text."""
    first = more.growth[0]
    lines = ["", f"{first.network} on {first.scan.name}, T frames together (ours)"]
    lines.append(f"{'T':>3}{'voxels':>10}{'ms':>9}{'us/voxel':>10}")
    for frames, race in zip(_FRAMES, more.growth, strict=True):
        time, voxels = race.ours_in().median, len(race.scan.coordinates)
        lines.append(f"{frames:>3}{voxels:>10,}{1e3 * time:>9.1f}{1e6 * time / voxels:>10.2f}")
    share = more.quantization / more.quantized.ours_in().median
    rates = more.matrix_rates.items()
    lines += [
        "",
        f"quantization and inverse map of {_POINTS:,} points: {1e3 * more.quantization:.1f} ms, "
        f"{share:.1%} of {more.quantized.network} on their voxels",
        "products of large matrices in PyTorch: "
        + ", ".join(f"{name} {rate / 1e9:.0f} GMAC/s" for name, rate in rates),
    ]
    return "\n".join(lines)


def report(machine: str, races: Sequence[Race], more: MoreFigures | None) -> dict[str, Any]:
    """Return all figures for JSON.

    For the first scan of each network, "ratios" holds the time of each other library over the
    time of our fastest engine in float32, "ratios_low" over our fastest in a lower precision.
    """
    first = {race.network: race for race in reversed(races)}
    figures: dict[str, Any] = {
        "machine": machine,
        "ratios": {name: race.ratios() for name, race in first.items()},
        "ratios_low": {name: race.ratios(low=True) for name, race in first.items()},
        "races": [_as_json(race) for race in races],
    }
    if more is not None:
        figures |= {
            "growth_with_frames": [_as_json(race) for race in more.growth],
            "quantization": {"seconds": more.quantization, "network": _as_json(more.quantized)},
            "matrix_rates": more.matrix_rates,
        }
    return figures


def _as_json(race: Race) -> dict[str, Any]:
    return {
        "network": race.network,
        "scan": race.scan.name,
        "points": race.scan.points,
        "voxels": len(race.scan.coordinates),
        "macs": race.macs,
        "contenders": {
            t.contender.name: {
                "ours": t.contender.ours,
                "seconds": t.seconds,
                "median": t.median,
                "peak_bytes": t.peak,
                "labels_equal": t.labels_equal,
            }
            for t in race.timings
        },
        "absent": race.absent,
    }
