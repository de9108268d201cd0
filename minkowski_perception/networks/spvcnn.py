# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The networks of SPVNAS and mmdetection3d for LiDAR: U-Nets with two convolutions in their stem.

LidarUNet is their MinkUNet18 and 34, MultiLevelUNet is MinkUNet34v2 of mmdetection3d, SPVCNN is
the point-voxel network (Tang et al. 2020); sub-networks found by SPVNAS are SPVCNNs too. In 4D,
time is never strided, and only the blocks reach into neighbouring frames, as in MinkUNet.

Parameters have the names of SPVNAS's MinkUNet and SPVCNN (numbers of rectifiers are left out),
kernels and norms those of the other networks here:

    stem.{0,3}.kernel, stem.{1,4}.bn.*                   two convolutions of 3 voxels
    stage{1-4}.0.net.0.kernel, .net.1.bn.*               downsampling
    stage{1-4}.{1,2,..}.net.{0,3}.kernel, .net.{1,4}.bn.*            residual blocks
    stage{1-4}.{1,2,..}.downsample.0.kernel, .downsample.1.bn.*      if the shortcut has weights
    up{1-4}.0.net.0.kernel, .net.1.bn.*                  upsampling
    up{1-4}.1.{0,1,..}.net.*, .downsample.*              residual blocks
    point_transforms.{0,1,2}.0.{kernel,bias}, .1.bn.*    SPVCNN's point branch
    classifier.0.{kernel,bias}

`kernel` is [K, C_in, C_out] in the order of the region (first axis fastest), and [C_in, C_out]
without neighbours: in point_transforms and classifier, which SPVNAS has as linear layers (`weight`
[C_out, C_in]). `bias` is [1, C_out].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from torch import nn

from minkowski_perception.networks.blocks import Blocks, pointwise, spatial
from minkowski_perception.networks.network import Network, NetworkOptions, Width
from minkowski_perception.networks.registry import register
from minkowski_perception.sparse import (
    BatchNorm,
    Convolution,
    SparseTensor,
    TransposedConvolution,
    cat,
    cube,
    point_to_voxel,
    voxel_to_point,
)

WIDTHS = (32, 32, 64, 128, 256, 256, 128, 96, 96)
"""Full widths of the stem, the encoder and the decoder stages."""

_DROPOUT = 0.3


def scaled_widths(factor: float) -> tuple[int, ...]:
    """Return the full widths times a factor, truncated to integers as by SPVNAS's `cr`."""
    return tuple(max(1, int(factor * width)) for width in WIDTHS)


@dataclass(frozen=True)
class Stage:
    """A down- or upsampling and the residual blocks after it.

    Attributes:
        transition: width after the down- or upsampling.
        middles: width between the two convolutions of each block.
        width: width of the blocks' output.
        shortcut: whether the shortcut of the first block has weights; it must if widths differ.
    """

    transition: int
    middles: tuple[int, ...]
    width: int
    shortcut: bool = True


@dataclass(frozen=True)
class LidarArchitecture:
    """Widths and depths: stem, four encoder stages, four decoder stages."""

    stem: int
    encoder: tuple[Stage, ...]
    decoder: tuple[Stage, ...]

    @classmethod
    def from_widths(
        cls, widths: Sequence[int], encoder_blocks: Sequence[int] = (2, 2, 2, 2)
    ) -> LidarArchitecture:
        """Return the architecture of nine widths; decoder stages have two blocks each."""
        encoder = tuple(
            Stage(narrow, (wide,) * blocks, wide, narrow != wide)
            for narrow, wide, blocks in zip(widths[:4], widths[1:5], encoder_blocks, strict=True)
        )
        decoder = tuple(Stage(width, (width, width), width) for width in widths[5:])
        return cls(widths[0], encoder, decoder)


@dataclass(frozen=True, kw_only=True)
class LidarOptions(NetworkOptions):
    """Options of the networks with a width in their name; their stem is two kernels of 3.

    Attributes:
        width: factor on all widths, which are truncated to integers.
    """

    width: Width = 1.0


class ConvolutionBlock(nn.Module):
    """Convolution, batch norm, rectifier."""

    def __init__(self, convolution: Convolution, out_channels: int) -> None:
        super().__init__()
        self.net = nn.Sequential(convolution, BatchNorm(out_channels))

    def forward(self, tensor: SparseTensor) -> SparseTensor:
        """Map [N, C_in] to [M, C_out] features."""
        out: SparseTensor = self.net[0](tensor, self.net[1], relu=True)
        return out


