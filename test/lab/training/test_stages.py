# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Recipes of several stages."""

from pathlib import Path

import pytest
from small_recipes import small_recipe, write_sequences

from minkowski_perception.lab.training.checkpoints import CheckpointError
from minkowski_perception.lab.training.loop import train
from minkowski_perception.lab.training.recipe import RecipeError, load_recipe
from minkowski_perception.lab.training.stages import read_stages, select_stages
from minkowski_perception.lab.training.training_log import TrainingLog
from minkowski_perception.networks.model import ModelError, load_model

FOLDER = Path(__file__).resolve().parents[3] / "config" / "training"
OUT = Path("out/models")
SCHEDULES = {
    # stage: seed, share of the start that is kept, window, iterations, batch size, learning rate
    "outdoor_lidar": {
        "base": (1, 0.0, 1, 5000, 8, 0.006),
        "clips": (5, 0.0, 3, 4500, 4, 0.003),
        "muon": (8, 0.5, 3, 3600, 4, 0.008),
        "streets": (9, 0.3, 3, 3000, 4, 0.008),
        "rooms": (10, 0.15, 3, 1500, 4, 0.005),
        "final": (11, 0.85, 3, 3600, 4, 0.006),
        "moving": (12, 0.0, 5, 1800, 5, 0.005),
        "world": (13, 0.3, 5, 800, 4, 0.004),
    },
    "indoor_depth": {
        "base": (6, 0.0, 3, 7500, 2, 0.006),
        "rooms": (7, 0.0, 3, 9000, 2, 0.004),
        "muon": (8, 0.5, 3, 3600, 2, 0.008),
        "final": (9, 0.7, 3, 3600, 2, 0.008),
    },
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_the_shipped_models_have_their_stages(name):
    stages = read_stages(load_recipe(FOLDER / f"{name}.yaml"), OUT)
    plans = {stage.name: stage.plan for stage in stages}
    assert {
        stage: (
            plan.seed,
            plan.keep_start,
            plan.window,
            plan.optimization.iterations,
            plan.optimization.batch_size,
            plan.optimization.learning_rate,
        )
        for stage, plan in plans.items()
    } == SCHEDULES[name]
    *first, last = plans
    assert [plan.name for plan in plans.values()] == [*(f"{name}_{s}" for s in first), name]
    starts = [None, *(f"out/models/{name}_{stage}.yaml" for stage in first)]
    assert [plan.start for plan in plans.values()] == starts
    assert (plans[last].crf is not None) == (name == "outdoor_lidar")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    write_sequences(root)
    return root


def in_stages(root, **second):
    """Return a recipe of two stages; changes replace settings of the second."""
    network = {"dimension": 4, "kernel": "causal"}
    stages = [
        {"name": "flat", "optimization": {"iterations": 3}},
        {"name": "deep", "seed": 4, "window": 2, "network": network, "keep_start": 0.25, **second},
    ]
    return small_recipe(root, stages=stages)


def files(folder):
    names = ("small_flat.safetensors", "small.safetensors", "small_flat.yaml", "small.yaml")
    return {name: (folder / name).read_bytes() for name in names}


def test_stages_give_the_bits_of_separate_trainings(root, tmp_path):
    recipe = in_stages(root)
    assert train(recipe, tmp_path, "cpu", workers=0) == tmp_path / "small"
    together = files(tmp_path)
    flat, deep = (stage.settings for stage in read_stages(recipe, tmp_path))
    apart = tmp_path / "apart"
    start = train(flat, apart, "cpu", workers=0).with_suffix(".yaml")
    train({**deep, "start": str(start)}, apart, "cpu", workers=0)
    assert files(apart) == together
    one_by_one = tmp_path / "one_by_one"
    for stage in ("flat", "deep"):
        train(recipe, one_by_one, "cpu", workers=0, stage=stage)
    assert files(one_by_one) == together


class StopError(Exception):
    """Simulates the end of a process."""


def stop_at(step, title, patch):
    """Let the training log fail after a step of a stage."""
    log = TrainingLog.step

    def fail(self, number, loss, learning_rate):
        log(self, number, loss, learning_rate)
        if number == step and title in self._bar.desc:
            raise StopError

    patch.setattr(TrainingLog, "step", fail)


def test_a_resumed_training_skips_finished_stages(root, tmp_path, monkeypatch, capsys):
    recipe = in_stages(root, optimization={"checkpoint_every": 1})
    whole = tmp_path / "whole"
    train(recipe, whole, "cpu", workers=0)
    assert "stage 2 of 2: deep" in capsys.readouterr().err
    pieces = tmp_path / "pieces"
    with monkeypatch.context() as patch:
        stop_at(3, "deep", patch)
        with pytest.raises(StopError):
            train(recipe, pieces, "cpu", workers=0)
    flat = (pieces / "small_flat.yaml").stat().st_mtime_ns
    stop_at(2, "", monkeypatch)  # a step that is taken again fails
    train(recipe, pieces, "cpu", workers=0, resume=True)
    assert files(pieces) == files(whole)
    assert (pieces / "small_flat.yaml").stat().st_mtime_ns == flat
    assert "stage 1 of 2: flat is finished" in capsys.readouterr().err
    train(recipe, pieces, "cpu", workers=0, resume=True)
    assert "stage 2 of 2: deep is finished" in capsys.readouterr().err


def test_a_stage_whose_start_has_changed_is_not_finished(root, tmp_path):
    train(in_stages(root), tmp_path, "cpu", workers=0)
    recipe = {**in_stages(root), "seed": 8}
    train(recipe, tmp_path, "cpu", workers=0, stage="flat", overwrite=True)
    with pytest.raises(CheckpointError, match="differs in start:"):
        train(recipe, tmp_path, "cpu", workers=0, resume=True)


def test_a_finished_stage_with_another_crf_or_card_is_finished_again(root, tmp_path):
    train(in_stages(root), tmp_path, "cpu", workers=0)
    recipe = in_stages(root, card={"license": "MIT"})
    train(recipe, tmp_path, "cpu", workers=0, resume=True)
    assert load_model(tmp_path / "small.yaml").card["license"] == "MIT"


def test_a_stage_alone_needs_the_model_of_the_stage_before(root, tmp_path):
    with pytest.raises(ModelError, match=r"small_flat\.yaml"):
        train(in_stages(root), tmp_path, "cpu", workers=0, stage="deep")


def test_an_unknown_stage_is_refused(root):
    stages = read_stages(in_stages(root), OUT)
    assert [stage.name for stage in select_stages(stages, "deep")] == ["deep"]
    with pytest.raises(RecipeError, match=r"unknown stage 'dep'; .*'deep'.* flat, deep"):
        select_stages(stages, "dep")


def test_start_and_fresh_head_are_for_the_first_stage(root):
    recipe = {**in_stages(root, keep_start=0.5), "start": "a.yaml", "fresh_head": True}
    first, second = (stage.plan for stage in read_stages(recipe, OUT))
    assert (first.start, first.fresh_head) == ("a.yaml", True)
    assert (second.start, second.fresh_head) == ("out/models/small_flat.yaml", False)


def test_later_stages_are_checked_before_the_first_is_trained(root, tmp_path):
    lattice = {"causal": True, "chroma": "colour"}
    optimization = {"steps": 1, "batch_size": 1, "learning_rate": 0.1, "weight_decay": 0.0}
    crf = {"lattice": lattice, "clips": 1, "optimization": optimization}
    with pytest.raises(ModelError, match="its CRF needs red"):
        train(in_stages(root, crf=crf), tmp_path, "cpu")
    crf["lattice"] = {"causal": False}
    with pytest.raises(RecipeError, match="its CRF must have causal: true"):
        train(in_stages(root, crf=crf), tmp_path, "cpu")
    with pytest.raises(RecipeError, match=r"stages\.deep\.network\.widht: unknown key"):
        train(in_stages(root, network={"widht": 1}), tmp_path, "cpu")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ([], "recipe.stages: must have at least one stage"),
        ("all", "recipe.stages: must be a list, not 'all'"),
        ([3], r"recipe.stages\[0\]: must be a mapping, not 3"),
        ([{"seed": 1}], r"recipe.stages\[0\].name: missing"),
        ([{"name": "../a"}], r"recipe.stages\[0\].name: must be a plain file name"),
        ([{"name": "a"}, {"name": "a"}], r"stages\[1\].name: 'a' is the name of an earlier stage"),
        ([{"name": "a"}, {"name": "b", "start": "x"}], r"stages\[1\].start: only the first stage"),
        ([{"name": "a"}, {"name": "b", "sed": 3}], "recipe.stages.b.sed: unknown key; did you"),
        ([{"name": "a", "window": 0}], "recipe.stages.a.window: must be at least 1"),
    ],
)
def test_invalid_stages_are_refused(stages, message, root):
    with pytest.raises(RecipeError, match=message):
        read_stages(small_recipe(root, stages=stages), OUT)
