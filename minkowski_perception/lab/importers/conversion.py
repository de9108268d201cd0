# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Convert checkpoints of other code bases to models, and 3D models to 4D."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minkowski_perception.lab.importers import lidar, res16unet
from minkowski_perception.lab.importers.checkpoint import Checkpoint, CheckpointError
from minkowski_perception.lab.importers.imported_network import ImportedNetwork, Orders
from minkowski_perception.lab.importers.source_datasets import SourceDataset
from minkowski_perception.labels import LabelSet
from minkowski_perception.networks.blocks import DEFAULT_LINKS, Kernel
from minkowski_perception.networks.crf import TrilateralCRF
from minkowski_perception.networks.inflate import inflate
from minkowski_perception.networks.model import ModelError, load_model
from minkowski_perception.networks.network import Network
from minkowski_perception.voxels import VoxelInput

_IMPORTERS = (lidar, res16unet)
_KNOWN = (
    "MinkUNet and SPVCNN of mmdetection3d (on TorchSparse, MinkowskiEngine, spconv); MinkUNet, "
    "SPVCNN and SPVNAS of SPVNAS's model zoo; Res16UNet of SpatioTemporalSegmentation, "
    "PointContrast and DepthContrast; MinkUNet of MinkowskiEngine's examples"
)
_SHOWN = 3


@dataclass(frozen=True)
class Conversion:
    """A model, ready for `save_model`.

    Attributes:
        network: the network with its weights.
        card: contents of the model card.
        crf: the CRF with its weights, or None.
    """

    network: Network
    card: Mapping[str, Any]
    crf: TrilateralCRF | None = None


def convert(
    checkpoint: Checkpoint,
    name: str,
    *,
    label_set: str | None = None,
    voxel_size: float | None = None,
    orders: Orders | None = None,
) -> Conversion:
    """Convert a checkpoint to a model.

    The card holds the preprocessing of the checkpoint's code base, so that the model reproduces
    the original results.

    Args:
        checkpoint: result of `read_checkpoint`.
        name: name of the model.
        label_set: name or path of the label set; None for that of the source data set.
        voxel_size: metres; None for that of the source data set.
        orders: orders of kernel slices that the checkpoint leaves open.

    Raises:
        CheckpointError: the checkpoint matches no known network, or its input features, voxel size
            or classes are unknown.
        LabelSetError: the label set is unknown.
    """
    for importer in _IMPORTERS:
        imported = importer.read(checkpoint, orders or Orders())
        if imported is not None:
            break
    else:
        first = ", ".join(list(checkpoint.state)[:_SHOWN])
        raise CheckpointError(
            f"checkpoint {checkpoint.path} matches no known network: it has "
            f"{len(checkpoint.state)} tensors ({first}, ...); known are {_KNOWN}"
        )
    source, labels = _source_dataset(checkpoint, imported, label_set)
    size = source.input.get("voxel_size") if voxel_size is None else voxel_size
    if size is None:
        raise CheckpointError(
            f"checkpoint {checkpoint.path}: the voxel size is unknown; give it with --voxel-size"
        )
    voxel_input = {**source.input, "voxel_size": size}
    try:
        VoxelInput.from_dict(voxel_input)
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"checkpoint {checkpoint.path}: {error}") from error
    card = {
        "name": name,
        "network": dict(imported.arguments),
        "label_set": labels.to_dict(),
        "input": voxel_input,
        "window": imported.window,
        "description": f"{imported.arguments['name']}, converted from {imported.family}.",
        "sensors": source.sensors,
        "license": "that of the checkpoint",
        **_training(source, labels.name),
        "source": {
            "file": checkpoint.path.name,
            "sha256": checkpoint.sha256,
            "family": imported.family,
            **imported.decisions,
            **_left_out(checkpoint),
        },
    }
    return Conversion(imported.network, card, imported.crf)


