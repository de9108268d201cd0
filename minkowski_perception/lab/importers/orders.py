# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Which of two orders a kernel's slices have, where a checkpoint's shapes leave it open.

Trained weights tell. Slices of neighbouring offsets grow alike, so in the right order the
neighbours' likeness is larger than in a wrong one. And networks that were trained on scenes turned
about the vertical axis treat the horizontal axes alike and the vertical one differently, which an
exchange of the first and the last axis makes visible. Where the weights say nothing, the reason is
the code or the date.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from minkowski_perception.sparse import KernelRegion, cube, hybrid

_CLEAR_LIKENESS = 0.05
_CLEAR_VERTICAL = 0.02


@dataclass(frozen=True)
class Evidence:
    """What the weights say.

    Attributes:
        order: the order; None if they do not tell.
        figures: what was measured, in words.
    """

    order: str | None
    figures: str


def block_order_of(kernels: Iterable[Tensor]) -> Evidence:
    """Tell hybrid from cube order by the likeness of neighbouring slices.

    Args:
        kernels: [27, C_in, C_out] each, 3 voxels along each axis.
    """
    kernels = list(kernels)
    in_hybrid, in_cube = (
        _mean(_likeness(kernel, region) for kernel in kernels)
        for region in (hybrid((3, 3, 3)), cube((3, 3, 3)))
    )
    figures = (
        f"neighbouring slices are alike by {in_hybrid:.2f} in hybrid order, "
        f"{in_cube:.2f} in cube order"
    )
    if not abs(in_hybrid - in_cube) >= _CLEAR_LIKENESS:  # nor NaN, of weights all zero
        return Evidence(None, figures)
    return Evidence("hybrid" if in_hybrid > in_cube else "cube", figures)


def even_order_of(kernels: Iterable[Tensor]) -> Evidence:
    """Tell which axis runs fastest by which one the network treats as the vertical one, z.

    Args:
        kernels: [8, C_in, C_out] each, 2 voxels along each axis.
    """
    contrasts = torch.tensor([_contrasts(kernel) for kernel in kernels]).reshape(-1, 3)
    contrasts = contrasts / contrasts.mean(dim=1, keepdim=True)
    # In first-axis order column 0 is x and column 2 z, and otherwise the reverse.
    x, y, z = contrasts.unbind(dim=1)
    vertical = _mean(((z - y).abs() - (x - y).abs()).tolist())
    figures = f"the last axis stands out by {vertical:+.3f} in first-axis order"
    if not abs(vertical) >= _CLEAR_VERTICAL:
        return Evidence(None, figures)
    return Evidence("first-axis" if vertical > 0 else "last-axis", figures)


def _likeness(kernel: Tensor, region: KernelRegion) -> float:
    """Mean inner product of slices one step apart, over that of slices with themselves."""
    slices = kernel.flatten(1).double()
    products = slices @ slices.T
    offsets = torch.tensor(region.offsets)
    neighbours = torch.cdist(offsets.double(), offsets.double(), p=1) == 1
    return float(products[neighbours].mean() / products.diagonal().mean())


def _contrasts(kernel: Tensor) -> list[float]:
    """How far the two halves along each axis differ, the axis that runs fastest first."""
    box = kernel.double().reshape(2, 2, 2, -1)
    return [float((box.select(a, 0) - box.select(a, 1)).norm()) for a in (2, 1, 0)]


def _mean(values: Iterable[float]) -> float:
    values = list(values)
    return sum(values) / max(len(values), 1)