class ResidualBlock(nn.Module):
    """Two convolutions and a residual connection."""

    def __init__(
        self,
        in_channels: int,
        middle: int,
        out_channels: int,
        kernels: Blocks,
        level: int,
        shortcut: bool,
    ) -> None:
        super().__init__()
        self.net = _two_convolutions(
            kernels.first(in_channels, middle, level), kernels.later(middle, out_channels)
        )
        self.downsample = (
            nn.Sequential(
                pointwise(in_channels, out_channels, kernels.dimension), BatchNorm(out_channels)
            )
            if shortcut
            else None
        )

    def forward(self, tensor: SparseTensor) -> SparseTensor:
        """Map [N, in_channels] to [N, out_channels] features on the same voxels."""
        net, down = self.net, self.downsample
        residual = tensor if down is None else down[0](tensor, down[1])
        out: SparseTensor = net["0"](tensor, net["1"], relu=True)
        out = net["3"](out, net["4"], residual, relu=True)
        return out


class PointTransform(nn.Sequential):
    """Linear layer, batch norm and rectifier on each point."""

    def __init__(self, in_channels: int, out_channels: int, dimension: int) -> None:
        linear = pointwise(in_channels, out_channels, dimension, bias=True)
        super().__init__(linear, BatchNorm(out_channels))

    def forward(self, points: SparseTensor) -> SparseTensor:
        """Map [N, in_channels] to [N, out_channels] features on the same points."""
        out: SparseTensor = self[0](points, self[1], relu=True)
        return out


class LidarUNet(Network):
    """Residual U-Net with two convolutions in the stem and two blocks in each decoder stage.

    Args:
        architecture: widths and depths, with the options' factor applied.
        options: channels, dimension and kernels.
    """

    class_layer = "classifier.0"

    def __init__(self, architecture: LidarArchitecture, options: NetworkOptions) -> None:
        super().__init__(architecture, options)
        dimension, kernels = options.dimension, options.blocks
        down_up, step = cube(spatial(dimension, 2)), spatial(dimension, 2)
        encoder, decoder, stem = architecture.encoder, architecture.decoder, architecture.stem

        def blocks(stage: Stage, channels: int, level: int) -> list[ResidualBlock]:
            first, *others = stage.middles
            width = stage.width
            return [
                ResidualBlock(channels, first, width, kernels, level, stage.shortcut),
                *(ResidualBlock(width, middle, width, kernels, level, False) for middle in others),
            ]

        def down(level: int, stage: Stage, channels: int) -> nn.Sequential:
            convolution = Convolution(channels, stage.transition, down_up, step)
            block = ConvolutionBlock(convolution, stage.transition)
            return nn.Sequential(block, *blocks(stage, stage.transition, level))

        def up(level: int, stage: Stage, channels: int, skip: int) -> nn.ModuleList:
            convolution = TransposedConvolution(channels, stage.transition, down_up, step)
            block = ConvolutionBlock(convolution, stage.transition)
            joined = blocks(stage, stage.transition + skip, level)
            return nn.ModuleList([block, nn.Sequential(*joined)])

        stem_region = cube(spatial(dimension, 3))
        self.stem = _two_convolutions(
            Convolution(options.in_channels, stem, stem_region),
            Convolution(stem, stem, stem_region),
        )
        self.stage1 = down(1, encoder[0], stem)
        self.stage2 = down(2, encoder[1], encoder[0].width)
        self.stage3 = down(3, encoder[2], encoder[1].width)
        self.stage4 = down(4, encoder[3], encoder[2].width)
        self.up1 = up(3, decoder[0], encoder[3].width, encoder[2].width)
        self.up2 = up(2, decoder[1], decoder[0].width, encoder[1].width)
        self.up3 = up(1, decoder[2], decoder[1].width, encoder[0].width)
        self.up4 = up(0, decoder[3], decoder[2].width, stem)
        self.classifier = nn.Sequential(self._make_heads(self._head_width(architecture)))

    @staticmethod
    def _head_width(architecture: LidarArchitecture) -> int:
        return architecture.decoder[3].width

    def encode(self, tensor: SparseTensor) -> list[SparseTensor]:
        """Return features at strides 1, 2, 4, 8 and 16."""
        stem = self.stem
        levels = [stem["3"](stem["0"](tensor, stem["1"], relu=True), stem["4"], relu=True)]
        for stage in (self.stage1, self.stage2, self.stage3, self.stage4):
            levels.append(stage(levels[-1]))
        return levels

    def backbone(self, tensor: SparseTensor) -> SparseTensor:
        """See `Network.backbone`."""
        x1, x2, x4, x8, x16 = self.encode(tensor)
        y4 = _upsampled(self.up2, _upsampled(self.up1, x16, x8), x4)
        return _upsampled(self.up4, _upsampled(self.up3, y4, x2), x1)


