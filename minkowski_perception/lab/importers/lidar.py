# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""MinkUNet, SPVCNN and SPVNAS of mmdetection3d and of SPVNAS's model zoo.

mmdetection3d (version 1.4.0) runs MinkUNet on three libraries; its checkpoints have the names and
orders of the library. SPVNAS's checkpoints have TorchSparse's order. With spconv, voxels in the
last plane of an odd extent have no parent in strided convolutions, and are zero after upsampling.
The cards of such networks have `boundary: clip`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from minkowski_perception.lab.importers.checkpoint import Checkpoint, CheckpointError
from minkowski_perception.lab.importers.imported_network import ImportedNetwork, Orders
from minkowski_perception.lab.importers.kernels import (
    first_axis_fastest,
    last_axis_fastest,
    torchsparse_order,
)
from minkowski_perception.lab.importers.layouts import Arguments, Layout, load_matching
from minkowski_perception.lab.importers.source_datasets import (
    LIDAR_MMDET3D,
    LIDAR_SPVNAS,
    SourceDataset,
)
from minkowski_perception.networks.heads import CLASSES
from minkowski_perception.networks.registry import network_names
from minkowski_perception.networks.spvnas import architecture_of

_STEM = 32  # channels at full width
_BLOCK = r"^(stage\d\.[1-9]\d*|up\d\.1\.\d+)"
_PLAIN_NORMS = (r"\.bn\.", ".")
_LINEAR_HEADS = (r"^(point_transforms\.\d\.0|classifier\.0)\.kernel", r"\1.weight")

# From SPVNAS's stages to mmdetection3d's; applied after the blocks are renamed.
_MMDET3D = (
    _LINEAR_HEADS,
    (r"^stem\.0", "backbone.conv_input.0.net.0"),
    (r"^stem\.1", "backbone.conv_input.0.net.1"),
    (r"^stem\.3", "backbone.conv_input.1.net.0"),
    (r"^stem\.4", "backbone.conv_input.1.net.1"),
    *((rf"^stage{s + 1}\.", f"backbone.encoder.{s}.") for s in range(4)),
    *((rf"^up{s + 1}\.", f"backbone.decoder.{s}.") for s in range(4)),
    (r"^point_transforms", "backbone.point_transforms"),
    (r"^classifier\.0", "decode_head.conv_seg"),
)


def _two_convolutions(norm: str) -> tuple[tuple[str, str], ...]:
    """Rules for blocks whose layers have names instead of numbers."""
    members = ((0, "conv1"), (1, f"{norm}1"), (3, "conv2"), (4, f"{norm}2"))
    return tuple((rf"{_BLOCK}\.net\.{i}\.", rf"\1.{name}.") for i, name in members)


_LAYOUTS = {
    "torchsparse": Layout(
        "mmdetection3d on TorchSparse",
        (*_MMDET3D, _PLAIN_NORMS),
        lambda _, region: torchsparse_order(region),
    ),
    "minkowski": Layout(
        "mmdetection3d on MinkowskiEngine",
        (*_two_convolutions("norm"), (rf"{_BLOCK}\.downsample", r"\1.downsample.net"), *_MMDET3D),
        lambda _, region: first_axis_fastest(region),
    ),
    "spconv": Layout(
        "mmdetection3d on spconv",
        (
            *_two_convolutions("bn"),
            *_MMDET3D,
            _PLAIN_NORMS,
            (r"\.net\.", "."),
            (r"\.kernel$", ".weight"),
        ),
        lambda _, region: last_axis_fastest(region),
    ),
    "spvnas": Layout(
        "SPVNAS's model zoo",
        (_LINEAR_HEADS, _PLAIN_NORMS),
        lambda _, region: torchsparse_order(region),
    ),
    "sub-network": Layout(
        "a sub-network of SPVNAS",
        (
            *((rf"^(stage\d)\.{j + 1}\.", rf"\1.feature.{j}.") for j in range(2)),
            (r"^(up\d)\.1\.", r"\1.feature."),
            (r"^((?:stage|up)\d)\.0\.", r"\1.transition."),
            *((rf"^stage{s + 1}\.", f"downsample.{s}.") for s in range(4)),
            *((rf"^up{s + 1}\.", f"upsample.{s}.") for s in range(4)),
            (r"(transition\.net|feature\.\d\.downsample)\.0\.", r"\1.conv."),
            (r"(transition\.net|feature\.\d\.downsample)\.1\.bn", r"\1.bn"),
            (r"(feature\.\d\.downsample)", r"\1.net"),
            *((rf"(feature\.\d\.net)\.{3 * i}\.k", rf"\1.{i}.net.conv.k") for i in range(2)),
            *((rf"(feature\.\d\.net)\.{3 * i + 1}\.bn", rf"\1.{i}.net.bn") for i in range(2)),
            (r"^(point_transforms\.\d)\.0\.kernel", r"\1.net.conv.weight"),
            (r"^(point_transforms\.\d)\.0\.bias", r"\1.net.conv.bias"),
            (r"^(point_transforms\.\d)\.1\.bn", r"\1.net.bn"),
            (r"^classifier\.0\.kernel", "classifier.linear.weight"),
            (r"^classifier\.0\.bias", "classifier.linear.bias"),
            (r"^(stem\.\d)\.bn", r"\1"),
        ),
        lambda _, region: torchsparse_order(region),
    ),
}
_ORDERS = {
    "torchsparse": "TorchSparse's: first axis fastest in odd kernels, last axis in even ones",
    "minkowski": "MinkowskiEngine's since 0.3.2: first axis fastest",
    "spconv": "spconv's: last axis fastest",
}
_SIGNATURE = ("stem.0.kernel", "stem.1.bn.weight", "stage1.0.net.0.kernel")
_POINTS = "point_transforms.0.0.kernel"


