# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from small_recipes import small_recipe, write_sequences

from minkowski_perception.frame import Frame
from minkowski_perception.lab.training.loop import train
from minkowski_perception.lab.training.optimization import make_optimizer, make_schedule
from minkowski_perception.lab.training.recipe import Recipe, RecipeError, load_recipe
from minkowski_perception.lab.training.stages import read_stages
from minkowski_perception.labels import LabelSet
from minkowski_perception.networks import build_network
from minkowski_perception.networks.model import load_model

FOLDER = Path(__file__).resolve().parents[3] / "config" / "training"
PUBLISHED = {
    # name: parameters in millions, learning rates at the first step, halfway and at the last.
    "mmdet3d_minkunet18_w16": (5.44, (0.008 * 0.24, 0.12, 0.0)),
    "mmdet3d_minkunet18_w20": (8.77, (0.008 * 0.24, 0.12, 0.0)),
    "mmdet3d_minkunet18_w32": (21.72, (0.008 * 0.24, 0.12, 0.0)),
    "mmdet3d_minkunet34_w32": (37.87, (0.008, 0.008, 0.00008)),
    "mmdet3d_minkunet34v2_w32": (37.88, (0.008, 0.008, 0.00008)),
    "spvnas_spvcnn_w16": (5.45, (0.008 * 0.24, 0.12, 0.0)),
    "spvnas_spvcnn_w32": (21.78, (0.008 * 0.24, 0.12, 0.0)),
    "sts_scannet_res16unet34c": (37.86, (0.1, 0.1 * 0.5**0.9, 0.0)),
    "sts_s3dis_res16unet18": (41.0, (0.1, 0.1 * 0.5**0.9, 0.0)),
    "sts_synthia3d_res16unet14a": (8.02, (0.1, 0.1 * 0.5**0.9, 0.0)),
    "sts_synthia4d_res16unet14a": (8.54, (0.1, 0.1 * 0.5**0.9, 0.0)),
}


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_recipe_is_valid(path):
    stages = read_stages(load_recipe(path), Path("out"))
    assert stages[-1].plan.name == path.stem
    for stage in stages:
        _check(stage.plan, path)


def causal(root, data, **network):
    """Return a recipe of a causal network whose clips have settings in `data`."""
    recipe = small_recipe(root, augmentation=[{"jitter_poses": {}}], window=3)
    recipe["network"] |= {"dimension": 4, "kernel": "causal", **network}
    recipe["data"] |= data
    return recipe


def test_clips_of_drawn_lengths_and_strides_train_rich_links(tmp_path):
    write_sequences(tmp_path, frames=6)
    data = {"clip": {1: 1, 2: 1, 4: 2}, "stride": {1: 2, 2: 1}}
    recipe = causal(tmp_path, data, links=["voxel"] * 5, recall=3)
    recipe |= {"loss": {"first_frames": 0.25}}
    recipe["optimization"] |= {"freeze_batch_norm": True}
    plan = Recipe.from_dict(recipe)
    assert (plan.clip_size.longest, plan.clip_size.span) == (4, 7)
    model = load_model(train(recipe, tmp_path / "out", "cpu", workers=0).with_suffix(".yaml"))
    assert model.network.recall == 3
    linked = model.network.linked_layers
    assert {name.partition(".")[0] for name in linked} == {f"block{i}" for i in range(1, 9)}
    past = [layer.kernel[-1].abs().max() for layer in linked.values()]
    assert min(past) > 0


def test_clips_train_the_weights_of_support_rows(tmp_path):
    write_sequences(tmp_path, frames=6)
    recipe = causal(tmp_path, {"clip": {1: 1, 3: 2}, "stride": {1: 1}}, recall=2, support=10)
    recipe["optimization"] |= {"freeze_batch_norm": True, "precision": "bfloat16"}
    model = load_model(train(recipe, tmp_path / "out", "cpu", workers=0).with_suffix(".yaml"))
    assert (model.network.support.gate != 1).any()
    assert model.network.support.offset.any()
    assert model.network.support.ageing.any()


