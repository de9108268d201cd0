# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Res16UNet of SpatioTemporalSegmentation and its forks, MinkUNet of MinkowskiEngine's examples.

PointContrast and DepthContrast are such forks. Their parameters have our names and shapes, except
for the prefixes of wrappers. Shapes do not determine whether 3D blocks have hybrid or cube order,
and which axis runs fastest in kernels of size 2 (see `orders`). Our 3D networks use cube order:
hybrid kernels are permuted to it, which does not change the outputs.

SpatioTemporalSegmentation can wrap a network in a CRF (bilateral: space and colour; trilateral:
also time). It saves the CRF's kernel twice, as `filter.kernel` and as `filter.conv.kernel`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from minkowski_perception.lab.importers.checkpoint import Checkpoint, CheckpointError
from minkowski_perception.lab.importers.imported_network import ImportedNetwork, Orders
from minkowski_perception.lab.importers.kernels import last_axis_fastest
from minkowski_perception.lab.importers.layouts import Arguments, Layout, load_matching
from minkowski_perception.lab.importers.orders import (
    Evidence,
    block_order_of,
    even_order_of,
)
from minkowski_perception.lab.importers.source_datasets import (
    COLOUR,
    S3DIS,
    SCANNET,
    SCANNET_MINKOWSKI_ENGINE,
    SYNTHIA,
)
from minkowski_perception.networks.blocks import SPATIAL_DIMENSION
from minkowski_perception.networks.crf import TrilateralCRF
from minkowski_perception.networks.heads import CLASSES
from minkowski_perception.networks.registry import network_names
from minkowski_perception.sparse import KernelRegion, hybrid

_STEM = "conv0p1s1.kernel"
_STEM_WIDTH = 32
_EVEN = 8
_SPATIAL_BLOCK = 27
# Dimension and kernel of the blocks, by the number of slices.
_BLOCKS = {_SPATIAL_BLOCK: (3, "cube"), 29: (4, "hybrid"), 81: (4, "cube")}
_WINDOW = 3  # temporal_numseq

_CRF_KEYS = ("filter.conv.kernel", "filter.kernel")
# Offsets: the centre and two per axis: x, y, z, red, green, blue(, t), in our order.
_BILATERAL, _TRILATERAL = 13, 15
_CRF_DEFAULTS: Mapping[str, Any] = {
    "chroma": "colour",
    "sigma_space": 1,
    "sigma_time": 1,
    "sigma_chroma": 12 / 255,
    "iterations": 10,
}

_EXAMPLES = "MinkowskiEngine's examples"
_STS = "SpatioTemporalSegmentation, or one of its forks (PointContrast, DepthContrast)"


def read(checkpoint: Checkpoint, orders: Orders) -> ImportedNetwork | None:
    """Recognise and import a checkpoint; return None if it is not a Res16UNet.

    Raises:
        CheckpointError: the checkpoint has no classifier, or matches no known network (the
            differences are listed).
    """
    # DepthContrast stores a query encoder, then a key encoder.
    prefixes = [key.removesuffix(_STEM) for key in checkpoint.state if key.endswith(_STEM)]
    if not prefixes:
        return None
    state = checkpoint.state
    prefix = next((p for p in prefixes if f"{p}final.kernel" in state), prefixes[0])
    if f"{prefix}final.kernel" not in state:
        raise CheckpointError(
            f"checkpoint {checkpoint.path} has a Res16UNet{f' at {prefix}*' if prefix else ''} "
            "without a classifier (final.kernel): a backbone pre-trained for features, as by "
            "DepthContrast, cannot label; convert a network fine-tuned from it"
        )
    example = not checkpoint.metadata
    arguments = _arguments(checkpoint, prefix)
    decisions = {}
    block_order = "cube"
    if arguments["dimension"] == 3:
        found = block_order_of(_blocks(state, prefix))
        block_order, decisions["block order"] = _decided(
            orders.block, found, *_default_block_order(example)
        )
    found = even_order_of(v for v in state.values() if v.dim() == 3 and len(v) == _EVEN)
    even_order, decisions["even order"] = _decided(
        orders.even, found, *_default_even_order(checkpoint, example, arguments)
    )

    def order(name: str, region: KernelRegion) -> KernelRegion:
        if len(region) == _EVEN and even_order == "last-axis":
            return last_axis_fastest(region)
        if name.startswith("block") and len(region) == _SPATIAL_BLOCK and block_order == "hybrid":
            return hybrid((3, 3, 3))
        return region

    layout = Layout(_EXAMPLES if example else _STS, ((r"^", prefix),), order)
    first = "MinkUNet" if example else "Res16UNet"
    alone = replace(checkpoint, state={k: v for k, v in state.items() if k not in _CRF_KEYS})
    arguments, network = load_matching(alone, layout, _candidates(arguments, first))
    crf = _crf(checkpoint, arguments)
    if crf is not None:
        decisions["crf"] = (
            f"cells of {crf.sigma_space} voxel and 12 of 255 per colour, {crf.iterations} "
            "iterations: defaults of the code, since the file has no settings"
        )
    scannet = SCANNET_MINKOWSKI_ENGINE if example else SCANNET
    sources = (scannet, S3DIS, SYNTHIA, COLOUR)
    window = 1 if network.dimension == 3 else _WINDOW
    return ImportedNetwork(layout.family, arguments, network, sources, decisions, window, crf)


