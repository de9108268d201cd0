# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The MinkUNet family: residual U-Nets of sparse convolutions in 3D and 4D.

Layer names, shapes and orders are those of Res16UNet in SpatioTemporalSegmentation and of
MinkowskiEngine's example (Choy et al. 2019), so that their state dictionaries fit. In 4D time is
never strided: the stem, the down- and the upsampling layers are spatial, and only the blocks'
3-kernels reach into neighbouring instants.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import nn

from minkowski_perception.networks.network import Kernel, Network
from minkowski_perception.sparse import (
    MAX_RECALL,
    BatchNorm,
    CausalConvolution,
    Convolution,
    KernelRegion,
    SparseTensor,
    TransposedConvolution,
    cat,
    causal,
    cross,
    cube,
    hybrid,
)

SPATIAL_DIMENSION = 3
LEVELS = 5

LinkKind = Literal["none", "voxel", "cube"]
_LINK_SIZES = {"none": (), "voxel": (1, 1, 1), "cube": (3, 3, 3)}


@dataclass(frozen=True)
class Architecture:
    """What distinguishes one MinkUNet from another.

    Attributes:
        layers: blocks in each of the four encoder and four decoder stages.
        planes: width of each of those stages.
        bottleneck: whether blocks are bottlenecks (1-3-1, four times wider) or basic (3-3).
        stem: width of the stem.
    """

    layers: tuple[int, ...]
    planes: tuple[int, ...]
    bottleneck: bool = False
    stem: int = 32

    def scaled(self, width: float) -> Architecture:
        """Return the same network with all widths multiplied, rounded down to multiples of 8."""
        planes = tuple(max(8, int(p * width) // 8 * 8) for p in (self.stem, *self.planes))
        return Architecture(self.layers, planes[1:], self.bottleneck, planes[0])


def block_region(dimension: int, kernel: Kernel, size: int = 3) -> KernelRegion:
    """Region of the blocks' kernels: `size` voxels along each axis.

    "cube" is the whole box (in 4D the paper's tesseract), "cross" the axes alone, "hybrid" a
    spatial cube with a cross in time, "causal" a spatial cube: its links are for `Blocks`.

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
    """Where a causal network looks back in time: in the first 3-kernel of blocks.

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
    """Makes the 3-kernels of a network's blocks.

    Args:
        dimension: 3 or 4.
        kernel: region of the kernels.
        links: of a causal network.
    """

    def __init__(self, dimension: int, kernel: Kernel, links: Links) -> None:
        self.dimension = dimension
        self.region = block_region(dimension, kernel)
        self._links = links if kernel == "causal" else None

    def first(self, in_channels: int, out_channels: int, level: int) -> Convolution:
        """Return a block's first kernel; `level` is 0 for stride 1, 4 for stride 16."""
        kind = "none" if self._links is None else self._links.levels[level]
        if self._links is None or kind == "none":
            return self.later(in_channels, out_channels)
        region = causal((3,) * SPATIAL_DIMENSION, _LINK_SIZES[kind])
        return CausalConvolution(in_channels, out_channels, region, self._links.recall)

    def later(self, in_channels: int, out_channels: int) -> Convolution:
        """Return a kernel that never looks back in a causal network."""
        return Convolution(in_channels, out_channels, self.region)


def spatial(dimension: int, value: int) -> tuple[int, ...]:
    """Return `value` along the spatial axes, 1 along time."""
    return (value,) * SPATIAL_DIMENSION + (1,) * (dimension - SPATIAL_DIMENSION)


def pointwise(
    in_channels: int, out_channels: int, dimension: int, bias: bool = False
) -> Convolution:
    """Return a convolution that looks at no neighbours."""
    return Convolution(in_channels, out_channels, cube((1,) * dimension), bias=bias)


class BasicBlock(nn.Module):
    """Two 3-kernel convolutions and a residual connection."""

    expansion = 1

    def __init__(self, in_channels: int, planes: int, kernels: Blocks, level: int) -> None:
        super().__init__()
        self.conv1 = kernels.first(in_channels, planes, level)
        self.norm1 = BatchNorm(planes)
        self.conv2 = kernels.later(planes, planes)
        self.norm2 = BatchNorm(planes)
        self.downsample = _shortcut(in_channels, planes, kernels.dimension)

    def forward(self, tensor: SparseTensor) -> SparseTensor:
        """Map [N, in_channels] to [N, planes] features on the same voxels."""
        out = self.conv1(tensor, self.norm1, relu=True)
        return self.conv2(out, self.norm2, _residual(self.downsample, tensor), relu=True)


class Bottleneck(nn.Module):
    """A 3-kernel convolution between two pointwise ones, and a residual connection."""

    expansion = 4

    def __init__(self, in_channels: int, planes: int, kernels: Blocks, level: int) -> None:
        super().__init__()
        out_channels = planes * self.expansion
        self.conv1 = pointwise(in_channels, planes, kernels.dimension)
        self.norm1 = BatchNorm(planes)
        self.conv2 = kernels.first(planes, planes, level)
        self.norm2 = BatchNorm(planes)
        self.conv3 = pointwise(planes, out_channels, kernels.dimension)
        self.norm3 = BatchNorm(out_channels)
        self.downsample = _shortcut(in_channels, out_channels, kernels.dimension)

    def forward(self, tensor: SparseTensor) -> SparseTensor:
        """Map [N, in_channels] to [N, 4 * planes] features on the same voxels."""
        out = self.conv1(tensor, self.norm1, relu=True)
        out = self.conv2(out, self.norm2, relu=True)
        return self.conv3(out, self.norm3, _residual(self.downsample, tensor), relu=True)


def _residual(downsample: nn.Sequential | None, tensor: SparseTensor) -> SparseTensor:
    """Return what a block adds to its convolutions' outcome."""
    return tensor if downsample is None else downsample[0](tensor, downsample[1])


def _shortcut(in_channels: int, out_channels: int, dimension: int) -> nn.Sequential | None:
    if in_channels == out_channels:
        return None
    return nn.Sequential(pointwise(in_channels, out_channels, dimension), BatchNorm(out_channels))


class MinkUNet(Network):
    """Residual U-Net with four down- and four upsamplings.

    Args:
        architecture: widths and depths.
        in_channels: features a voxel.
        num_classes: logits a voxel.
        dimension: 3 for space, 4 for space and time.
        kernel: region of the blocks' kernels.
        stem_kernel: size of the first, spatial kernel.
        links: where a causal network looks back.
    """

    head = "final"

    def __init__(
        self,
        architecture: Architecture,
        in_channels: int,
        num_classes: int,
        dimension: int,
        kernel: Kernel,
        stem_kernel: int,
        links: Links = DEFAULT_LINKS,
    ) -> None:
        super().__init__(in_channels, num_classes, dimension)
        self.architecture = architecture
        self.stem_kernel = stem_kernel
        block = Bottleneck if architecture.bottleneck else BasicBlock
        kernels = Blocks(dimension, kernel, links)
        down_up = cube(spatial(dimension, 2))
        step = spatial(dimension, 2)
        planes, e = architecture.planes, block.expansion

        def stage(index: int, channels: int) -> nn.Sequential:
            widths = [channels] + [planes[index] * e] * (architecture.layers[index] - 1)
            level = min(index + 1, 7 - index)
            return nn.Sequential(
                *(block(width, planes[index], kernels, level) for width in widths)
            )

        def down(channels: int) -> Convolution:
            return Convolution(channels, channels, down_up, step)

        def up(channels: int, out_channels: int) -> TransposedConvolution:
            return TransposedConvolution(channels, out_channels, down_up, step)

        stem = architecture.stem
        self.conv0p1s1 = Convolution(in_channels, stem, cube(spatial(dimension, stem_kernel)))
        self.bn0 = BatchNorm(stem)
        self.conv1p1s2, self.bn1 = down(stem), BatchNorm(stem)
        self.block1 = stage(0, stem)
        self.conv2p2s2, self.bn2 = down(planes[0] * e), BatchNorm(planes[0] * e)
        self.block2 = stage(1, planes[0] * e)
        self.conv3p4s2, self.bn3 = down(planes[1] * e), BatchNorm(planes[1] * e)
        self.block3 = stage(2, planes[1] * e)
        self.conv4p8s2, self.bn4 = down(planes[2] * e), BatchNorm(planes[2] * e)
        self.block4 = stage(3, planes[2] * e)

        self.convtr4p16s2, self.bntr4 = up(planes[3] * e, planes[4]), BatchNorm(planes[4])
        self.block5 = stage(4, planes[4] + planes[2] * e)
        self.convtr5p8s2, self.bntr5 = up(planes[4] * e, planes[5]), BatchNorm(planes[5])
        self.block6 = stage(5, planes[5] + planes[1] * e)
        self.convtr6p4s2, self.bntr6 = up(planes[5] * e, planes[6]), BatchNorm(planes[6])
        self.block7 = stage(6, planes[6] + planes[0] * e)
        self.convtr7p2s2, self.bntr7 = up(planes[6] * e, planes[7]), BatchNorm(planes[7])
        self.block8 = stage(7, planes[7] + stem)
        self.final = pointwise(planes[7] * e, num_classes, dimension, bias=True)

    def forward(self, tensor: SparseTensor) -> SparseTensor:
        """Logits of the voxels; see `Network` for shapes."""
        skip1 = self.conv0p1s1(tensor, self.bn0, relu=True)
        skip2 = self.block1(self.conv1p1s2(skip1, self.bn1, relu=True))
        skip4 = self.block2(self.conv2p2s2(skip2, self.bn2, relu=True))
        skip8 = self.block3(self.conv3p4s2(skip4, self.bn3, relu=True))
        out = self.block4(self.conv4p8s2(skip8, self.bn4, relu=True))

        out = self.convtr4p16s2(out, self.bntr4, relu=True)
        out = self.block5(cat([out, skip8]))
        out = self.convtr5p8s2(out, self.bntr5, relu=True)
        out = self.block6(cat([out, skip4]))
        out = self.convtr6p4s2(out, self.bntr6, relu=True)
        out = self.block7(cat([out, skip2]))
        out = self.convtr7p2s2(out, self.bntr7, relu=True)
        out = self.block8(cat([out, skip1]))
        return self.final(out)

    def twin(self, dimension: int, kernel: Kernel) -> MinkUNet:
        """Return a network of the same architecture in other dimensions, with fresh weights."""
        channels = self.in_channels, self.num_classes
        return MinkUNet(self.architecture, *channels, dimension, kernel, self.stem_kernel)
