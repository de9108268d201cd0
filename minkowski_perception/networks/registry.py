# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Networks by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from minkowski_perception.networks.minkunet import (
    DEFAULT_LINKS,
    SPATIAL_DIMENSION,
    Architecture,
    LinkKind,
    Links,
    MinkUNet,
)
from minkowski_perception.networks.network import Kernel, Network
from minkowski_perception.networks.spvcnn import (
    SPVCNN,
    LidarArchitecture,
    LidarUNet,
    MultiLevelUNet,
    scaled_widths,
)
from minkowski_perception.networks.spvnas import architecture_of

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
# The variants without a letter are where the two code bases differ.
_PLAIN_DECODERS = {"MinkUNet": (256, 128, 96, 96), "Res16UNet": (256, 256, 256, 256)}


# Names end in the width of the stem; W20 is SPVNAS's 64 %.
_FACTORS = {"W16": 0.5, "W20": 0.64, "W32": 1.0}
_LIDAR: dict[str, tuple[type[LidarUNet], float, tuple[int, ...]]] = {
    **{f"MinkUNet18-{w}": (LidarUNet, f, (2, 2, 2, 2)) for w, f in _FACTORS.items()},
    "MinkUNet34-W32": (LidarUNet, 1.0, (2, 3, 4, 6)),
    "MinkUNet34v2-W32": (MultiLevelUNet, 1.0, (2, 3, 4, 6)),
    **{f"SPVCNN-{w}": (SPVCNN, f, (2, 2, 2, 2)) for w, f in _FACTORS.items()},
}
SPVNAS = "SPVNAS"
_STEM_KERNEL = 5


def _architectures() -> dict[str, Architecture]:
    table = {}
    for family, plain in _PLAIN_DECODERS.items():
        for variant in ("14", "18", "34", "50", "101", *_DECODERS):
            layers = _LAYERS.get(variant) or _LAYERS[variant[:2]]
            planes = _ENCODER + _DECODERS.get(variant, plain)
            table[family + variant] = Architecture(layers, planes, variant in ("50", "101"))
    return table


_ARCHITECTURES = _architectures()


def network_names() -> list[str]:
    """Names that `build_network` takes.

    MinkUNet* are those of MinkowskiEngine's examples, Res16UNet* those of
    SpatioTemporalSegmentation; they differ in the variants without a letter only. Those that end
    in a width, and SPVNAS, are the networks of SPVNAS and mmdetection3d.
    """
    return [*_ARCHITECTURES, *_LIDAR, SPVNAS]


def build_network(
    name: str,
    *,
    in_channels: int,
    num_classes: int,
    dimension: int = 3,
    kernel: Kernel | None = None,
    stem_kernel: int | None = None,
    width: float = 1.0,
    config: Mapping[str, Any] | None = None,
    links: Sequence[LinkKind] | None = None,
    recall: int | None = None,
) -> Network:
    """Build a network with fresh weights.

    Args:
        name: one of `network_names()`.
        in_channels: features a voxel.
        num_classes: logits a voxel.
        dimension: 3 for space, 4 for space and time.
        kernel: region of the blocks' kernels: "hybrid", "cross", "cube" or, in 4D, "causal"; by
            default "cube" in 3D and "hybrid" in 4D. (In 3D these two are the same neighbours in
            another order.)
        stem_kernel: size of the first kernel, odd; 5 by default. Not for the networks of SPVNAS
            and mmdetection3d: their stem is two kernels of 3.
        width: factor on all widths: rounded down to multiples of 8 for MinkUNet* and Res16UNet*,
            to integers for those with a width in their name; not for SPVNAS.
        config: for SPVNAS alone: what its net.config holds.
        links: for kernel "causal" alone: see `Links.levels`.
        recall: likewise: see `Links.recall`.

    Raises:
        ValueError: an unknown name, dimension, kernel or size, or an argument that the network
            does not take; the valid ones are listed.
    """
    if name not in network_names():
        raise ValueError(f"unknown network {name!r}; choose one of {', '.join(network_names())}")
    if dimension not in (SPATIAL_DIMENSION, SPATIAL_DIMENSION + 1):
        raise ValueError(f"dimension must be 3 or 4, not {dimension}")
    if in_channels < 1 or num_classes < 1:
        raise ValueError(
            f"in_channels and num_classes must be positive, not {in_channels} and {num_classes}"
        )
    if not 0.0 < width <= 4.0:
        raise ValueError(f"width must be above 0 and at most 4, not {width}")
    if (config is not None) != (name == SPVNAS):
        raise ValueError(
            f"{SPVNAS} needs a config: what its net.config holds"
            if name == SPVNAS
            else f"{name} takes no config: only {SPVNAS} does"
        )
    kernel = kernel or ("cube" if dimension == SPATIAL_DIMENSION else "hybrid")
    if kernel != "causal" and (links is not None or recall is not None):
        raise ValueError(f"links and recall are for kernel 'causal', not '{kernel}'")
    placed = Links(
        DEFAULT_LINKS.levels if links is None else tuple(links),
        DEFAULT_LINKS.recall if recall is None else recall,
    )

    if name in _ARCHITECTURES:
        stem_kernel = _STEM_KERNEL if stem_kernel is None else stem_kernel
        if stem_kernel < 1 or stem_kernel % 2 == 0:
            raise ValueError(f"stem_kernel must be odd and positive, not {stem_kernel}")
        architecture = _ARCHITECTURES[name]
        if width != 1.0:
            architecture = architecture.scaled(width)
        return MinkUNet(
            architecture, in_channels, num_classes, dimension, kernel, stem_kernel, placed
        )

    if stem_kernel is not None:
        raise ValueError(f"{name} takes no stem_kernel: its stem is two kernels of 3")
    if config is not None:
        if width != 1.0:
            raise ValueError(f"{name} takes no width: its config says all widths")
        return SPVCNN(architecture_of(config), in_channels, num_classes, dimension, kernel, placed)
    family, factor, blocks = _LIDAR[name]
    widths = LidarArchitecture.from_widths(scaled_widths(factor * width), blocks)
    return family(widths, in_channels, num_classes, dimension, kernel, placed)
