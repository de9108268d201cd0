# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Detection of the order of a kernel's slices from its weights, where shapes leave it open.

In trained weights, slices of neighbouring offsets are similar, so their similarity is larger in
the right order than in a wrong one. Networks trained on scenes rotated about the vertical axis
treat both horizontal axes alike and the vertical one differently, which reveals an exchange of the
first and the last axis. If the weights are inconclusive, importers decide by code base or date.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from minkowski_perception.sparse import KernelRegion, cube, hybrid

_CLEAR_SIMILARITY = 0.05
_CLEAR_VERTICAL = 0.02


@dataclass(frozen=True)
class Evidence:
    """The order that weights indicate.

    Attributes:
        order: the order; None if the weights are inconclusive.
        figures: the measured values, as text.
    """

    order: str | None
    figures: str


def block_order_of(kernels: Iterable[Tensor]) -> Evidence:
    """Distinguish hybrid from cube order by the similarity of neighbouring slices.

    Args:
        kernels: [27, C_in, C_out] each, 3 voxels along each axis.
    """
    kernels = list(kernels)
    in_hybrid, in_cube = (
        _mean(_similarity(kernel, region) for kernel in kernels)
        for region in (hybrid((3, 3, 3)), cube((3, 3, 3)))
    )
    figures = (
        f"similarity of neighbouring slices {in_hybrid:.2f} in hybrid order, "
        f"{in_cube:.2f} in cube order"
    )
    if not abs(in_hybrid - in_cube) >= _CLEAR_SIMILARITY:  # NaN if all weights are zero
        return Evidence(None, figures)
    return Evidence("hybrid" if in_hybrid > in_cube else "cube", figures)


def even_order_of(kernels: Iterable[Tensor]) -> Evidence:
    """Distinguish first-axis from last-axis order by the axis that acts as vertical, z.

    Args:
        kernels: [8, C_in, C_out] each, 2 voxels along each axis.
    """
    contrasts = torch.tensor([_contrasts(kernel) for kernel in kernels]).reshape(-1, 3)
    contrasts = contrasts / contrasts.mean(dim=1, keepdim=True)
    # In first-axis order column 0 is x and column 2 is z; in last-axis order it is the reverse.
    x, y, z = contrasts.unbind(dim=1)
    vertical = _mean(((z - y).abs() - (x - y).abs()).tolist())
    figures = f"contrast of the last axis {vertical:+.3f} in first-axis order"
    if not abs(vertical) >= _CLEAR_VERTICAL:
        return Evidence(None, figures)
    return Evidence("first-axis" if vertical > 0 else "last-axis", figures)


def _similarity(kernel: Tensor, region: KernelRegion) -> float:
    """Mean inner product of slices one step apart, divided by the mean squared norm."""
    slices = kernel.flatten(1).double()
    products = slices @ slices.T
    offsets = torch.tensor(region.offsets)
    neighbours = torch.cdist(offsets.double(), offsets.double(), p=1) == 1
    return float(products[neighbours].mean() / products.diagonal().mean())


def _contrasts(kernel: Tensor) -> list[float]:
    """Norm of the difference of the two halves along each axis, fastest axis first."""
    box = kernel.double().reshape(2, 2, 2, -1)
    return [float((box.select(a, 0) - box.select(a, 1)).norm()) for a in (2, 1, 0)]


def _mean(values: Iterable[float]) -> float:
    values = list(values)
    return sum(values) / max(len(values), 1)
