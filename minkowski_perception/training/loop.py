# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Training of a network, and of a CRF after it, on simulated drives, by a recipe."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader
from tqdm import tqdm

from minkowski_perception.frame import Frame
from minkowski_perception.labels import LabelSet
from minkowski_perception.metrics import ConfusionMatrix
from minkowski_perception.networks import Network, build_network
from minkowski_perception.networks.crf import TrilateralCRF
from minkowski_perception.networks.inflate import transfer
from minkowski_perception.networks.model import Model, load_model, save_model
from minkowski_perception.segmenter import Segmenter, choose_device
from minkowski_perception.sparse import SparseTensor
from minkowski_perception.training.augment import Augmentation
from minkowski_perception.training.clips import ClipDataset, as_seen_in, collate, simulate_drives
from minkowski_perception.training.crf import train_crf
from minkowski_perception.training.losses import class_weights, segmentation_loss
from minkowski_perception.voxels import VoxelInput

CHECKPOINT_EVERY = 200


def train(recipe: Mapping[str, Any], out: Path, device: str = "auto") -> Path:
    """Train a network, and a CRF after it if asked for, and save it as a model.

    Args:
        recipe: as in config/training/*.yaml: `name`, `network`, `labels`, `input`, `window`,
            `seed`, `data`, `optimization` and `card`; with `start`, from the weights of that
            model (a name or path) instead of from scratch: in 3D or 4D, with whatever kernel.
            With `crf`, for a CRF too: what `train_crf` takes, `seeds` of its drives, better not
            those that the network knows, and `clips`, how many of them. With 0 iterations the
            network stays what it started from.
        out: folder for the model's card and weights; they are written along the way too.
        device: see `choose_device`.

    Returns:
        Path of the model, without suffix.

    Raises:
        KeyError, TypeError, ValueError: the recipe lacks something or asks for the impossible.
        ModelError: the model to start from cannot be loaded.
    """
    path = out / recipe["name"]
    card = {key: recipe[key] for key in ("name", "network", "labels", "input", "window")}
    card |= recipe["card"]
    torch.manual_seed(recipe["seed"])
    target = choose_device(device)
    network = build_network(**recipe["network"])
    if "start" in recipe:
        transfer(load_model(recipe["start"]).network, network)
    network = network.to(target)
    if recipe["optimization"]["iterations"]:
        _train_network(network, recipe, target, partial(save_model, path, network, card))
    crf = _train_crf(network, recipe, card, device) if "crf" in recipe else None
    figures = evaluate(network, crf, card, path, recipe["data"])
    save_model(path, network, {**card, "figures": figures}, crf=crf)
    return path


def _train_network(
    network: Network, recipe: Mapping[str, Any], device: torch.device, save: Callable[[], None]
) -> None:
    data, settings = recipe["data"], recipe["optimization"]
    drives = _drives(data, range(*data["seeds"]), data["lidars"])
    clips = _clips(recipe, drives, settings["iterations"] * settings["clips"])
    loader = DataLoader(clips, settings["clips"], collate_fn=collate, num_workers=1)
    labels = np.concatenate([f.labels for drive in drives for f in drive if f.labels is not None])
    weights = class_weights(labels, network.num_classes).to(device)
    optimizer = torch.optim.AdamW(
        network.parameters(), settings["learning_rate"], weight_decay=settings["weight_decay"]
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, settings["learning_rate"], settings["iterations"], pct_start=0.05
    )
    network.train()
    smooth = 0.0
    progress = tqdm(loader, total=settings["iterations"], desc="training", unit="step")
    for step, (coordinates, features, truth) in enumerate(progress, start=1):
        places = as_seen_in(network.dims, coordinates).to(device)
        logits = network(SparseTensor(features.to(device), places)).at(places)
        loss = segmentation_loss(logits, truth.to(device), weights)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), settings["gradient_clip"])
        optimizer.step()
        schedule.step()
        smooth = loss.item() if step == 1 else 0.98 * smooth + 0.02 * loss.item()
        progress.set_postfix(loss=f"{smooth:.3f}")
        if step % CHECKPOINT_EVERY == 0:
            save()


def _train_crf(
    network: Network, recipe: Mapping[str, Any], card: Mapping[str, Any], device: str
) -> TrilateralCRF:
    data, settings = recipe["data"], recipe["crf"]
    drives = _drives(data, range(*settings["seeds"]), data["lidars"])
    clips = _clips(recipe, drives, settings["clips"])
    spec = VoxelInput.from_dict(recipe["input"])
    labels = LabelSet.load(recipe["labels"])
    model = Model(recipe["name"], network, labels, spec, recipe["window"], card)
    return train_crf(model, clips, settings, seed=recipe["seed"], device=device)


def _clips(
    recipe: Mapping[str, Any], drives: Sequence[Sequence[Frame]], length: int
) -> ClipDataset:
    return ClipDataset(
        drives,
        VoxelInput.from_dict(recipe["input"]),
        recipe["data"].get("clip", recipe["window"]),
        Augmentation(**recipe.get("augmentation", {})),
        recipe["seed"],
        length,
    )


def _drives(
    data: Mapping[str, Any], seeds: range, lidars: Mapping[str, float]
) -> list[list[Frame]]:
    cache = Path(data["cache"]) if "cache" in data else None
    return simulate_drives(seeds, lidars, data["frames"], cache)


def evaluate(
    network: Network,
    crf: TrilateralCRF | None,
    card: Mapping[str, Any],
    path: Path,
    data: Mapping[str, Any],
) -> dict[str, Any]:
    """Score the model, as it is shipped, on held-out drives of each LiDAR.

    Returns:
        `miou` by LiDAR and `iou` by class over all of them, rounded for a card.
    """
    save_model(path, network, card, crf=crf)
    model = load_model(path.with_suffix(".yaml"))
    total = ConfusionMatrix(len(model.label_set))
    by_lidar = {}
    for lidar in data["lidars"]:
        scores = ConfusionMatrix(len(model.label_set))
        for drive in _drives(data, range(*data["held_out_seeds"]), {lidar: 1.0}):
            segmenter = Segmenter(model, precision="float32")
            for frame in drive:
                assert frame.labels is not None
                scores.update(frame.labels, segmenter.segment(frame).labels)
        by_lidar[lidar] = round(scores.miou, 3)
        total.counts += scores.counts
    iou = zip(model.label_set.names, total.iou.tolist(), strict=True)
    return {
        "held_out_seeds": list(data["held_out_seeds"]),
        "miou": by_lidar,
        "iou": {name: round(value, 3) for name, value in iou if not np.isnan(value)},
    }