def _crf(checkpoint: Checkpoint, arguments: Arguments) -> TrilateralCRF | None:
    """Return the CRF around the network, if there is one.

    Raises:
        CheckpointError: the CRF is unsupported.
    """
    keys = [key for key in _CRF_KEYS if key in checkpoint.state]
    if not keys:
        return None
    kernel = checkpoint.tensor(keys[0], 3).float()
    where = f"checkpoint {checkpoint.path}: {keys[0]}"
    if not torch.equal(kernel, checkpoint.state[keys[-1]].float()):
        raise CheckpointError(f"{where} is not finite, or differs from its alias {keys[-1]}")
    crf = TrilateralCRF(arguments["heads"][CLASSES], **_CRF_DEFAULTS)
    offsets, *classes = kernel.shape
    if offsets not in (_BILATERAL, _TRILATERAL) or classes != [crf.num_classes] * 2:
        raise CheckpointError(
            f"{where} has shape {list(kernel.shape)}; known are [{_BILATERAL}, K, K] of a "
            f"bilateral and [{_TRILATERAL}, K, K] of a trilateral CRF, with K = {crf.num_classes} "
            "classes"
        )
    if offsets == _BILATERAL and arguments["dimension"] > SPATIAL_DIMENSION:
        raise CheckpointError(
            f"{where} belongs to a bilateral CRF, which would connect the frames of a 4D network"
        )
    with torch.no_grad():
        crf.kernel[:offsets] = kernel
    return crf.eval()


def _arguments(checkpoint: Checkpoint, prefix: str) -> Arguments:
    volume, in_channels, width = checkpoint.tensor(prefix + _STEM, 3).shape
    stem_kernel = round(volume ** (1 / 3))
    if stem_kernel**3 != volume or stem_kernel % 2 == 0:
        raise CheckpointError(
            f"checkpoint {checkpoint.path}: {prefix}{_STEM} has {volume} slices, which is not an "
            "odd cube; temporal stems are unsupported"
        )
    volumes = {len(kernel) for kernel in _blocks(checkpoint.state, prefix)}
    if len(volumes) != 1 or not volumes <= set(_BLOCKS):
        raise CheckpointError(
            f"checkpoint {checkpoint.path}: kernels of its blocks have {sorted(volumes)} slices; "
            "known are 27 (3D), 29 (4D, hybrid) and 81 (4D, cube)"
        )
    dimension, kernel = _BLOCKS[volumes.pop()]
    return {
        "in_channels": in_channels,
        "heads": {CLASSES: checkpoint.tensor(f"{prefix}final.kernel", 2).shape[-1]},
        "dimension": dimension,
        "kernel": kernel,
        "stem_kernel": stem_kernel,
        **({} if width == _STEM_WIDTH else {"width": width / _STEM_WIDTH}),
    }


def _blocks(state: Mapping[str, Tensor], prefix: str) -> list[Tensor]:
    """Return the kernels of the blocks that have slices."""
    inside = f"{prefix}block"
    return [value for key, value in state.items() if key.startswith(inside) and value.dim() == 3]


def _candidates(arguments: Arguments, first: str) -> Iterator[Arguments]:
    """Yield all residual U-Nets, those of the likelier code base first: many are in both."""
    names = [name for name in network_names() if "UNet" in name and "-" not in name]
    for name in sorted(names, key=lambda name: not name.startswith(first)):
        yield {"name": name, **arguments}


def _default_block_order(example: bool) -> tuple[str, str]:
    if example:
        return "cube", "MinkowskiEngine's examples use cube kernels"
    return "hybrid", "SpatioTemporalSegmentation and its forks use hybrid kernels, in 3D too"


def _default_even_order(
    checkpoint: Checkpoint, example: bool, arguments: Arguments
) -> tuple[str, str]:
    if example:
        return "first-axis", "MinkowskiEngine's examples need version 0.4 or later"
    if checkpoint.zipped:
        return "first-axis", (
            "saved by PyTorch 1.6 (July 2020) or later, when MinkowskiEngine used this order"
        )
    published = checkpoint.metadata.get("arch") == "Res16UNet34C"
    if published and (arguments["stem_kernel"], arguments["heads"][CLASSES]) == (3, 20):
        return "last-axis", (
            "SpatioTemporalSegmentation published such a Res16UNet34C for ScanNet on 2019-11-02, "
            "before MinkowskiEngine 0.3.2 (December 2019) changed the order"
        )
    return "first-axis", "MinkowskiEngine uses this order since 0.3.2 (December 2019)"


def _decided(requested: str, found: Evidence, default: str, reason: str) -> tuple[str, str]:
    """Return an order and the reason for it."""
    if requested != "auto":
        return requested, f"{requested}, as requested ({found.figures})"
    if found.order is not None:
        return found.order, f"{found.order}, measured from the weights: {found.figures}"
    return default, f"{default}: {reason}; the weights are inconclusive ({found.figures})"