def reopen(path: Path, name: str) -> Conversion:
    """Load a model of this package, by its card or weights, under a new name.

    Raises:
        ModelError: the model cannot be loaded.
    """
    model = load_model(path)
    card = {key: value for key, value in model.card.items() if key != "sha256"}
    source = {
        "file": path.with_suffix(".safetensors").name,
        "sha256": model.card.get("sha256"),
        "family": "minkowski_perception",
    }
    return Conversion(model.network, {"source": source, **card, "name": name}, model.crf)


def inflated(conversion: Conversion, kernel: Kernel, window: int) -> Conversion:
    """Inflate a 3D model to 4D; until further training, the output for a frame is unchanged.

    Args:
        conversion: a 3D model.
        kernel: see `inflate`.
        window: number of frames that the 4D model sees together.

    Raises:
        ModelError: the model is not 3D, its frames share no voxel grid, or the kernel cannot hold
            its weights.
    """
    network, card = conversion.network, conversion.card
    if VoxelInput.from_dict(card["input"]).shift == "minimum":
        raise ModelError(
            f"model '{card['name']}' cannot be inflated: its voxels start at each frame's minimum "
            "corner (shift: minimum), so frames share no voxel grid"
        )
    try:
        deep = inflate(network, kernel)
    except ValueError as error:
        raise ModelError(f"model '{card['name']}' cannot be inflated: {error}") from error
    decision = f"from 3D, kernel {kernel}: ignores other frames until further training"
    config = {**card["network"], "dimension": deep.dimension, "kernel": kernel}
    if kernel == "causal":
        config |= {"links": list(DEFAULT_LINKS.levels), "recall": DEFAULT_LINKS.recall}
    changes = {
        "network": config,
        "window": window,
        "source": {**card["source"], "inflated": decision},
    }
    return Conversion(deep, {**card, **changes}, conversion.crf)


def _left_out(checkpoint: Checkpoint) -> dict[str, str]:
    keys = checkpoint.left_out
    if not keys:
        return {}
    more = f" and {len(keys) - _SHOWN} more" if len(keys) > _SHOWN else ""
    return {"left out": f"{', '.join(keys[:_SHOWN])}{more}, of training only"}


def _training(source: SourceDataset, labels: str) -> dict[str, Any]:
    if labels != source.labels:
        return {"training": f"by others on other data; input as for {source.name}"}
    return {
        "training": f"by others on {source.name}",
        "training_data": {"ignore_index": source.ignore_index, "label_map": source.label_map},
    }


def _source_dataset(
    checkpoint: Checkpoint, imported: ImportedNetwork, label_set: str | None
) -> tuple[SourceDataset, LabelSet]:
    """Return the data set that the network was trained on, and its label set."""
    network = imported.network
    sources = imported.source_datasets
    fitting = [s for s in sources if len(s.input["features"]) == network.in_channels]
    if not fitting:
        inputs = "; ".join(", ".join(s.input["features"]) for s in sources)
        raise CheckpointError(
            f"checkpoint {checkpoint.path} needs {network.in_channels} features per voxel, which "
            f"are unknown; known for {imported.family} are {inputs}"
        )
    if label_set is not None:
        labels = LabelSet.load(label_set)
        if len(labels) != network.num_classes:
            raise CheckpointError(
                f"label set '{label_set}' has {len(labels)} classes, but checkpoint "
                f"{checkpoint.path} has {network.num_classes} outputs"
            )
        named = [s for s in fitting if s.labels == labels.name]
        source = (named or [s for s in fitting if s.labels is None] or fitting)[0]
        return source, labels
    for source in fitting:
        if source.labels is not None:
            labels = LabelSet.load(source.labels)
            if len(labels) == network.num_classes:
                return source, labels
    known = ", ".join(f"{n} ({len(LabelSet.load(n))})" for n in LabelSet.available())
    raise CheckpointError(
        f"checkpoint {checkpoint.path} has {network.num_classes} outputs; if they are classes, "
        f"name their label set with --label-set: {known}, or a .yaml file; if they are features, "
        "as in PointContrast's pre-training, the network cannot label"
    )
