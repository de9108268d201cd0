# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The MinkUNet family: residual U-Nets of sparse convolutions in 3D and 4D.

Names, shapes and orders of the layers equal those of Res16UNet in SpatioTemporalSegmentation and
of MinkowskiEngine's example (Choy et al. 2019), so that their state dictionaries fit. In 4D, time
is never strided: the stem, the down- and the upsampling layers are spatial, and only the 3-kernels
of the blocks reach into neighbouring frames.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from torch import nn

from minkowski_perception.networks.blocks import Blocks, pointwise, spatial
from minkowski_perception.networks.network import Network, NetworkOptions, Width
from minkowski_perception.networks.registry import register
from minkowski_perception.schema import Range
from minkowski_perception.sparse import (
    MAX_RECALL,
    BatchNorm,
    Convolution,
    SparseTensor,
    Support,
    TransposedConvolution,
    cat,
    cube,
)

_LAYERS = {
    "14": (1,) * 8,
    "18": (2,) * 8,
    "34": (2, 3, 4, 6, 2, 2, 2, 2),
    "50": (2, 3, 4, 6, 2, 2, 2, 2),
    "101": (2, 3, 4, 23, 2, 2, 2, 2),
    "14A2": (1, 1, 1, 1, 2, 2, 2, 2),
    "14B2": (1, 1, 1, 1, 2, 2, 2, 2),
    "14B3": (2, 2, 2, 2, 1, 1, 1, 1),
}
_ENCODER = (32, 64, 128, 256)
_DECODERS = {
    "14A": (128, 128, 96, 96),
    "14A2": (128, 128, 96, 96),
    "14B": (128, 128, 128, 128),
    "14B2": (128, 128, 128, 128),
    "14B3": (128, 128, 128, 128),
    "14C": (192, 192, 128, 128),
    "14D": (384, 384, 384, 384),
    "18A": (128, 128, 96, 96),
    "18B": (128, 128, 128, 128),
    "18D": (384, 384, 384, 384),
    "34A": (256, 128, 64, 64),
    "34B": (256, 128, 64, 32),
    "34C": (256, 128, 96, 96),
}
# The two code bases differ in the variants without a letter.
_PLAIN_DECODERS = {"MinkUNet": (256, 128, 96, 96), "Res16UNet": (256, 256, 256, 256)}


@dataclass(frozen=True)
class Architecture:
    """Widths and depths of a MinkUNet.

    Attributes:
        layers: number of blocks of the four encoder and four decoder stages.
        planes: width of each of these stages.
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


def _architectures() -> dict[str, Architecture]:
    table = {}
    for family, plain in _PLAIN_DECODERS.items():
        for variant in ("14", "18", "34", "50", "101", *_DECODERS):
            layers = _LAYERS.get(variant) or _LAYERS[variant[:2]]
            planes = _ENCODER + _DECODERS.get(variant, plain)
            table[family + variant] = Architecture(layers, planes, variant in ("50", "101"))
    return table


@dataclass(frozen=True, kw_only=True)
class MinkUNetOptions(NetworkOptions):
    """Options of MinkUNet* and Res16UNet*.

    Attributes:
        width: factor on all widths, which are rounded down to multiples of 8.
        stem_kernel: size of the first, spatial kernel, odd.
        support: for kernel "causal" alone: at strides 4, 8 and 16, voxels that were last seen up
            to so many frames ago take part in a frame that lacks them; 0 for none.
    """

    causal_keys: ClassVar[tuple[str, ...]] = (*NetworkOptions.causal_keys, "support")

    width: Width = 1.0
    stem_kernel: int = 5
    support: Annotated[int, Range(0, MAX_RECALL)] = 0

    def __post_init__(self) -> None:
        """Check the values; see `NetworkOptions`."""
        super().__post_init__()
        if self.stem_kernel < 1 or self.stem_kernel % 2 == 0:
            raise ValueError(f"stem_kernel must be odd and positive, not {self.stem_kernel}")

    @property
    def past(self) -> int:
        """See `NetworkOptions.past`."""
        return max(super().past, min(self.support, 1))


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
        out: SparseTensor = self.conv1(tensor, self.norm1, relu=True)
        residual = _residual(self.downsample, tensor)
        out = self.conv2(out, self.norm2, residual, relu=True)
        return out


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
        out: SparseTensor = self.conv1(tensor, self.norm1, relu=True)
        out = self.conv2(out, self.norm2, relu=True)
        residual = _residual(self.downsample, tensor)
        out = self.conv3(out, self.norm3, residual, relu=True)
        return out


def _residual(downsample: nn.Sequential | None, tensor: SparseTensor) -> SparseTensor:
    """Return the residual that a block adds to the output of its convolutions."""
    return tensor if downsample is None else downsample[0](tensor, downsample[1])


def _shortcut(in_channels: int, out_channels: int, dimension: int) -> nn.Sequential | None:
    if in_channels == out_channels:
        return None
    return nn.Sequential(pointwise(in_channels, out_channels, dimension), BatchNorm(out_channels))


class MinkUNet(Network):
    """Residual U-Net with four down- and four upsamplings.

    Args:
        architecture: widths and depths, with the options' factor applied.
        options: channels, dimension and kernels.
    """

    class_layer = "final"

    def __init__(self, architecture: Architecture, options: MinkUNetOptions) -> None:
        super().__init__(architecture, options)
        dimension, kernels = options.dimension, options.blocks
        block = Bottleneck if architecture.bottleneck else BasicBlock
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
        self.conv0p1s1 = Convolution(
            options.in_channels, stem, cube(spatial(dimension, options.stem_kernel))
        )
        self.bn0 = BatchNorm(stem)
        self.conv1p1s2, self.bn1 = down(stem), BatchNorm(stem)
        self.block1 = stage(0, stem)
        self.conv2p2s2, self.bn2 = down(planes[0] * e), BatchNorm(planes[0] * e)
        self.support = Support(planes[0] * e, options.support) if options.support else None
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
        self.final = self._make_heads(planes[7] * e)

    def backbone(self, tensor: SparseTensor) -> SparseTensor:
        """See `Network.backbone`."""
        out: SparseTensor = self.conv0p1s1(tensor, self.bn0, relu=True)
        skips = [out]
        out = self.block1(self.conv1p1s2(out, self.bn1, relu=True))
        skips.append(out)
        out = self.conv2p2s2(out, self.bn2, relu=True)
        if self.support is not None:
            out = self.support(out)
        out = self.block2(out)
        skips.append(out)
        out = self.block3(self.conv3p4s2(out, self.bn3, relu=True))
        skips.append(out)
        out = self.block4(self.conv4p8s2(out, self.bn4, relu=True))

        decoder = (
            (self.convtr4p16s2, self.bntr4, self.block5),
            (self.convtr5p8s2, self.bntr5, self.block6),
            (self.convtr6p4s2, self.bntr6, self.block7),
            (self.convtr7p2s2, self.bntr7, self.block8),
        )
        for up, norm, block in decoder:
            out = up(out, norm, relu=True)
            out = cat([out, skips.pop()])  # neither is needed any more, and both are large
            out = block(out)
        return out


@register(_architectures(), MinkUNetOptions)
def _minkunet(architecture: Architecture, options: MinkUNetOptions) -> MinkUNet:
    return MinkUNet(architecture.scaled(options.width), options)
