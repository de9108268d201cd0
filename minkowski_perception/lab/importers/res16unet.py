# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Res16UNet of SpatioTemporalSegmentation and its forks, MinkUNet of MinkowskiEngine's examples.

PointContrast and DepthContrast are such forks. The parameters of all are named and shaped as ours,
wrappers' prefixes aside. Two things no shape tells: whether blocks in 3D run in hybrid or in cube
order, and which axis runs fastest in kernels of 2 voxels (see `orders`). Our 3D networks run in
cube order: hybrid kernels are permuted to it, which leaves neighbours and outputs as they are.

SpatioTemporalSegmentation can wrap a network in a CRF (bilateral: space and colour; trilateral:
time too) and then saves its kernel twice, as `filter.kernel` and as `filter.conv.kernel`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from minkowski_perception.lab.importers.checkpoint import Checkpoint, CheckpointError
from minkowski_perception.lab.importers.fitting import Arguments, Layout, fit
from minkowski_perception.lab.importers.homes import (
    COLOUR,
    S3DIS,
    SCANNET,
    SCANNET_MINKOWSKI_ENGINE,
    SYNTHIA,
)
from minkowski_perception.lab.importers.kernels import last_axis_fastest
from minkowski_perception.lab.importers.orders import (
    Evidence,
    block_order_of,
    even_order_of,
)
from minkowski_perception.lab.importers.reading import Orders, Reading
from minkowski_perception.networks.crf import TrilateralCRF
from minkowski_perception.networks.minkunet import SPATIAL_DIMENSION
from minkowski_perception.networks.registry import network_names
from minkowski_perception.sparse import KernelRegion, hybrid

_STEM = "conv0p1s1.kernel"
_STEM_WIDTH = 32
_EVEN = 8
_SPATIAL_BLOCK = 27
# Dimension and kernel of the blocks by the number of slices.
_BLOCKS = {_SPATIAL_BLOCK: (3, "cube"), 29: (4, "hybrid"), 81: (4, "cube")}
_WINDOW = 3  # temporal_numseq

_CRF_KEYS = ("filter.conv.kernel", "filter.kernel")
# One for the centre and two for each axis: x, y, z, red, green, blue(, t), as ours.
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