@pytest.mark.parametrize(
    ("data", "network", "message"),
    [
        (
            {"clip": 1},
            {"links": ["none"] * 5, "support": 10},
            "recipe.data.clip: must have clips of 2 frames or more, not of 1: network.support is",
        ),
        ({"clip": {2: 1, 3: 1}}, {"recall": 3}, "recall: must be at most 2, the longest clip"),
        ({}, {"recall": 4}, "recipe.network.recall: must be at most 2, .* minus one, not 4"),
        ({"clip": 1}, {}, "recipe.network.recall: must be at most 0, .*, not 1"),
        ({}, {"links": ["voxel"]}, "recipe.network: links must be 5 of"),
        ({"clip": {}}, {}, "recipe.data.clip: must have at least one number"),
        ({"clip": {0: 1}}, {}, "key recipe.data.clip.0: must be at least 1, not 0"),
        ({"clip": {2: 0}}, {}, "recipe.data.clip.2: must be above 0, not 0"),
        ({"clip": "long"}, {}, "recipe.data.clip: must be an integer, not 'long'"),
        ({"stride": {1: -1}}, {}, "recipe.data.stride.1: must be above 0, not -1"),
        ({"clip": {2: 1}, "shorter": 0.4}, {}, "shorter is for a single number of clip"),
        (
            {"seeds": [0, 1], "lidars": {"vlp16": 1}, "frames": 6, "stride": {1: 1, 3: 1}},
            {},
            "recipe.data.frames: must be 7 or more, as many as the longest clip spans, not 6",
        ),
    ],
)
def test_clips_that_do_not_fit_are_refused(data, network, message, tmp_path):
    with pytest.raises(RecipeError, match=message):
        Recipe.from_dict(causal(tmp_path, data, **network))


def test_a_loss_on_the_average_trains_another_network(tmp_path):
    write_sequences(tmp_path)
    networks = []
    for loss in ({}, {"averaged": 0.8}):
        recipe = causal(tmp_path, {"clip": 2, "shorter": 0.0}) | {"loss": loss}
        path = train(recipe, tmp_path / "out", "cpu", workers=0, overwrite=True)
        networks.append(load_model(path.with_suffix(".yaml")).network)
    alone, averaged = ({**network.state_dict()} for network in networks)
    assert not torch.equal(alone["final.kernel"], averaged["final.kernel"])


def test_a_loss_on_the_average_of_voxels_at_each_frames_own_corner_is_refused(tmp_path):
    recipe = small_recipe(tmp_path, loss={"averaged": 0.5})
    recipe["input"] |= {"shift": "minimum"}
    with pytest.raises(RecipeError, match=r"recipe.loss.averaged: must be 0 with input.shift"):
        Recipe.from_dict(recipe)


def test_a_network_that_is_not_trained_may_have_any_recall(tmp_path):
    recipe = causal(tmp_path, {}, recall=4)
    recipe["optimization"] = {"iterations": 0}
    Recipe.from_dict(recipe)