class MultiLevelUNet(LidarUNet):
    """LidarUNet whose heads read features of strides 16, 4 and 1, interpolated and joined."""

    @staticmethod
    def _head_width(architecture: LidarArchitecture) -> int:
        encoder, decoder = architecture.encoder, architecture.decoder
        return encoder[3].width + decoder[1].width + decoder[3].width

    def backbone(self, tensor: SparseTensor) -> SparseTensor:
        """See `Network.backbone`."""
        x1, x2, x4, x8, x16 = self.encode(tensor)
        y4 = _upsampled(self.up2, _upsampled(self.up1, x16, x8), x4)
        y1 = _upsampled(self.up4, _upsampled(self.up3, y4, x2), x1)
        levels = [voxel_to_point(x16, x1.map), voxel_to_point(y4, x1.map), y1]
        return cat(levels)


class SPVCNN(LidarUNet):
    """LidarUNet with a branch of points, which keeps details that coarse voxels blur.

    The points are the voxels of stride 1, so features pass between both unchanged. The skip of
    SPVNAS (the stem's output) therefore equals that of mmdetection3d (the same, from points back
    to voxels).
    """

    def __init__(self, architecture: LidarArchitecture, options: NetworkOptions) -> None:
        super().__init__(architecture, options)
        encoder, decoder = architecture.encoder, architecture.decoder
        widths = (architecture.stem, encoder[3].width, decoder[1].width, decoder[3].width)
        self.point_transforms = nn.ModuleList(
            PointTransform(narrow, wide, options.dimension) for narrow, wide in pairwise(widths)
        )
        self.dropout = nn.Dropout(_DROPOUT)

    def backbone(self, tensor: SparseTensor) -> SparseTensor:
        """See `Network.backbone`."""
        x1, x2, x4, x8, x16 = self.encode(tensor)
        points = voxel_to_point(x16, x1.map) + self.point_transforms[0](x1)
        y16 = self._voxels(points, x16)
        y4 = _upsampled(self.up2, _upsampled(self.up1, y16, x8), x4)
        points = voxel_to_point(y4, x1.map) + self.point_transforms[1](points)
        y4 = self._voxels(points, y4)
        y1 = _upsampled(self.up4, _upsampled(self.up3, y4, x2), x1)
        out: SparseTensor = y1 + self.point_transforms[2](points)
        return out

    def _voxels(self, points: SparseTensor, like: SparseTensor) -> SparseTensor:
        voxels = point_to_voxel(points, like.map)
        return voxels.replace(self.dropout(voxels.features))


def _two_convolutions(first: Convolution, second: Convolution) -> nn.ModuleDict:
    """Join convolutions and norms; numbers 2 and 5 would be the rectifiers, which are fused."""
    middle, out_channels = first.kernel.shape[-1], second.kernel.shape[-1]
    return nn.ModuleDict(
        {"0": first, "1": BatchNorm(middle), "3": second, "4": BatchNorm(out_channels)}
    )


def _upsampled(stage: nn.ModuleList, tensor: SparseTensor, skip: SparseTensor) -> SparseTensor:
    out: SparseTensor = stage[1](cat([stage[0](tensor), skip]))
    return out


# Names end in the width of the stem; W20 is SPVNAS's 64 %.
_FACTORS = {"W16": 0.5, "W20": 0.64, "W32": 1.0}
_Variant = tuple[type[LidarUNet], float, tuple[int, ...]]
_VARIANTS: dict[str, _Variant] = {
    **{f"MinkUNet18-{w}": (LidarUNet, f, (2, 2, 2, 2)) for w, f in _FACTORS.items()},
    "MinkUNet34-W32": (LidarUNet, 1.0, (2, 3, 4, 6)),
    "MinkUNet34v2-W32": (MultiLevelUNet, 1.0, (2, 3, 4, 6)),
    **{f"SPVCNN-{w}": (SPVCNN, f, (2, 2, 2, 2)) for w, f in _FACTORS.items()},
}


@register(_VARIANTS, LidarOptions)
def _lidar(variant: _Variant, options: LidarOptions) -> LidarUNet:
    family, factor, blocks = variant
    widths = scaled_widths(factor * options.width)
    return family(LidarArchitecture.from_widths(widths, blocks), options)
