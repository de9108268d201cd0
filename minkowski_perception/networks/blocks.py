# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Convolutions that all families of networks are built of, and their kernel regions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from minkowski_perception.sparse import (
    MAX_RECALL,
    CausalConvolution,
    Convolution,
    KernelRegion,
    causal,
    cross,
    cube,
    hybrid,
)

SPATIAL_DIMENSION = 3
LEVELS = 5

Kernel = Literal["cube", "cross", "hybrid", "causal"]
LinkKind = Literal["none", "voxel", "cube"]
_LINK_SIZES = {"none": (), "voxel": (1, 1, 1), "cube": (3, 3, 3)}


def block_region(dimension: int, kernel: Kernel, size: int = 3) -> KernelRegion:
    """Region of the blocks' kernels: `size` voxels along each axis.

    "cube" is the whole box (in 4D the paper's tesseract), "cross" the axes alone, "hybrid" a
    spatial cube with a cross in time, "causal" a spatial cube; `Blocks` adds its links.

    Raises:
        ValueError: an unknown kernel; the valid ones are listed.
    """
    sizes = (size,) * dimension
    if kernel == "cube":
        return cube(sizes)
    if kernel == "cross":
        return cross(sizes)
    if kernel == "hybrid":
        return hybrid(sizes, cross_axes=range(SPATIAL_DIMENSION, dimension))
    if kernel == "causal" and dimension == SPATIAL_DIMENSION + 1:
        return causal((size,) * SPATIAL_DIMENSION)
    raise ValueError(
        "kernel must be 'cube', 'cross', 'hybrid' or, in 4D, 'causal', "
        f"not {kernel!r} in {dimension}D"
    )


@dataclass(frozen=True)
class Links:
    """Links of a causal network to earlier frames, in the first 3-kernel of blocks.

    Attributes:
        levels: for strides 1, 2, 4, 8 and 16: "none", "voxel" (to the same voxel) or "cube" (to
            the 3 x 3 x 3 voxels around it).
        recall: how many frames ago those may have been seen last.
    """

    levels: tuple[LinkKind, ...] = ("none", "voxel", "cube", "cube", "cube")
    recall: int = 1

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ValueError: one is not possible; the valid ones are listed.
        """
        if len(self.levels) != LEVELS or not set(self.levels) <= set(_LINK_SIZES):
            raise ValueError(
                f"links must be {LEVELS} of 'none', 'voxel' and 'cube', for strides 1, 2, 4, 8 "
                f"and 16, not {list(self.levels)}"
            )
        if not 1 <= self.recall <= MAX_RECALL:
            raise ValueError(f"recall must be 1 to {MAX_RECALL} frames, not {self.recall}")


DEFAULT_LINKS = Links()


class Blocks:
    """Factory of the 3-kernels of a network's blocks.

    Args:
        dimension: 3 or 4.
        kernel: region of the kernels.
        links: of a causal network.
    """

    def __init__(self, dimension: int, kernel: Kernel, links: Links) -> None:
        self.dimension = dimension
        self.region = block_region(dimension, kernel)
        self._links = links if kernel == "causal" else None

    @property
    def recall(self) -> int:
        """Number of frames that links reach back at once; 0 without links."""
        links = self._links
        return 0 if links is None or set(links.levels) == {"none"} else links.recall

    def first(self, in_channels: int, out_channels: int, level: int) -> Convolution:
        """Return a block's first kernel; `level` is 0 for stride 1, 4 for stride 16."""
        kind = "none" if self._links is None else self._links.levels[level]
        if self._links is None or kind == "none":
            return self.later(in_channels, out_channels)
        region = causal((3,) * SPATIAL_DIMENSION, _LINK_SIZES[kind])
        return CausalConvolution(in_channels, out_channels, region, self._links.recall)

    def later(self, in_channels: int, out_channels: int) -> Convolution:
        """Return a kernel without links."""
        return Convolution(in_channels, out_channels, self.region)


def spatial(dimension: int, value: int) -> tuple[int, ...]:
    """Return `value` along the spatial axes, 1 along time."""
    return (value,) * SPATIAL_DIMENSION + (1,) * (dimension - SPATIAL_DIMENSION)


def pointwise(
    in_channels: int, out_channels: int, dimension: int, bias: bool = False
) -> Convolution:
    """Return a convolution without neighbours: a linear layer on each voxel."""
    return Convolution(in_channels, out_channels, cube((1,) * dimension), bias=bias)
