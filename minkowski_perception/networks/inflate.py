# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Inflation: a network of space becomes one of space and time that gives, at first, the same.

Each kernel of the 3D network becomes the present of the 4D one; what looks into the past and the
future begins at zero and is for training to find. (Carreira and Zisserman 2017 spread the weights
over time instead, which a frame without neighbours in time would weaken.)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch.nn.functional as F
from torch import Tensor

from minkowski_perception.networks.minkunet import SPATIAL_DIMENSION
from minkowski_perception.networks.network import Kernel, Network
from minkowski_perception.sparse import Convolution, KernelRegion

Move = Callable[[Tensor, KernelRegion, KernelRegion], Tensor]
"""Takes a kernel from the order of one region to that of another."""


def inflate(network: Network, kernel: Kernel = "hybrid") -> Network:
    """Return the 4D network whose logits are, on each frame, those of a 3D network.

    Args:
        network: in 3D; it stays as it is.
        kernel: region of the 4D network's blocks: "hybrid", "cube" or "causal" (with default
            links); "cross" for a network whose blocks have a cross in 3D.

    Raises:
        ValueError: the network is not in 3D, or the kernel has no place for its weights.
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
        state: of a network like `network`.
        network: in 3D.
        inflated: its twin in 4D; its weights play no part.

    Raises:
        ValueError: a kernel of the 4D network has no place for the weights of the 3D one.
    """
    return _refitted(state, network, inflated, _inflated)


def transfer(source: Network, target: Network, *, head: bool = True) -> None:
    """Give a network the weights of another of the same architecture, whatever its kernels.

    Each offset of a kernel takes the weights of the same offset; offsets that the source lacks,
    all of other instants where it is in 3D, begin at zero, as do features that the target sees
    beside those of the source, after them.

    Args:
        source: stays as it is.
        target: gets the weights.
        head: whether its last layer gets them too; else it stays as it is, as for other classes.

    Raises:
        ValueError: the architectures differ: a tensor is missing or of another shape.
    """
    given, state = _refitted(source.state_dict(), source, target, _moved), target.state_dict()
    if not head:
        given |= {key: own for key, own in state.items() if key.startswith(f"{target.head}.")}
    more = target.in_channels - source.in_channels
    for key in [key for key in given if more > 0 and given[key].ndim == 3 and key in state]:
        channels = given[key].shape[1], state[key].shape[1]
        if channels == (source.in_channels, target.in_channels):
            given[key] = F.pad(given[key], (0, 0, 0, more))
    wrong = [key for key in state if key not in given or given[key].shape != state[key].shape]
    if wrong or len(given) != len(state):
        raise ValueError(f"the networks differ in more than their kernels: {', '.join(wrong)}")
    target.load_state_dict(given)


def _refitted(
    state: Mapping[str, Tensor], source: Network, target: Network, move: Move
) -> dict[str, Tensor]:
    """State dictionary of one network with the kernels of another, moved layer by layer."""
    refitted, layers = dict(state), dict(source.named_modules())
    for name, layer in target.named_modules():
        twin = layers.get(name)
        if isinstance(layer, Convolution) and isinstance(twin, Convolution):
            key = f"{name}.kernel"
            if not layer.pointwise and not twin.pointwise:
                refitted[key] = move(state[key], twin.region, layer.region)
    return refitted


def _moved(kernel: Tensor, source: KernelRegion, target: KernelRegion) -> Tensor:
    """Kernel [K, C_in, C_out] in the order of another region, zeros where it has no weights."""
    padding = (0,) * (target.dimension - source.dimension)
    place = {(*offset, *padding): k for k, offset in enumerate(source.offsets)}
    moved = kernel.new_zeros(len(target), *kernel.shape[1:])
    for k, offset in enumerate(target.offsets):
        if offset in place:
            moved[k] = kernel[place[offset]]
    return moved


def _inflated(kernel: Tensor, flat: KernelRegion, deep: KernelRegion) -> Tensor:
    """Kernel [K4, C_in, C_out] with the slices of [K3, C_in, C_out] at the present."""
    place = {offset: k for k, offset in enumerate(deep.offsets)}
    present = [place.get((*offset, 0)) for offset in flat.offsets]
    if None in present:
        missing = flat.offsets[present.index(None)]
        raise ValueError(
            f"a kernel of {len(deep)} offsets in 4D has no place for the weights at {missing} "
            f"of one of {len(flat)} in 3D; choose kernel 'hybrid' or 'cube'"
        )
    return _moved(kernel, flat, deep)
