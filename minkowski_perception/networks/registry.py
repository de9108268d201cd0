# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Networks by name."""

from __future__ import annotations

from minkowski_perception.networks.minkunet import SPATIAL_DIMS, Architecture, Kernel, MinkUNet

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
    SpatioTemporalSegmentation; they differ in the variants without a letter only.
    """
    return list(_ARCHITECTURES)


def build_network(
    name: str,
    *,
    in_channels: int,
    num_classes: int,
    dims: int = 3,
    kernel: Kernel | None = None,
    stem_kernel: int = 5,
    width: float = 1.0,
) -> MinkUNet:
    """Build a network with fresh weights.

    Args:
        name: one of `network_names()`.
        in_channels: features a voxel.
        num_classes: logits a voxel.
        dims: 3 for space, 4 for space and time.
        kernel: region of the blocks' kernels: "hybrid", "cross" or "cube"; by default "cube" in
            3D and "hybrid" in 4D. (In 3D these two are the same neighbours in another order.)
        stem_kernel: size of the first kernel, odd.
        width: factor on all widths.

    Raises:
        ValueError: an unknown name, dimension, kernel or size; the valid ones are listed.
    """
    if name not in _ARCHITECTURES:
        raise ValueError(f"unknown network {name!r}; choose one of {', '.join(network_names())}")
    if dims not in (SPATIAL_DIMS, SPATIAL_DIMS + 1):
        raise ValueError(f"dims must be 3 or 4, not {dims}")
    if stem_kernel < 1 or stem_kernel % 2 == 0:
        raise ValueError(f"stem_kernel must be odd and positive, not {stem_kernel}")
    if in_channels < 1 or num_classes < 1:
        raise ValueError(
            f"in_channels and num_classes must be positive, not {in_channels} and {num_classes}"
        )
    if not 0.0 < width <= 4.0:
        raise ValueError(f"width must be above 0 and at most 4, not {width}")
    architecture = _ARCHITECTURES[name]
    if width != 1.0:
        architecture = architecture.scaled(width)
    kernel = kernel or ("cube" if dims == SPATIAL_DIMS else "hybrid")
    return MinkUNet(architecture, in_channels, num_classes, dims, kernel, stem_kernel)
