# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Inflation: a 3D network becomes a 4D network with, at first, the same logits.

Each kernel of the 3D network becomes the present of the 4D kernel; weights of the past and the
future start at zero and are left to training. (Carreira and Zisserman 2017 spread the weights over
time instead, which would weaken a frame without neighbours in time.)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set

import torch.nn.functional as F
from torch import Tensor

from minkowski_perception.networks.blocks import SPATIAL_DIMENSION, Kernel
from minkowski_perception.networks.heads import CLASSES
from minkowski_perception.networks.network import Network
from minkowski_perception.sparse import Convolution, KernelRegion

Move = Callable[[Tensor, KernelRegion, KernelRegion], Tensor]
"""Reorders a kernel from one region to another."""


def inflate(network: Network, kernel: Kernel = "hybrid") -> Network:
    """Return a 4D network that gives, on each frame, the logits of a 3D network.

    Args:
        network: in 3D; not changed.
        kernel: region of the 4D network's blocks: "hybrid", "cube" or "causal" (with default
            links); "cross" for a network whose blocks have a cross in 3D.

    Raises:
        ValueError: the network is not in 3D, or the kernel lacks one of its offsets.
    """
    if network.dimension != SPATIAL_DIMENSION:
        raise ValueError(f"a network in {network.dimension}D cannot be inflated, only one in 3D")
    inflated = network.twin(SPATIAL_DIMENSION + 1, kernel)
    inflated.load_state_dict(inflate_state(network.state_dict(), network, inflated))
    return inflated.to(next(network.parameters()).device).train(network.training)


def inflate_state(
    state: Mapping[str, Tensor], network: Network, inflated: Network
) -> dict[str, Tensor]:
    """Return a 3D network's state dictionary as one for its twin in 4D.

    Args:
        state: of a network with the architecture of `network`.
        network: in 3D.
        inflated: its twin in 4D; its weights are not used.

    Raises:
        ValueError: a kernel of the 4D network lacks an offset of the 3D kernel.
    """
    return _refitted(state, network, inflated, _inflated)


def transfer(source: Network, target: Network, *, fresh_classes: bool = False) -> None:
    """Copy the weights of a network to another of the same architecture, with any kernels.

    Each offset of a kernel takes the weights of the same offset. Offsets that the source lacks
    (all other instants, where it is in 3D) start at zero, as do input features that the target has
    after those of the source. Support rows that the source lacks keep their fresh weights.

    Args:
        source: not changed.
        target: receives the weights.
        fresh_classes: whether the class head stays as it is, as for other classes. Other heads
            that the source lacks always stay as they are.

    Raises:
        ValueError: the architectures differ: a tensor is missing or of another shape.
    """
    given, state = _refitted(source.state_dict(), source, target, _moved), target.state_dict()
    theirs, ours = _optional(source), _optional(target)
    fresh = (ours - theirs) | ({target.prefix(CLASSES)} if fresh_classes else set())
    given = _without(given, theirs - ours)
    given |= {key: state[key] for key in state.keys() - _without(state, fresh).keys()}
    more = target.in_channels - source.in_channels
    for key in [key for key in given if more > 0 and given[key].ndim == 3 and key in state]:
        channels = given[key].shape[1], state[key].shape[1]
        if channels == (source.in_channels, target.in_channels):
            given[key] = F.pad(given[key], (0, 0, 0, more))
    wrong = [key for key in state if key not in given or given[key].shape != state[key].shape]
    if wrong or len(given) != len(state):
        raise ValueError(f"the networks differ in more than their kernels: {', '.join(wrong)}")
    target.load_state_dict(given)


def _optional(network: Network) -> set[str]:
    """Return the prefixes of weights that other networks of the architecture may lack."""
    support = {"support."} if network.support_channels else set()
    return {network.prefix(head) for head in network.options.heads} | support


def _without(state: Mapping[str, Tensor], prefixes: Set[str]) -> dict[str, Tensor]:
    """Return the weights without those whose keys begin with one of the prefixes."""
    return {key: value for key, value in state.items() if not key.startswith(tuple(prefixes))}


def _refitted(
    state: Mapping[str, Tensor], source: Network, target: Network, move: Move
) -> dict[str, Tensor]:
    """Return a state dictionary with its kernels reordered for another network."""
    refitted, layers = dict(state), dict(source.named_modules())
    for name, layer in target.named_modules():
        twin = layers.get(name)
        if isinstance(layer, Convolution) and isinstance(twin, Convolution):
            key = f"{name}.kernel"
            if not layer.pointwise and not twin.pointwise:
                refitted[key] = move(state[key], twin.region, layer.region)
    return refitted


def _moved(kernel: Tensor, source: KernelRegion, target: KernelRegion) -> Tensor:
    """Return a kernel [K, C_in, C_out] in the order of another region, zero at new offsets."""
    padding = (0,) * (target.dimension - source.dimension)
    index = {(*offset, *padding): k for k, offset in enumerate(source.offsets)}
    moved = kernel.new_zeros(len(target), *kernel.shape[1:])
    for k, offset in enumerate(target.offsets):
        if offset in index:
            moved[k] = kernel[index[offset]]
    return moved


def _inflated(kernel: Tensor, flat: KernelRegion, deep: KernelRegion) -> Tensor:
    """Return a kernel [K4, C_in, C_out] with the slices of [K3, C_in, C_out] at the present."""
    index = {offset: k for k, offset in enumerate(deep.offsets)}
    present = [index.get((*offset, 0)) for offset in flat.offsets]
    if None in present:
        missing = flat.offsets[present.index(None)]
        raise ValueError(
            f"a 4D kernel of {len(deep)} offsets lacks the offset {missing} of the 3D kernel of "
            f"{len(flat)}; choose kernel 'hybrid' or 'cube'"
        )
    return _moved(kernel, flat, deep)
