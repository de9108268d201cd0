# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Trainings that start from a model."""

import math

import pytest
import torch
from small_recipes import small_recipe, write_sequences

from minkowski_perception.lab.training.loop import train
from minkowski_perception.lab.training.recipe import RecipeError
from minkowski_perception.lab.training.stages import read_stages
from minkowski_perception.labels import LabelSet
from minkowski_perception.networks.model import ModelError, load_model

LABELS = LabelSet.load("semantickitti19")
GENTLE = {"iterations": 1, "learning_rate": 1e-9}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    write_sequences(root)
    return root


@pytest.fixture(scope="module")
def other_root(tmp_path_factory):
    root = tmp_path_factory.mktemp("other_data")
    write_sequences(root, ids=(0, 3, 9))
    return root


@pytest.fixture(scope="module")
def start(root, tmp_path_factory):
    out = tmp_path_factory.mktemp("start")
    recipe = small_recipe(root, name="start")
    return str(train(recipe, out, "cpu", workers=0).with_suffix(".yaml"))


def of_other_classes(root, start, **changes):
    """Return a recipe of ten classes instead of nineteen, on a data set of other labels."""
    recipe = small_recipe(root, start=start, labels="urban10", optimization=GENTLE, **changes)
    recipe["network"] = {**recipe["network"], "heads": {"classes": 10}}
    recipe["data"] = {
        "sets": [{"name": "ika", "root": str(root)}],
        "held_out_sets": [{"name": "ika", "root": str(root), "frames": 1}],
    }
    return recipe


def test_other_classes_need_a_fresh_head_and_keep_the_other_weights(other_root, start, tmp_path):
    path = train(of_other_classes(other_root, start, fresh_head=True), tmp_path, "cpu", workers=0)
    before = dict(load_model(start).network.named_parameters())
    after = dict(load_model(path.with_suffix(".yaml")).network.named_parameters())
    for key, value in after.items():
        if key.startswith("final."):
            assert value.shape[-1] == 10
        else:
            torch.testing.assert_close(value, before[key], atol=1e-3, rtol=1e-3)


def test_the_error_for_other_classes_suggests_a_fresh_head(other_root, start, tmp_path):
    with pytest.raises(RecipeError, match="the recipe 10: set fresh_head: true"):
        train(of_other_classes(other_root, start), tmp_path, "cpu")


def test_a_4d_network_starts_from_a_3d_network(root, start, tmp_path):
    recipe = small_recipe(root, start=start, window=2, optimization=GENTLE)
    recipe["network"] = {**recipe["network"], "dimension": 4, "kernel": "hybrid"}
    model = load_model(train(recipe, tmp_path, "cpu", workers=0).with_suffix(".yaml"))
    assert (model.window, model.network.dimension) == (2, 4)


def test_the_share_of_the_start_in_the_result_can_be_changed_when_resuming(root, start, tmp_path):
    recipe = small_recipe(root, start=start)
    end = load_model(train(recipe, tmp_path / "end", "cpu", workers=0).with_suffix(".yaml"))
    before, after = load_model(start).network.state_dict(), end.network.state_dict()
    for share, resume in ((0.25, False), (0.5, True)):
        kept = {**recipe, "keep_start": share}
        path = train(kept, tmp_path / "kept", "cpu", workers=0, resume=resume)
        found = load_model(path.with_suffix(".yaml")).network.state_dict()
        for key, value in found.items():
            if value.is_floating_point():
                expected = share * before[key] + (1.0 - share) * after[key]
                torch.testing.assert_close(value, expected, atol=2e-3, rtol=2e-3)
    assert any((before[key] - after[key]).abs().max() > 0.02 for key in before)


