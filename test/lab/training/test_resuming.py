# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Trainings that stop and go on, and that several processes share."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from small_recipes import small_recipe, write_sequences

from minkowski_perception.lab.training.checkpoints import CheckpointError
from minkowski_perception.lab.training.distributed import StepSampler, World
from minkowski_perception.lab.training.loop import OverwriteError, train
from minkowski_perception.lab.training.recipe import RecipeError
from minkowski_perception.lab.training.training_log import TrainingLog
from minkowski_perception.networks.model import load_model

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    write_sequences(root)
    return root


class StopError(Exception):
    """Simulates the end of a process."""


def stop_at(step, monkeypatch):
    """Let the training log fail after a step."""
    log_step = TrainingLog.step

    def fail(self, number, loss, learning_rate):
        log_step(self, number, loss, learning_rate)
        if number == step:
            raise StopError

    monkeypatch.setattr(TrainingLog, "step", fail)


VARIANTS = {
    "SGD": {"optimizer": {"sgd": {"nesterov": True}}, "schedule": "poly", "gradient_clip": 1.0},
    "AdamW": {},
    "Muon": {"optimizer": "muon"},
    "bfloat16": {"precision": "bfloat16", "schedule": "cosine", "warm_up": {"iterations": 2}},
}
# Its dropout uses PyTorch's random generator.
SPVCNN = {"name": "SPVCNN-W16", "in_channels": 2, "heads": {"classes": 19}, "width": 0.25}


@pytest.mark.parametrize("network", [None, SPVCNN], ids=["MinkUNet", "SPVCNN"])
@pytest.mark.parametrize("name", VARIANTS)
def test_a_resumed_training_gives_the_bits_of_an_uninterrupted_one(
    name, network, root, tmp_path, monkeypatch
):
    settings = {"iterations": 5, "batch_size": 2, "learning_rate": 0.01, "checkpoint_every": 2}
    recipe = small_recipe(root, optimization={**settings, **VARIANTS[name]})
    if network is not None:
        recipe["network"] = network
    straight = tmp_path / "straight" / "small.checkpoint"
    train(recipe, straight.parent, "cpu", workers=0)

    pieces = tmp_path / "pieces" / "small.checkpoint"
    with monkeypatch.context() as patch:
        stop_at(3, patch)
        with pytest.raises(StopError):
            train(recipe, pieces.parent, "cpu", workers=0)
    assert torch.load(pieces, weights_only=True)["step"] == 2
    train(recipe, pieces.parent, "cpu", resume=True, workers=0)

    one, other = (torch.load(path, weights_only=True) for path in (straight, pieces))
    assert one["step"] == other["step"] == 5
    assert one["schedule"] == other["schedule"]
    for key, value in one["network"].items():
        assert torch.equal(value, other["network"][key]), key
    for number, state in one["optimizer"]["state"].items():
        for key, value in state.items():
            same = other["optimizer"]["state"][number][key]
            assert torch.equal(torch.as_tensor(value), torch.as_tensor(same)), key
    assert torch.equal(one["random"][0]["cpu"], other["random"][0]["cpu"])
    cards = [(p.parent / "small.yaml").read_text() for p in (straight, pieces)]
    assert cards[0] == cards[1]


def test_validation_does_not_change_the_weights(root, tmp_path):
    weights = []
    for validation in (None, {"every": 2, "frames": 1}):
        recipe = small_recipe(root, network=SPVCNN, validation=validation)
        path = train(recipe, tmp_path / str(bool(validation)), "cpu", workers=0)
        weights.append(path.with_suffix(".safetensors").read_bytes())
    assert weights[0] == weights[1]


def test_a_finished_training_is_not_repeated(root, tmp_path, monkeypatch):
    recipe = small_recipe(root)
    train(recipe, tmp_path, "cpu", workers=0)
    before = (tmp_path / "small.safetensors").read_bytes()
    stop_at(1, monkeypatch)
    train(recipe, tmp_path, "cpu", resume=True, workers=0)
    assert (tmp_path / "small.safetensors").read_bytes() == before


def test_a_model_is_replaced_only_if_that_is_asked_for(root, tmp_path):
    train(small_recipe(root), tmp_path, "cpu", workers=0)
    before = (tmp_path / "small.safetensors").read_bytes()
    other = small_recipe(root, seed=4)
    with pytest.raises(OverwriteError, match=r"small\.checkpoint exists: .* --resume .* --overwr"):
        train(other, tmp_path, "cpu", workers=0)
    (tmp_path / "small.checkpoint").unlink()
    with pytest.raises(OverwriteError, match=r"small\.yaml exists"):
        train(other, tmp_path, "cpu", workers=0)
    with pytest.raises(OverwriteError, match=r"small\.yaml is a finished model of other settings"):
        train(other, tmp_path, "cpu", workers=0, resume=True)
    assert (tmp_path / "small.safetensors").read_bytes() == before
    train(other, tmp_path, "cpu", workers=0, overwrite=True)
    assert (tmp_path / "small.safetensors").read_bytes() != before


