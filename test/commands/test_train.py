# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import pytest
import yaml
from small_recipes import small_recipe, write_sequences

from minkowski_perception.commands.main import main


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "cannot read recipe"),
        ("name: a\nnetwork: {}\n", "lacks labels, input, window, seed, data, optimization, card"),
        ("name: a\nrate: 3\n", "knows no rate; its keys are name, network, labels"),
        ("just words", "holds no mapping"),
    ],
)
def test_a_recipe_that_cannot_be_followed_is_refused_in_one_line(tmp_path, capsys, text, message):
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    assert main(["train", str(path)]) == 2
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


def test_a_training_is_started_and_gone_on_with_from_the_command_line(recipe, tmp_path, capsys):
    arguments = ["train", str(recipe), "--out", str(tmp_path / "out"), "--device", "cpu"]
    arguments += ["--workers", "0", "--root", f"semantickitti={tmp_path / 'here'}"]
    assert main([*arguments, "--iterations", "2"]) == 0
    said = capsys.readouterr().out
    assert said.startswith(str(tmp_path / "out" / "small.safetensors"))
    assert set(yaml.safe_load(said.partition("\n")[2])) == {"miou", "iou"}
    assert main([*arguments, "--iterations", "2", "--resume"]) == 0
    assert capsys.readouterr().out == said
    assert main([*arguments, "--iterations", "3", "--resume"]) == 2
    assert "differs in optimization.iterations" in capsys.readouterr().err


def test_data_that_are_not_where_they_should_be_are_told_in_one_line(recipe, tmp_path, capsys):
    assert main(["train", str(recipe), "--out", str(tmp_path / "out")]) == 2
    assert "elsewhere" in capsys.readouterr().err


def test_a_root_of_no_data_set_of_the_recipe_is_refused(recipe, capsys):
    assert main(["train", str(recipe), "--root", "scannet=/data"]) == 2
    assert "has no data set scannet; it has semantickitti" in capsys.readouterr().err