def test_the_logits_can_be_adjusted_when_resuming(root, start, tmp_path):
    recipe = small_recipe(root, start=start)
    options = {"device": "cpu", "workers": 0}
    end = load_model(train(recipe, tmp_path, **options).with_suffix(".yaml")).network
    adjusted = {**recipe, "logit_adjustment": 0.75}
    path = train(adjusted, tmp_path, resume=True, **options)
    found = load_model(path.with_suffix(".yaml")).network
    # Five classes have a fifth of the points each; the loss lifts those that are absent.
    common = [LABELS.names.index(n) for n in ("car", "person", "road", "building", "vegetation")]
    expected = torch.full((19,), -0.75 * 0.5 * math.log(0.2001 / 0.0001))
    expected[common] = 0.0
    change = (found.final.bias - end.final.bias)[0]
    torch.testing.assert_close(change, expected, atol=0.05, rtol=0)
    torch.testing.assert_close(found.final.kernel, end.final.kernel, atol=0, rtol=0)


def test_an_adjustment_without_class_weights_is_refused(root, tmp_path):
    recipe = small_recipe(root, logit_adjustment=0.5, loss={"class_weights": "none"})
    with pytest.raises(RecipeError, match="logit_adjustment: needs"):
        train(recipe, tmp_path, "cpu")


def test_channels_that_follow_those_of_the_start_start_without_effect(root, start, tmp_path):
    recipe = small_recipe(root, start=start, optimization=GENTLE)
    recipe["network"] = {**recipe["network"], "in_channels": 6}
    recipe["input"] = {**recipe["input"], "residuals": [0.1, 0.3]}
    recipe["data"] = {**recipe["data"], "history": 3}
    path = train(recipe, tmp_path, "cpu", workers=0)
    before, after = (load_model(p).network.conv0p1s1.kernel for p in (start, f"{path}.yaml"))
    torch.testing.assert_close(after[:, :2], before, atol=1e-3, rtol=1e-3)
    assert after[:, 2:].abs().max() < 1e-6


def test_other_channels_before_those_of_the_start_are_refused(root, start, tmp_path):
    recipe = small_recipe(root, start=start)
    recipe["network"] = {**recipe["network"], "in_channels": 3}
    recipe["input"] = {**recipe["input"], "features": ["one", "z", "intensity"]}
    with pytest.raises(RecipeError, match="which are one, intensity, not one, z, intensity"):
        train(recipe, tmp_path, "cpu")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"keep_start": 0.5}, "keep_start needs a start, and no fresh_head"),
        ({"keep_start": 0.5, "start": "a.yaml", "fresh_head": True}, "no fresh_head"),
        (
            {"keep_start": 1.0, "start": "a.yaml"},
            "keep_start: must be at least 0 and below 1, not 1",
        ),
    ],
)
def test_an_invalid_share_of_the_start_is_refused(changes, message, root, tmp_path):
    with pytest.raises(RecipeError, match=message):
        train(small_recipe(root, **changes), tmp_path, "cpu")


def of_start(root, start, **changes):
    """Return a recipe without what the start has."""
    recipe = small_recipe(root, start=start, **changes)
    return {key: recipe[key] for key in recipe.keys() - {"network", "input", "window"}}


def test_network_input_and_window_are_by_default_those_of_the_start(root, start, tmp_path):
    expected = read_stages(small_recipe(root, start=start), tmp_path)[0].plan
    plan = read_stages(of_start(root, start), tmp_path)[0].plan
    assert (plan.network, plan.input, plan.window) == (
        expected.network,
        expected.input,
        expected.window,
    )


def test_a_fresh_head_has_the_classes_of_the_recipe(root, start, tmp_path):
    recipe = of_start(root, start, labels="urban10", fresh_head=True)
    assert read_stages(recipe, tmp_path)[0].plan.network["heads"] == {"classes": 10}


def test_a_start_that_does_not_exist_is_refused_with_the_names_of_models(root, tmp_path):
    with pytest.raises(ModelError, match=r"recipe\.start: unknown model 'outdor'; choose one of"):
        read_stages(of_start(root, "outdor"), tmp_path)
