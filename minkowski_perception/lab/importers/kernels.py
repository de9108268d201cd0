# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The orders in which other libraries keep the slices of a kernel, and the way to ours.

All of them compute out[u] = sum_k in[u + offset_k] @ kernel[k] as we do, without a flip, the
transposed convolution reusing the table of the strided one. Only the order of the offsets differs,
so every conversion is a permutation that follows from two lists of them.
"""

from __future__ import annotations

from torch import Tensor

from minkowski_perception.sparse import KernelRegion


def first_axis_fastest(region: KernelRegion) -> KernelRegion:
    """Boxes of MinkowskiEngine: odd ones in every version, even ones since 0.3.2."""
    return KernelRegion(tuple(sorted(region.offsets, key=lambda offset: offset[::-1])))


def last_axis_fastest(region: KernelRegion) -> KernelRegion:
    """Boxes of spconv, and even ones of MinkowskiEngine up to 0.3.1 and of TorchSparse."""
    return KernelRegion(tuple(sorted(region.offsets)))


def torchsparse_order(region: KernelRegion) -> KernelRegion:
    """Boxes of TorchSparse: which axis runs fastest depends on whether the volume is odd."""
    order = first_axis_fastest if len(region) % 2 else last_axis_fastest
    return order(region)


def reordered(kernel: Tensor, source: KernelRegion, target: KernelRegion) -> Tensor:
    """Slices [K, ...] in the order of `source`'s offsets, put in the order of `target`'s.

    Raises:
        KeyError: an offset of `target` is not in `source`.
    """
    slot = {offset: k for k, offset in enumerate(source.offsets)}
    return kernel[[slot[offset] for offset in target.offsets]]


def slices_of_box(weight: Tensor) -> Tensor:
    """Slices [K, C_in, C_out], last axis fastest, of spconv's weight [C_out, *sizes, C_in].

    A box of one voxel it does not transpose: it reads its memory as if it were [C_in, C_out].
    """
    outputs, *sizes, inputs = weight.shape
    if set(sizes) == {1}:
        return weight.reshape(1, inputs, outputs)
    return weight.movedim(0, -1).flatten(0, -3)