def test_a_training_of_another_recipe_is_not_resumed(root, tmp_path):
    train(small_recipe(root), tmp_path, "cpu", workers=0)
    with pytest.raises(CheckpointError, match="differs in seed"):
        train(small_recipe(root, seed=4), tmp_path, "cpu", resume=True, workers=0)


def torchrun(count, *arguments, folder):
    """Run the command in several processes."""
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(count)]
    command += ["--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0"]
    command += ["-m", "minkowski_perception.commands.main", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        command, cwd=folder, env=environment, check=True, capture_output=True, text=True
    )


def test_two_processes_step_with_the_mean_of_their_gradients(root, tmp_path):
    settings = {"iterations": 3, "batch_size": 2, "learning_rate": 0.01, "checkpoint_every": 2}
    recipe = small_recipe(root, optimization=settings, augmentation=[])
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe))
    out = tmp_path / "out"
    done = torchrun(2, "train", str(path), "--out", str(out), "--device", "cpu", folder=tmp_path)
    assert done.stdout.count("small.safetensors") == 1
    first = torch.load(out / "small.checkpoint", weights_only=True)
    assert first["step"] == 3
    assert len(first["random"]) == 2
    assert load_model(out / "small.yaml").card["figures"]["miou"].keys() == {"semantickitti"}

    expected = _train_by_hand(recipe, processes=2)
    for key, value in expected.items():
        torch.testing.assert_close(first["network"][key], value, atol=1e-4, rtol=1e-3)


def _train_by_hand(recipe, processes):
    """Return parameters after steps with the mean gradient of processes, computed in turn."""
    from minkowski_perception.lab.training.clip_size import ClipSize
    from minkowski_perception.lab.training.clips import ClipDataset, collate, coordinates_in
    from minkowski_perception.lab.training.losses import class_weights
    from minkowski_perception.lab.training.optimization import make_optimizer, make_schedule
    from minkowski_perception.lab.training.recipe import Recipe
    from minkowski_perception.lab.training.sources import open_sources
    from minkowski_perception.labels import LabelSet
    from minkowski_perception.networks import build_network
    from minkowski_perception.sparse import SparseTensor

    plan = Recipe.from_dict(recipe)
    torch.manual_seed(plan.seed)
    network = build_network(**plan.network).train()
    settings = plan.optimization
    optimizer = make_optimizer(network.parameters(), settings)
    schedule = make_schedule(optimizer, settings)
    sources = open_sources(plan.data, LabelSet.load(plan.labels), plan.seed)
    weights = class_weights(sources[0].class_shares(19))
    clips = ClipDataset(sources, ClipSize(1), plan.spec, plan.augmentation, plan.seed, 100)
    for step in range(settings.iterations):
        optimizer.zero_grad()
        for rank in range(processes):
            coordinates, features, labels, *_ = collate([clips[step * settings.batch_size + rank]])
            in_3d = coordinates_in(3, coordinates)
            logits = network.class_logits(SparseTensor(features, in_3d)).at(in_3d)
            (plan.loss(logits, labels, weights) / processes).backward()
        optimizer.step()
        schedule.step()
    return dict(network.named_parameters())


def test_processes_share_the_clips_of_a_single_process():
    device = torch.device("cpu")
    alone = list(StepSampler(range(2, 5), 6, World(device)))
    shares = [list(StepSampler(range(2, 5), 6, World(device, rank, 3))) for rank in range(3)]
    assert alone[0] == [12, 13, 14, 15, 16, 17]
    for step, clips in enumerate(alone):
        assert [i for share in shares for i in share[step]] == clips


def test_a_batch_size_that_processes_cannot_share_is_refused():
    with pytest.raises(RecipeError, match=r"must be a multiple of 4 .* not 6"):
        StepSampler(range(2), 6, World(torch.device("cpu"), 0, 4))


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"precision": "float16"}, "needs CUDA"), ({"sync_batch_norm": True}, "needs CUDA")],
)
def test_settings_that_need_cuda_are_refused_on_a_cpu(changes, message, root, tmp_path):
    settings = {"iterations": 1, "learning_rate": 0.1, **changes}
    with pytest.raises(RecipeError, match=message):
        train(small_recipe(root, optimization=settings), tmp_path, "cpu")