def _check(recipe, path):
    assert path.name in recipe.card.training
    points = np.random.default_rng(0).uniform(-5, 5, (500, 3)).astype(np.float32)
    frame = Frame(
        points,
        intensity=np.ones(500, np.float32),
        colour=np.full((500, 3), 100, np.uint8),
        labels=np.arange(500) % len(LabelSet.load(recipe.labels)),
    )
    clip = [frame] * recipe.window
    varied = recipe.augmentation(clip, np.random.default_rng(1), lambda: clip)
    assert len(varied) == recipe.window
    assert not np.array_equal(varied[0].points, points)


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_recipe_has_its_network_and_schedule(name):
    millions, rates = PUBLISHED[name]
    recipe = Recipe.from_dict(load_recipe(FOLDER / f"{name}.yaml"))
    network = build_network(**recipe.network)
    count = sum(parameter.numel() for parameter in network.parameters()) / 1e6
    # Some published counts are for other numbers of classes or input channels.
    assert count == pytest.approx(millions, rel=0.01)
    settings = recipe.optimization
    optimizer = make_optimizer([torch.nn.Parameter(torch.zeros(1))], settings)
    schedule = make_schedule(optimizer, settings)
    steps = settings.iterations
    found = [schedule.lr_lambdas[0](step) for step in (0, steps // 2, steps - 1)]
    for factor, rate in zip(found, rates, strict=True):
        assert factor * settings.learning_rate == pytest.approx(rate, rel=0.01, abs=2e-5)


def test_the_4d_recipe_has_the_hybrid_kernel_of_the_paper():
    recipe = Recipe.from_dict(load_recipe(FOLDER / "sts_synthia4d_res16unet14a.yaml"))
    network = build_network(**recipe.network)
    assert network.dimension == 4
    assert len(network.block1[0].conv1.kernel) == 29


@pytest.mark.parametrize("name", ["mmdet3d_minkunet18_w16", "mmdet3d_minkunet34v2_w32"])
def test_a_published_recipe_takes_a_step(name, tmp_path):
    write_sequences(tmp_path)
    recipe = load_recipe(FOLDER / f"{name}.yaml")
    recipe["network"]["width"] = 0.25
    recipe["optimization"] |= {"iterations": 1, "batch_size": 2, "precision": "float32"}
    del recipe["validation"]
    for chosen in (*recipe["data"]["sets"], *recipe["data"]["held_out_sets"]):
        chosen["root"] = str(tmp_path)
    path = train(recipe, tmp_path / "out", "cpu", workers=0)
    figures = load_model(path.with_suffix(".yaml")).card["figures"]
    assert 0.0 <= figures["miou"]["semantickitti"] <= 1.0


def write_coloured(root, frames):
    """Write a sequence of coloured clouds in the layout of Synthia 4D, in all splits."""
    rng = np.random.default_rng(0)
    kinds = {"x": "float", "y": "float", "z": "float"}
    kinds |= {"red": "uchar", "green": "uchar", "blue": "uchar", "label": "uchar"}
    head = ["ply", "format ascii 1.0", "element vertex 400"]
    head += [*(f"property {kind} {name}" for name, kind in kinds.items()), "end_header"]
    names = [f"SEQ/ply/{i:06d}.ply" for i in range(frames)]
    (root / "SEQ" / "ply").mkdir(parents=True)
    for name in names:
        points, rest = rng.uniform(-900, 900, (400, 3)), rng.integers(2, 9, (400, 4))
        rows = (
            " ".join(map(str, [*point, *other])) for point, other in zip(points, rest, strict=True)
        )
        (root / name).write_text("\n".join([*head, *rows]) + "\n")
    for split in ("train", "test"):
        (root / f"{split}_raw_difficult.txt").write_text("\n".join(names))


def test_a_published_recipe_in_4d_takes_a_step(tmp_path):
    pytest.importorskip("trimesh", reason="needs trimesh to read PLY files")
    write_coloured(tmp_path, 4)
    recipe = load_recipe(FOLDER / "sts_synthia4d_res16unet14a.yaml")
    recipe["network"]["width"] = 0.25
    recipe["data"]["stride"] = 1
    recipe["optimization"] |= {"iterations": 1, "batch_size": 2}
    del recipe["validation"]
    for chosen in (*recipe["data"]["sets"], *recipe["data"]["held_out_sets"]):
        chosen["root"] = str(tmp_path)
    path = train(recipe, tmp_path / "out", "cpu", workers=0)
    figures = load_model(path.with_suffix(".yaml")).card["figures"]
    assert 0.0 <= figures["miou"]["synthia4d"] <= 1.0


def test_a_recipe_is_merged_over_its_base(tmp_path):
    first, second = {"step": {"at": [5]}}, {"poly": {"power": 1.0}}
    base = {
        "data": {"clip": 3, "stride": {1: 1, 2: 1}, "sets": [1, 2]},
        "optimization": {"batch_size": 2, "schedule": first},
    }
    own = {"data": {"stride": {3: 1}, "sets": [3]}, "optimization": {"schedule": second}}
    (tmp_path / "a.yaml").write_text(yaml.safe_dump({"name": "a", **base}))
    (tmp_path / "b.yaml").write_text(yaml.safe_dump({"name": "b", "base": "a.yaml", **own}))
    assert load_recipe(tmp_path / "b.yaml") == {
        "name": "b",
        "data": {"clip": 3, "stride": {3: 1}, "sets": [3]},
        "optimization": {"batch_size": 2, "schedule": second},
    }


@pytest.mark.parametrize("base", ["a.yaml", "b.yaml"])
def test_a_recipe_that_is_its_own_base_is_refused(base, tmp_path):
    (tmp_path / "a.yaml").write_text(f"base: {base}\n")
    (tmp_path / "b.yaml").write_text(f"base: ../{tmp_path.name}/a.yaml\n")
    with pytest.raises(RecipeError, match=r"is its own base: .*a\.yaml -> .*a\.yaml"):
        load_recipe(tmp_path / "a.yaml")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sed": 3}, "recipe.sed: unknown key; did you mean 'seed'"),
        ({"speeds": 3}, "recipe.speeds: unknown key.* valid: name, network"),
        ({"window": "long"}, "recipe.window: must be an integer, not 'long'"),
        ({"window": -3}, "recipe.window: must be at least 1, not -3"),
        ({"name": "../../x"}, "recipe.name: must be a plain file name"),
        ({"name": "a.b"}, "recipe.name: must have no '.', not 'a.b'"),
        ({"seed": -1}, "recipe.seed: must be at least 0"),
        ({"optimization": {"iterations": -5}}, "iterations: must be at least 0, not -5"),
        (
            {"optimization": {"iterations": 5, "learning_rate": float("nan")}},
            "learning_rate: must be a finite number",
        ),
        (
            {"optimization": {"iterations": 5, "learning_rat": 0.1}},
            "optimization.learning_rat: unknown key; did you mean 'learning_rate'",
        ),
        ({"data": {"sets": [{"root": "a"}]}}, r"recipe.data.sets\[0\].name: missing"),
        ({"data": {}}, "there must be seeds of simulated drives, sets of recorded data or both"),
        ({"data": {"seeds": [0, 1]}}, "need frames, and either lidars or cameras"),
        ({"data": {"seeds": [0]}}, "recipe.data.seeds: must be a list of 2"),
        ({"data": {"seeds": [5, 5]}}, "seeds must be the first and one after the last"),
        ({"labels": "urban10"}, "network.heads.classes: must be 10 to fit input and labels"),
        ({"labels": "urban"}, "recipe: .*urban"),
        (
            {"input": {"voxel_size": 0.5, "features": ["smell"]}},
            "unknown feature 'smell'",
        ),
        (
            {"input": {"voxel_size": 0.5, "features": ["one"], "scal": [2.0]}},
            "recipe.input.scal: unknown key; did you mean 'scale'",
        ),
        ({"card": {"licnse": "MIT"}}, "recipe.card.licnse: unknown key; did you mean 'license'"),
        (
            {"crf": {"lattice": {"causl": True}, "clips": 2, "optimization": {}}},
            "recipe.crf.lattice.causl: unknown key; did you mean 'causal'",
        ),
        ({"loss": {"lovasz": 0, "cross_entropy": 0}}, "recipe.loss: weights must not be negative"),
        ({"loss": {"class_weights": "median"}}, "one of inverse_root, none, not 'median'"),
        ({"validation": {"every": 0}}, "every: must be at least 1, not 0"),
        (
            {"validation": {"every": 1}, "data": {"sets": [{"name": "ika", "root": "a"}]}},
            "validation needs held_out_seeds or held_out_sets",
        ),
        ({"fresh_head": True}, "fresh_head needs a start"),
        ({"network": 7}, "recipe.network: must be a mapping, not 7"),
    ],
)
def test_an_invalid_recipe_is_refused(changes, message, tmp_path):
    with pytest.raises(RecipeError, match=message):
        Recipe.from_dict(small_recipe(tmp_path, **changes))


@pytest.mark.parametrize("key", ["name", "data", "card"])
def test_a_missing_key_is_named(key, tmp_path):
    recipe = small_recipe(tmp_path)
    del recipe[key]
    with pytest.raises(RecipeError, match=f"recipe.{key}: missing; valid keys: name"):
        Recipe.from_dict(recipe)
