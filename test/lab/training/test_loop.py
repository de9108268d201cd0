# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest
import torch

pytest.importorskip("open3d", reason="needs open3d to simulate drives")

from minkowski_perception.lab.simulation.drive import simulate_drive
from minkowski_perception.lab.training.clip_size import ClipSize
from minkowski_perception.lab.training.clips import ClipDataset, collate
from minkowski_perception.lab.training.composition import read_augmentation
from minkowski_perception.lab.training.loop import train
from minkowski_perception.lab.training.recipe import load_recipe
from minkowski_perception.lab.training.sources import Drives
from minkowski_perception.lab.training.stages import read_stages
from minkowski_perception.networks.model import load_model
from minkowski_perception.voxels import VoxelInput

RECIPE = Path(__file__).resolve().parents[3] / "config" / "training" / "outdoor_lidar.yaml"


@pytest.fixture(scope="module")
def recipe():
    """Return the settings of the first stage of the default model."""
    return read_stages(load_recipe(RECIPE), Path("out"))[0].settings


def small(recipe, **changes):
    data = {**recipe["data"], "seeds": [0, 2], "held_out_seeds": [9, 10], "frames": 3}
    return {
        **recipe,
        "network": {**recipe["network"], "width": 0.25},
        "data": {**data, "lidars": {"vlp16": 1}, "cache": None},
        "optimization": {**recipe["optimization"], "iterations": 3, "batch_size": 1},
        **changes,
    }


def test_the_shipped_recipe_gives_a_model_with_figures(tmp_path, recipe):
    path = train(small(recipe), tmp_path, "cpu")
    model = load_model(path.with_suffix(".yaml"))
    assert model.window == recipe["window"]
    assert 0.0 <= model.card["figures"]["miou"]["vlp16"] <= 1.0
    assert model.card["training"] == recipe["card"]["training"]


def test_training_twice_gives_the_same_weights(tmp_path, recipe):
    runs = [train(small(recipe), tmp_path / name, "cpu") for name in ("a", "b")]
    states = [load_model(run.with_suffix(".yaml")).network.state_dict() for run in runs]
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


def test_clips_depend_only_on_seed_and_index(recipe):
    sources = [Drives([list(simulate_drive(1, "vlp16", 3))])]
    spec, augment = VoxelInput.from_dict(recipe["input"]), read_augmentation({}, "augmentation")
    first, second = (ClipDataset(sources, ClipSize(3), spec, augment, 5, 10) for _ in range(2))
    for a, b in zip(first[4][:4], second[4][:4], strict=True):
        assert torch.equal(a, b)
    batch = collate([first[0], first[1]])
    assert batch.coordinates[:, 0].unique().tolist() == [0, 1]
    assert len({len(column) for column in batch[:4]}) == 1
    known = batch.labels[batch.labels != 255]
    assert known.min() >= 0
    assert known.max() < 19


def test_training_can_start_from_a_model(tmp_path, recipe):
    start = train(small(recipe, name="start"), tmp_path, "cpu").with_suffix(".yaml")
    settings = {**small(recipe)["optimization"], "learning_rate": 1e-9, "weight_decay": 0.0}
    changes = {"start": str(start), "optimization": settings}
    tuned = train(small(recipe, name="tuned", **changes), tmp_path, "cpu").with_suffix(".yaml")
    before, after = (dict(load_model(p).network.named_parameters()) for p in (start, tuned))
    for key, value in before.items():
        torch.testing.assert_close(after[key], value, atol=1e-3, rtol=1e-3)


def test_a_crf_is_trained_after_its_network_or_for_a_fixed_one(tmp_path, recipe):
    crf = {
        "lattice": {"chroma": "intensity", "sigma_space": 2},
        "seeds": [2, 3],
        "clips": 2,
        "optimization": {"steps": 2, "batch_size": 1, "learning_rate": 0.1, "weight_decay": 0.0},
    }
    network = {**recipe["network"], "width": 0.25, "dimension": 4, "kernel": "hybrid"}
    recipe = {**small(recipe), "network": network}
    both = train({**recipe, "name": "both", "crf": crf}, tmp_path, "cpu").with_suffix(".yaml")
    assert load_model(both).crf.kernel.abs().max() > 0
    changes = {"start": str(both), "crf": {**crf, "lattice": {"causal": True}}}
    changes["optimization"] = {"iterations": 0}
    after = load_model(train({**recipe, "name": "a", **changes}, tmp_path).with_suffix(".yaml"))
    assert after.crf.causal
    for key, value in load_model(both).network.state_dict().items():
        assert torch.equal(after.network.state_dict()[key], value), key
