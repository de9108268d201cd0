# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Parameter layouts of other code bases, and loading of their tensors into our networks."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from minkowski_perception.lab.importers.checkpoint import Checkpoint, CheckpointError
from minkowski_perception.lab.importers.kernels import (
    reordered,
    slices_of_box,
)
from minkowski_perception.networks.network import Network
from minkowski_perception.networks.registry import build_network
from minkowski_perception.sparse import Convolution, KernelRegion

_LISTED = 20
_COUNTER = "num_batches_tracked"
"""Buffer of batch normalisation; absent from old checkpoints."""

_LINEAR = re.compile(r"(classifier|point_transforms)\.")
"""Our convolutions that other code bases keep as linear layers: [C_out, C_in], bias [C_out]."""

Arguments = Mapping[str, Any]
"""Arguments of `build_network`."""


@dataclass(frozen=True)
class Layout:
    """Names and orders of a network's parameters in another code base.

    Attributes:
        family: name of the layout.
        rules: regular expressions and their replacements, applied in turn, that convert our
            parameter name to theirs.
        order: returns their order of a kernel's offsets, given our parameter name and region.
        unused: regular expression of keys that their network stores but does not use.
    """

    family: str
    rules: tuple[tuple[str, str], ...]
    order: Callable[[str, KernelRegion], KernelRegion]
    unused: str | None = None

    def key(self, name: str) -> str:
        """Convert our name of a parameter to theirs."""
        for pattern, replacement in self.rules:
            name = re.sub(pattern, replacement, name)
        return name


def load_matching(
    checkpoint: Checkpoint, layout: Layout, candidates: Iterable[Arguments]
) -> tuple[Arguments, Network]:
    """Find the candidate that matches a checkpoint's keys and shapes, and load the weights.

    Returns:
        The arguments of `build_network`, and the network in evaluation mode.

    Raises:
        CheckpointError: no candidate matches; the differences from the nearest are listed.
    """
    best: tuple[int, Arguments, dict[str, list[str]]] | None = None
    for arguments in candidates:
        try:
            with torch.device("meta"):
                network = build_network(**arguments)
        except ValueError as error:
            raise CheckpointError(f"checkpoint {checkpoint.path}: {error}") from error
        problems = _problems(checkpoint.state, layout, network)
        count = sum(map(len, problems.values()))
        if best is None or count < best[0]:
            best = count, arguments, problems
        if not count:
            break
    assert best is not None, "no candidates"
    _, arguments, problems = best
    if any(problems.values()):
        nearest = arguments["name"] + (
            f" of width {arguments['width']:g}" if "width" in arguments else ""
        )
        raise CheckpointError(
            f"checkpoint {checkpoint.path} has the keys of {layout.family}, but matches no "
            f"network; the nearest is {nearest}: {_listed(problems)}"
        )
    network = build_network(**arguments)
    theirs = checkpoint.state
    parameters = [p for p in _parameters(network, layout) if p.key in theirs]
    broken = [p.key for p in parameters if not theirs[p.key].isfinite().all()]
    if broken:
        raise CheckpointError(f"checkpoint {checkpoint.path}: {_listed({'not finite': broken})}")
    network.load_state_dict(
        {p.name: p.ours(theirs[p.key], layout) for p in parameters}, strict=False
    )
    return arguments, network.eval()


@dataclass(frozen=True)
class _Parameter:
    """One of our parameters in another layout.

    Attributes:
        name: our name.
        key: their name.
        shape: their shape.
        region: offsets of a kernel's slices; None for other parameters.
        linear: whether they keep it as a linear layer.
    """

    name: str
    key: str
    shape: tuple[int, ...]
    region: KernelRegion | None = None
    linear: bool = False

    def ours(self, value: Tensor, layout: Layout) -> Tensor:
        """Convert their value to ours."""
        if value.is_floating_point():
            value = value.float()
        if self.linear:
            return value.T if value.dim() == 2 else value[None]
        if self.region is None:
            return value
        if self.key.endswith("weight"):
            value = slices_of_box(value)
        if len(self.region) == 1:
            return value.reshape(value.shape[-2:])
        return reordered(value, layout.order(self.name, self.region), self.region)


def _parameters(network: Network, layout: Layout) -> list[_Parameter]:
    modules = dict(network.named_modules())
    found = []
    for name, value in network.state_dict().items():
        key, shape = layout.key(name), tuple(value.shape)
        module = modules[name.rpartition(".")[0]]
        if not isinstance(module, Convolution):
            parameter = _Parameter(name, key, shape)
        elif _LINEAR.match(name):
            theirs = shape[1:] if name.endswith("bias") else shape[::-1]
            parameter = _Parameter(name, key, theirs, linear=True)
        elif name.endswith("bias"):
            parameter = _Parameter(name, key, shape)
        else:
            if key.endswith("weight"):
                axes = zip(*module.region.offsets, strict=True)
                sizes = (max(axis) - min(axis) + 1 for axis in axes)
                shape = (shape[-1], *sizes, shape[-2])
            parameter = _Parameter(name, key, shape, module.region)
        found.append(parameter)
    return found


def _problems(
    state: Mapping[str, Tensor], layout: Layout, network: Network
) -> dict[str, list[str]]:
    """List missing, unknown and misshapen parameters by their names in the layout."""
    wanted = {parameter.key: parameter for parameter in _parameters(network, layout)}
    unused = re.compile(layout.unused) if layout.unused else None
    return {
        "missing": [k for k in wanted if k not in state and not k.endswith(_COUNTER)],
        "unknown": [k for k in state if k not in wanted and not (unused and unused.match(k))],
        "misshapen": [
            f"{key} {list(state[key].shape)} instead of {list(parameter.shape)}"
            for key, parameter in wanted.items()
            if key in state and tuple(state[key].shape) != parameter.shape
        ],
    }


def _listed(problems: Mapping[str, list[str]]) -> str:
    parts = []
    for kind, keys in problems.items():
        more = f" and {len(keys) - _LISTED} more" if len(keys) > _LISTED else ""
        if keys:
            parts.append(f"{kind} {', '.join(keys[:_LISTED])}{more}")
    return "; ".join(parts)
