# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""From a checkpoint of another code base to a model of ours, and from 3D to 4D."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minkowski_perception.lab.importers import lidar, res16unet
from minkowski_perception.lab.importers.checkpoint import Checkpoint, CheckpointError
from minkowski_perception.lab.importers.homes import Home
from minkowski_perception.lab.importers.reading import Orders, Reading
from minkowski_perception.labels import LabelSet
from minkowski_perception.networks.crf import TrilateralCRF
from minkowski_perception.networks.inflate import inflate
from minkowski_perception.networks.minkunet import DEFAULT_LINKS
from minkowski_perception.networks.model import ModelError, load_model
from minkowski_perception.networks.network import Kernel, Network
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
        network: with its weights.
        card: what its card says.
        crf: with its weights, where there is one.
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
    """Make a model of a checkpoint.

    The card carries the preprocessing of the checkpoint's code base, so that the model gives what
    it gave there.

    Args:
        checkpoint: what `read_checkpoint` returned.
        name: of the model.
        label_set: name or path of the label set; None for that of the code base's data.
        voxel_size: metres; None for that of the code base.
        orders: of kernels' slices, where the checkpoint leaves them open.

    Raises:
        CheckpointError: it is none of the known networks, or nothing says what its inputs or its
            classes are.
        LabelSetError: there is no such label set.
    """
    for importer in _IMPORTERS:
        reading = importer.read(checkpoint, orders or Orders())
        if reading is not None:
            break
    else:
        first = ", ".join(list(checkpoint.state)[:_SHOWN])
        raise CheckpointError(
            f"checkpoint {checkpoint.path} holds {len(checkpoint.state)} tensors ({first}, ...), "
            f"and of no network that is known; known are {_KNOWN}"
        )
    home, labels = _home(checkpoint, reading, label_set)
    size = home.input.get("voxel_size") if voxel_size is None else voxel_size
    if size is None:
        raise CheckpointError(
            f"checkpoint {checkpoint.path}: nothing says how large its voxels are; say so with "
            "--voxel-size"
        )
    given = {**home.input, "voxel_size": size}
    try:
        VoxelInput.from_dict(given)
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"checkpoint {checkpoint.path}: {error}") from error
    card = {
        "name": name,
        "network": dict(reading.arguments),
        "labels": labels,
        "input": given,
        "window": reading.window,
        "description": f"{reading.arguments['name']}, converted from {reading.family}.",
        "sensors": home.sensors,
        "license": "that of the checkpoint",
        **_training(home, labels),
        "source": {
            "file": checkpoint.path.name,
            "sha256": checkpoint.sha256,
            "family": reading.family,
            **reading.decisions,
        },
    }
    return Conversion(reading.network, card, reading.crf)


def reopen(path: Path, name: str) -> Conversion:
    """Return one of our own models, from its card or its weights, under another name.

    Raises:
        ModelError: it cannot be loaded.
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
    """Make a 4D model of a 3D one; until it is trained on, each frame gets what it got alone.

    Args:
        conversion: a model in 3D.
        kernel: see `inflate`.
        window: frames that the 4D model sees together.

    Raises:
        ModelError: the model is not in 3D, its frames cannot be joined, or the kernel has no place
            for its weights.
    """
    network, card = conversion.network, conversion.card
    if VoxelInput.from_dict(card["input"]).shift == "minimum":
        raise ModelError(
            f"model '{card['name']}' cannot be inflated: its voxels begin at each frame's own "
            "corner (shift: minimum), so frames cannot be joined in time"
        )
    try:
        deep = inflate(network, kernel)
    except ValueError as error:
        raise ModelError(f"model '{card['name']}' cannot be inflated: {error}") from error
    decision = f"from 3D, kernel {kernel}: until it is trained on, it sees each frame alone"
    config = {**card["network"], "dimension": deep.dimension, "kernel": kernel}
    if kernel == "causal":
        config |= {"links": list(DEFAULT_LINKS.levels), "recall": DEFAULT_LINKS.recall}
    changes = {
        "network": config,
        "window": window,
        "source": {**card["source"], "inflated": decision},
    }
    return Conversion(deep, {**card, **changes}, conversion.crf)


def _training(home: Home, labels: str) -> dict[str, Any]:
    if labels != home.labels:
        return {"training": f"by others on other data; input as for {home.data}"}
    return {
        "training": f"by others on {home.data}",
        "home": {"ignore_index": home.ignore_index, "label_map": home.label_map},
    }


def _home(checkpoint: Checkpoint, reading: Reading, label_set: str | None) -> tuple[Home, str]:
    """Return what the network was trained on, and its label set."""
    network = reading.network
    fitting = [h for h in reading.homes if len(h.input["features"]) == network.in_channels]
    if not fitting:
        inputs = "; ".join(", ".join(h.input["features"]) for h in reading.homes)
        raise CheckpointError(
            f"checkpoint {checkpoint.path} wants {network.in_channels} features a voxel, and "
            f"nothing says which; known for {reading.family} are {inputs}"
        )
    if label_set is not None:
        classes = len(LabelSet.load(label_set))
        if classes != network.num_classes:
            raise CheckpointError(
                f"label set '{label_set}' has {classes} classes, and checkpoint {checkpoint.path} "
                f"{network.num_classes} outputs"
            )
        named = [h for h in fitting if h.labels == label_set]
        home = (named or [h for h in fitting if h.labels is None] or fitting)[0]
        path = Path(label_set)
        return home, str(path.resolve()) if path.suffix in (".yaml", ".yml") else label_set
    for home in fitting:
        if home.labels is not None and len(LabelSet.load(home.labels)) == network.num_classes:
            return home, home.labels
    known = ", ".join(f"{n} ({len(LabelSet.load(n))})" for n in LabelSet.available())
    raise CheckpointError(
        f"checkpoint {checkpoint.path} has {network.num_classes} outputs; if they are classes, "
        f"name their label set with --label-set: {known}, or a .yaml file; if they are features, "
        "as those of PointContrast's pre-training, there are no labels to give"
    )