def read(checkpoint: Checkpoint, orders: Orders) -> ImportedNetwork | None:
    """Recognise and import a checkpoint; return None if it has none of these layouts.

    Raises:
        CheckpointError: the checkpoint matches no known network (the differences are listed), or
            `orders` is given although the library determines the order.
    """
    found = _recognised(checkpoint)
    if found is None:
        return None
    kind, prefix = found
    layout, checkpoint = _LAYOUTS[kind], checkpoint.below(prefix)
    if orders != Orders():
        raise CheckpointError(
            f"checkpoint {checkpoint.path} is from {layout.family}, whose slice orders are known: "
            "leave out the order options"
        )
    source, config = LIDAR_MMDET3D, checkpoint.config or {}
    if kind == "spconv":
        source = replace(source, input={**source.input, "boundary": "clip"})
        checkpoint = _of_spconv_2(checkpoint, layout.key("stem.0.kernel"))
    if kind in ("spvnas", "sub-network"):
        if not config:
            raise CheckpointError(
                f"checkpoint {checkpoint.path} is from {layout.family}: put its net.config beside "
                "it and name it 'init'; both files are needed to identify the network"
            )
        source = _zoo_dataset(checkpoint, config)
    points = layout.key(_POINTS) in checkpoint.state
    if kind == "spvnas" and "pres" not in config:
        # The zoo's MinkUNet stores a point branch that it does not use; its config has no "pres".
        layout, points = replace(layout, unused=r"point_transforms\."), False
    if kind == "sub-network":
        checkpoint = _without_unused_columns(checkpoint, layout, config)
    candidates = _candidates(checkpoint, layout, points)
    arguments, network = load_matching(checkpoint, layout, candidates)
    decisions = {"order": _ORDERS.get(kind, _ORDERS["torchsparse"])}
    return ImportedNetwork(layout.family, arguments, network, (source,), decisions)


def _recognised(checkpoint: Checkpoint) -> tuple[str, str] | None:
    """Return the kind of layout and the prefix of its keys, such as "model."; None if neither."""
    for kind, layout in _LAYOUTS.items():
        stem, *others = map(layout.key, _SIGNATURE)
        for key in checkpoint.state:
            prefix = key.removesuffix(stem)
            if (
                key.endswith(stem)
                and prefix[-1:] in ("", ".")
                and all(prefix + other in checkpoint.state for other in others)
            ):
                return kind, prefix
    return None


def _of_spconv_2(checkpoint: Checkpoint, stem: str) -> Checkpoint:
    """Convert the weights of spconv 1.x, [*sizes, C_in, C_out], to those of spconv 2.x."""
    if checkpoint.tensor(stem, 5).shape[:3] != (3, 3, 3):
        return checkpoint
    state = dict(checkpoint.state)
    for key, weight in state.items():
        if weight.dim() == 5:
            *sizes, inputs, outputs = weight.shape
            if set(sizes) == {1}:  # spconv 2.x reads the memory as [C_in, C_out]
                state[key] = weight.reshape(outputs, *sizes, inputs)
            else:
                state[key] = weight.permute(4, 0, 1, 2, 3)
    return replace(checkpoint, state=state)


def _candidates(checkpoint: Checkpoint, layout: Layout, points: bool) -> Iterator[Arguments]:
    stem = checkpoint.tensor(layout.key("stem.0.kernel"), 3, 5)
    # spconv's five axes start with the output channels and end with the input channels.
    in_channels, width = (stem.shape[-1], stem.shape[0]) if stem.dim() == 5 else stem.shape[1:]
    classes = checkpoint.tensor(layout.key("classifier.0.bias"), 1)
    common = {"in_channels": in_channels, "heads": {CLASSES: len(classes)}}
    if layout is _LAYOUTS["sub-network"]:
        yield {"name": "SPVNAS", **common, "config": dict(checkpoint.config or {})}
        return
    family = ("SPVCNN",) if points else ("MinkUNet18", "MinkUNet34", "MinkUNet34v2")
    published = [name for name in network_names() if name.rpartition("-")[0] in family]
    yield from ({"name": name, **common} for name in published)
    yield from (
        {"name": name, **common, "width": width / _STEM}
        for name in published
        if name.endswith(f"W{_STEM}")
    )


def _without_unused_columns(
    checkpoint: Checkpoint, layout: Layout, config: Mapping[str, Any]
) -> Checkpoint:
    """Cut the classifier, stored with the super-network's width, to the columns in use."""
    try:
        width = architecture_of(config).decoder[-1].width
    except ValueError as error:
        raise CheckpointError(f"checkpoint {checkpoint.path}: {error}") from error
    key = layout.key("classifier.0.kernel")
    classifier = checkpoint.tensor(key, 2)
    return replace(checkpoint, state={**checkpoint.state, key: classifier[:, :width]})


def _zoo_dataset(checkpoint: Checkpoint, config: Mapping[str, Any]) -> SourceDataset:
    """Return SPVNAS's data set with the voxel size of a net.config (pres of points, vres)."""
    points, voxels = (
        config.get(key, LIDAR_SPVNAS.input["voxel_size"]) for key in ("pres", "vres")
    )
    if points != voxels:
        raise CheckpointError(
            f"checkpoint {checkpoint.path} has points of {points} m in voxels of {voxels} m; only "
            "equal resolutions are supported"
        )
    return replace(LIDAR_SPVNAS, input={**LIDAR_SPVNAS.input, "voxel_size": voxels})
