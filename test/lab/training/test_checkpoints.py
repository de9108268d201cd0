# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import pickle

import pytest
import torch

from minkowski_perception.lab.training.checkpoints import (
    CheckpointError,
    load_checkpoint,
    save_checkpoint,
)

RECIPE = {"name": "a", "seed": 1, "optimization": {"batch_size": 2}, "card": {"license": "none"}}


@pytest.fixture
def path(tmp_path):
    save_checkpoint(tmp_path / "a.checkpoint", RECIPE, {"step": 3, "weights": torch.ones(2)})
    return tmp_path / "a.checkpoint"


def test_a_checkpoint_is_read_as_it_was_written(path):
    state = load_checkpoint(path, RECIPE)
    assert state["step"] == 3
    assert torch.equal(state["weights"], torch.ones(2))
    assert [file.name for file in path.parent.iterdir()] == ["a.checkpoint"]


def test_another_recipe_is_refused_with_the_keys_that_differ(path):
    other = {**RECIPE, "seed": 2, "optimization": {"batch_size": 3}}
    with pytest.raises(CheckpointError, match=r"differs in seed, optimization\.batch_size:"):
        load_checkpoint(path, other)


def test_keys_that_do_not_influence_the_weights_may_differ(path):
    other = {**RECIPE, "card": {"license": "MIT", "for": "all"}, "validation": {"every": 5}}
    assert load_checkpoint(path, other)["step"] == 3


def test_a_damaged_checkpoint_is_refused(path):
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(CheckpointError, match="cannot read checkpoint"):
        load_checkpoint(path, RECIPE)


class Code:
    """Object whose unpickling runs code."""

    def __reduce__(self):
        return (print, ("code runs",))


def test_a_checkpoint_runs_no_code(tmp_path, capsys):
    path = tmp_path / "evil.checkpoint"
    torch.save({"recipe": RECIPE, "step": Code()}, path, pickle_module=pickle)
    with pytest.raises(CheckpointError, match="cannot read checkpoint"):
        load_checkpoint(path, RECIPE)
    assert "code runs" not in capsys.readouterr().out
