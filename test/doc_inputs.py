# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Small inputs for the commands and snippets of the documentation, by the names that pages use."""

import json
from pathlib import Path

import numpy as np
import plain_res16unet
import plain_spv
import torch
import yaml
from doc_snippets import ROOT
from small_recipes import small_recipe, write_sequences
from tiny_models import save_tiny

SCANS = ("data/semantickitti", "path/to/dataset")
"""Data sets in the layout of SemanticKITTI."""
SITES = ("data/site", "data/site_test")
"""Data of a user with classes of their own."""


def write_inputs(folder: Path, drive: Path) -> None:
    """Write the inputs of all pages to a folder, given a bag."""
    link(folder / "path" / "to" / "bag", drive)
    link(folder / "path" / "to" / "drives" / "monday", drive)
    link(folder / "recording.mcap", next(drive.glob("*.mcap")))
    for name in SCANS:
        write_sequences(folder / name, frames=8)
    for name in SITES:
        write_sequences(folder / name, frames=2, names=("00",), ids=(10, 30, 40))
    link(folder / "scan.bin", folder / SCANS[0] / "sequences" / "00" / "velodyne" / "000000.bin")
    scans = folder / "data" / "mine" / "00" / "scans"
    scans.mkdir(parents=True)
    np.save(scans / "100.npy", np.ones((5, 5)))
    _write_checkpoints(folder)
    _write_models(folder)
    _write_recipes(folder)


def _write_checkpoints(folder: Path) -> None:
    state = plain_spv.checkpoint("MinkUNet34-W32", "mmdet3d-spconv", width=0.25)
    for name in ("minkunet34_w32_spconv.pth", "minkunet34.pth"):
        torch.save(plain_spv.file_of(state, "mmdet3d-spconv"), folder / name)
    zoo = folder / "SemanticKITTI_val_SPVNAS@65GMACs"
    zoo.mkdir()
    config = plain_spv.net_config(seed=0)
    (zoo / "net.config").write_text(json.dumps(config))
    state = plain_spv.specialized(config, seed=0)
    torch.save(plain_spv.file_of(state, "spvnas-specialized"), zoo / "init")
    state = plain_res16unet.checkpoint("Res16UNet34C", width=0.25, stem_kernel=5)
    torch.save(plain_res16unet.file_of(state, "sts"), folder / "Res16UNet34C.pth")
    state = plain_res16unet.checkpoint("Res16UNet14A", width=0.25, classes=3)
    torch.save(plain_res16unet.file_of(state, "sts"), folder / "checkpoint.pth")
    classes = {"floor": [0, 0, 0], "wall": [9, 9, 9], "other": [99, 99, 99]}
    (folder / "my_classes.yaml").write_text(yaml.safe_dump({"name": "mine", "classes": classes}))


def _write_models(folder: Path) -> None:
    weights = ROOT / "minkowski_perception" / "weights"
    for suffix in (".yaml", ".safetensors"):
        link(folder / f"indoor{suffix}", weights / f"indoor_depth{suffix}")
    save_tiny(folder / "tiny", dimension=4, kernel="causal")
    (folder / "tiny_models").mkdir()
    save_tiny(folder / "tiny_models" / "ablation_3d", dimension=3)
    heads = {"classes": 19, "moving": 1}
    for seed in ("1", "2", "3"):
        models = folder / "out" / "time" / seed
        models.mkdir(parents=True)
        for name in ("time_3d", "time_3d_wide"):
            save_tiny(models / name, dimension=3, heads=heads)
        save_tiny(models / "time_rich", dimension=4, kernel="causal", heads=heads)


def _write_recipes(folder: Path) -> None:
    """Write a small recipe for each of `config/training`, with its name and its stages."""
    (folder / "config" / "training").mkdir(parents=True)
    for recipe in ROOT.glob("config/training/*.yaml"):
        content = small_recipe(folder / SCANS[0], name=recipe.stem)
        if stages := yaml.safe_load(recipe.read_text()).get("stages"):
            content["stages"] = [{"name": stage["name"]} for stage in stages]
        (folder / recipe.relative_to(ROOT)).write_text(yaml.safe_dump(content))


def link(path: Path, target: Path) -> None:
    """Make a link, and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)


def python_inputs() -> dict[str, object]:
    """Return the variables that Python blocks may use without making them."""
    from minkowski_perception.segmenter import Segmenter

    rng = np.random.default_rng(0)
    points = rng.uniform(-15, 15, (2000, 3)).astype(np.float32) * (1, 1, 0.1)
    return {
        "points": points,
        "intensity": rng.uniform(0, 1, 2000).astype(np.float32),
        "segmenter": Segmenter.load("outdoor_lidar", engine="torch"),
    }
