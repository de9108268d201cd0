# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Orders of kernel slices in other libraries, and their conversion to ours.

All libraries compute out[u] = sum_k in[u + offset_k] @ kernel[k], as we do, without a flip. The
transposed convolution reuses the kernel map of the strided one. Only the order of the offsets
differs, so a conversion is a permutation, given by two lists of offsets.
"""

from __future__ import annotations

from torch import Tensor

from minkowski_perception.sparse import KernelRegion


def first_axis_fastest(region: KernelRegion) -> KernelRegion:
    """Order boxes as MinkowskiEngine: odd ones in all versions, even ones since 0.3.2."""
    return KernelRegion(tuple(sorted(region.offsets, key=lambda offset: offset[::-1])))


def last_axis_fastest(region: KernelRegion) -> KernelRegion:
    """Order boxes as spconv; even ones also as MinkowskiEngine up to 0.3.1 and TorchSparse."""
    return KernelRegion(tuple(sorted(region.offsets)))


def torchsparse_order(region: KernelRegion) -> KernelRegion:
    """Order boxes as TorchSparse: first axis fastest if the volume is odd, else last axis."""
    order = first_axis_fastest if len(region) % 2 else last_axis_fastest
    return order(region)


def reordered(kernel: Tensor, source: KernelRegion, target: KernelRegion) -> Tensor:
    """Permute slices [K, ...] from the order of `source`'s offsets to that of `target`'s.

    Raises:
        KeyError: an offset of `target` is not in `source`.
    """
    slot = {offset: k for k, offset in enumerate(source.offsets)}
    return kernel[[slot[offset] for offset in target.offsets]]


def slices_of_box(weight: Tensor) -> Tensor:
    """Return slices [K, C_in, C_out], last axis fastest, of spconv's [C_out, *sizes, C_in].

    spconv does not transpose a box of one voxel: it reads the memory as [C_in, C_out].
    """
    outputs, *sizes, inputs = weight.shape
    if set(sizes) == {1}:
        return weight.reshape(1, inputs, outputs)
    return weight.movedim(0, -1).flatten(0, -3)
