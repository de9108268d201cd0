# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
from copy import deepcopy

import pytest
import yaml
from small_recipes import small_recipe, write_sequences

from minkowski_perception.commands.main import main


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "recipe.yaml: is not plain YAML"),
        (
            "name: a\nnetwork: {}\n",
            "recipe.yaml: recipe.labels: missing; valid keys: name, network, labels",
        ),
        ("name: a\nsed: 3\n", "recipe.yaml: recipe.sed: unknown key; did you mean 'seed'"),
        ("just words", "recipe.yaml: must be a mapping"),
        ("base: recipe.yaml", "is its own base"),
        ("stages: 3", "recipe.stages: must be a list, not 3"),
    ],
)
def test_an_invalid_recipe_is_refused(tmp_path, capsys, text, message):
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    assert main(["train", str(path), "--iterations", "3"]) == 2
    assert message in capsys.readouterr().err


def test_a_missing_recipe_is_named(tmp_path, capsys):
    assert main(["train", str(tmp_path / "none.yaml")]) == 2
    assert "none.yaml" in capsys.readouterr().err


@pytest.fixture
def recipe(tmp_path):
    write_sequences(tmp_path / "here")
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(small_recipe(tmp_path / "elsewhere")))
    return path


def test_the_command_trains_and_resumes(recipe, tmp_path, capsys):
    arguments = ["train", str(recipe), "--out", str(tmp_path / "out"), "--device", "cpu"]
    arguments += ["--workers", "0", "--root", f"semantickitti={tmp_path / 'here'}"]
    assert main([*arguments, "--iterations", "2"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith(str(tmp_path / "out" / "small.safetensors"))
    assert set(yaml.safe_load(printed.partition("\n")[2])) == {"miou", "iou"}
    assert main([*arguments, "--iterations", "2", "--resume"]) == 0
    assert capsys.readouterr().out == printed
    assert main([*arguments, "--iterations", "3", "--resume"]) == 2
    assert "differs in optimization.iterations" in capsys.readouterr().err


def test_options_apply_to_every_stage(recipe, tmp_path, capsys):
    settings = yaml.safe_load(recipe.read_text())
    more = {"name": "more", "data": deepcopy(settings["data"]), "optimization": {"iterations": 9}}
    recipe.write_text(yaml.safe_dump({**settings, "stages": [{"name": "first"}, more]}))
    arguments = ["train", str(recipe), "--out", str(tmp_path / "out"), "--device", "cpu"]
    arguments += ["--workers", "0", "--root", f"semantickitti={tmp_path / 'here'}"]
    arguments += ["--iterations", "1"]
    assert main([*arguments, "--stage", "first"]) == 0
    assert "small_first.yaml" in capsys.readouterr().out
    assert main([*arguments, "--resume"]) == 0
    output = capsys.readouterr()
    assert "small.yaml" in output.out
    assert "first is finished" in output.err
    assert "1/1" in output.err
    assert "9/9" not in output.err


def test_the_seed_replaces_that_of_every_stage(recipe, tmp_path, capsys):
    settings = yaml.safe_load(recipe.read_text())
    stages = [{"name": "first"}, {"name": "more", "seed": 9}]
    arguments = ["--device", "cpu", "--workers", "0", "--iterations", "1"]
    arguments += ["--root", f"semantickitti={tmp_path / 'here'}"]
    weights = []
    for seed, given in ((9, []), (3, ["--seed", "9"])):
        recipe.write_text(yaml.safe_dump({**settings, "seed": seed, "stages": stages}))
        out = tmp_path / str(seed)
        assert main(["train", str(recipe), "--out", str(out), *arguments, *given]) == 0
        weights.append((out / "small.safetensors").read_bytes())
    assert weights[0] == weights[1]


def test_a_missing_data_set_is_refused(recipe, tmp_path, capsys):
    assert main(["train", str(recipe), "--out", str(tmp_path / "out")]) == 2
    assert "elsewhere" in capsys.readouterr().err


def test_a_root_of_a_data_set_that_the_recipe_lacks_is_refused(recipe, capsys):
    assert main(["train", str(recipe), "--root", "scannet=/data"]) == 2
    assert "has no data set scannet; it has semantickitti" in capsys.readouterr().err