def read(checkpoint: Checkpoint, orders: Orders) -> Reading | None:
    """Recognise and convert; None where it is none of these.

    Raises:
        CheckpointError: it is one of these, but a backbone without classes or no known network;
            what differs is listed.
    """
    # DepthContrast holds a query and a key encoder, the query encoder first.
    prefixes = [key.removesuffix(_STEM) for key in checkpoint.state if key.endswith(_STEM)]
    if not prefixes:
        return None
    prefix, state = prefixes[0], checkpoint.state
    if f"{prefix}final.kernel" not in state:
        raise CheckpointError(
            f"checkpoint {checkpoint.path} holds a Res16UNet{f' at {prefix}*' if prefix else ''} "
            "without a classifier (final.kernel): a backbone that was pre-trained for features, "
            "as by DepthContrast, has no labels to give; convert what was fine-tuned from it"
        )
    example = not checkpoint.around
    arguments = _arguments(checkpoint, prefix)
    decisions = {}
    block_order = "cube"
    if arguments["dimension"] == 3:
        found = block_order_of(_blocks(state, prefix))
        block_order, decisions["block order"] = _decided(
            orders.block, found, *_block_order_at_home(example)
        )
    found = even_order_of(v for v in state.values() if v.dim() == 3 and len(v) == _EVEN)
    even_order, decisions["even order"] = _decided(
        orders.even, found, *_even_order_at_home(checkpoint, example, arguments)
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
    arguments, network = fit(alone, layout, _candidates(arguments, first))
    crf = _crf(checkpoint, arguments)
    if crf is not None:
        decisions["crf"] = (
            f"cells of {crf.sigma_space} voxel and 12 of 255 along each colour, {crf.iterations} "
            "iterations: the defaults of the code; the file does not say"
        )
    scannet = SCANNET_MINKOWSKI_ENGINE if example else SCANNET
    homes = (scannet, S3DIS, SYNTHIA, COLOUR)
    window = 1 if network.dimension == 3 else _WINDOW
    return Reading(layout.family, arguments, network, homes, decisions, window, crf)


def _crf(checkpoint: Checkpoint, arguments: Arguments) -> TrilateralCRF | None:
    """Return the CRF around the network, if there is one.

    Raises:
        CheckpointError: it is none that is known.
    """
    keys = [key for key in _CRF_KEYS if key in checkpoint.state]
    if not keys:
        return None
    kernel = checkpoint.tensor(keys[0], 3).float()
    where = f"checkpoint {checkpoint.path}: {keys[0]}"
    if not torch.equal(kernel, checkpoint.state[keys[-1]].float()):
        raise CheckpointError(f"{where} is not finite, or differs from {keys[-1]}, its alias")
    crf = TrilateralCRF(arguments["num_classes"], **_CRF_DEFAULTS)
    offsets, *classes = kernel.shape
    if offsets not in (_BILATERAL, _TRILATERAL) or classes != [crf.num_classes] * 2:
        raise CheckpointError(
            f"{where} has shape {list(kernel.shape)}; known are [{_BILATERAL}, K, K] of a "
            f"bilateral and [{_TRILATERAL}, K, K] of a trilateral CRF, with K = {crf.num_classes} "
            "classes"
        )
    if offsets == _BILATERAL and arguments["dimension"] > SPATIAL_DIMENSION:
        raise CheckpointError(
            f"{where} is of a bilateral CRF, which would join the frames of a network in 4D"
        )
    with torch.no_grad():
        crf.kernel[:offsets] = kernel
    return crf.eval()


def _arguments(checkpoint: Checkpoint, prefix: str) -> Arguments:
    volume, in_channels, width = checkpoint.tensor(prefix + _STEM, 3).shape
    stem_kernel = round(volume ** (1 / 3))
    if stem_kernel**3 != volume or stem_kernel % 2 == 0:
        raise CheckpointError(
            f"checkpoint {checkpoint.path}: {prefix}{_STEM} has {volume} slices, which no odd "
            "spatial box has; a stem that reaches into time is not known"
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
        "num_classes": checkpoint.tensor(f"{prefix}final.kernel", 2).shape[-1],
        "dimension": dimension,
        "kernel": kernel,
        "stem_kernel": stem_kernel,
        **({} if width == _STEM_WIDTH else {"width": width / _STEM_WIDTH}),
    }


def _blocks(state: Mapping[str, Tensor], prefix: str) -> list[Tensor]:
    """Kernels of the blocks that have slices."""
    inside = f"{prefix}block"
    return [value for key, value in state.items() if key.startswith(inside) and value.dim() == 3]


def _candidates(arguments: Arguments, first: str) -> Iterator[Arguments]:
    """All residual U-Nets, those of one code base first: many are in both."""
    names = [name for name in network_names() if "UNet" in name and "-" not in name]
    for name in sorted(names, key=lambda name: not name.startswith(first)):
        yield {"name": name, **arguments}


def _block_order_at_home(example: bool) -> tuple[str, str]:
    if example:
        return "cube", "the code of MinkowskiEngine's examples convolves over cubes"
    return "hybrid", "the code of SpatioTemporalSegmentation and its forks says hybrid, in 3D too"


def _even_order_at_home(
    checkpoint: Checkpoint, example: bool, arguments: Arguments
) -> tuple[str, str]:
    if example:
        return "first-axis", "MinkowskiEngine's examples run on its versions since 0.4"
    if checkpoint.zipped:
        return "first-axis", (
            "it was saved by PyTorch 1.6 (July 2020) or later, when MinkowskiEngine had this order"
        )
    published = checkpoint.around.get("arch") == "Res16UNet34C"
    if published and (arguments["stem_kernel"], arguments["num_classes"]) == (3, 20):
        return "last-axis", (
            "SpatioTemporalSegmentation published such a Res16UNet34C for ScanNet on 2019-11-02, "
            "before MinkowskiEngine 0.3.2 (December 2019) changed the order"
        )
    return "first-axis", "MinkowskiEngine has this order since 0.3.2 (December 2019)"


def _decided(wish: str, found: Evidence, at_home: str, reason: str) -> tuple[str, str]:
    """Return an order, and the sentence that says why."""
    if wish != "auto":
        return wish, f"{wish}, as asked for ({found.figures})"
    if found.order is not None:
        return found.order, f"{found.order}, as the weights say: {found.figures}"
    return at_home, f"{at_home}: {reason}; the weights do not tell ({found.figures})"
