# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import pytest

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
