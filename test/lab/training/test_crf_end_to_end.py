# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""A CRF that is trained together with its network."""

from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from small_recipes import small_recipe, write_sequences

from minkowski_perception.frame import Frame
from minkowski_perception.lab.training.checkpoints import CheckpointError
from minkowski_perception.lab.training.clips import Sample
from minkowski_perception.lab.training.crf import Refinement
from minkowski_perception.lab.training.distributed import processes
from minkowski_perception.lab.training.loop import train
from minkowski_perception.lab.training.losses import Loss
from minkowski_perception.lab.training.optimization import Muon, Optimization
from minkowski_perception.lab.training.recipe import Recipe, RecipeError
from minkowski_perception.lab.training.trainer import Trainer
from minkowski_perception.lab.training.training_log import TrainingLog
from minkowski_perception.labels import LabelSet
from minkowski_perception.networks import build_network
from minkowski_perception.networks.crf import CRFSettings, TrilateralCRF
from minkowski_perception.networks.model import Model, load_model
from minkowski_perception.segmenter import Segmenter
from minkowski_perception.voxels import VoxelInput, stack_in_time, voxelize

SPEC = VoxelInput.from_dict({"voxel_size": 0.5, "features": ["one", "intensity"]})
LATTICE = {"sigma_space": 2, "iterations": 2, "causal": True}
OPTIMIZATION = Optimization(iterations=40, learning_rate=0.01, freeze_batch_norm=True)
NETWORKS = {
    "3D": {"dimension": 3},
    "causal": {"dimension": 4, "kernel": "causal", "links": ["voxel"] * 5, "recall": 2},
}


def model_of(network, chroma="none", kernel=0.3):
    """Return a model whose CRF has a random kernel of a standard deviation."""
    torch.manual_seed(0)
    options = {"in_channels": 2, "heads": {"classes": 10}, "width": 0.25}
    built = build_network("MinkUNet14A", **options, **NETWORKS[network])
    crf = TrilateralCRF(10, **LATTICE, chroma=chroma)
    torch.nn.init.normal_(crf.kernel, std=kernel)
    return Model("small", built, LabelSet.load("urban10"), SPEC, 1, {}, crf)


def drive(frames=4):
    """Return frames of a wall and a floor past which the sensor moves."""
    draw = np.random.default_rng(0)
    made = []
    for i in range(frames):
        world = draw.uniform(-4, 4, (300, 3)) * ([1, 1, 0], [1, 0, 1])[i % 2]
        pose = np.eye(4)
        pose[0, 3] = 0.7 * i
        points = (world - pose[:3, 3]).astype(np.float32)
        labels = np.where(np.abs(world[:, 2]) < 0.5, 3, 7)
        intensity = draw.uniform(0, 1, 300).astype(np.float32)
        stamp = i * 100_000_000
        made.append(Frame(points, stamp, intensity=intensity, labels=labels, pose=pose))
    return made


def clip_of(frames):
    """Return the sample of a clip of these frames."""
    voxels = [voxelize(frame, SPEC, frame.intensity) for frame in frames]
    coordinates, features = stack_in_time(voxels)
    labels = torch.cat(
        [
            each.quantization.reduce(torch.from_numpy(frame.labels[each.valid].astype(np.int64)))
            for frame, each in zip(frames, voxels, strict=True)
        ]
    )
    posed = torch.ones(len(labels), dtype=torch.bool)
    return Sample(coordinates, features, labels, torch.ones_like(labels), posed, {})


def trainer_of(model, loss, world, rate=0.01, **changes):
    refinement = Refinement(model.crf, model.chroma, rate)
    optimization = replace(OPTIMIZATION, **changes)
    return Trainer(model.network, optimization, loss, None, world, refinement)


def loss_of(model, loss, sample):
    """Return the loss of a training step, and its gradients by parameter."""
    with processes("cpu") as world:
        value = trainer_of(model, loss, world).advance(sample)
    parameters = [*model.network.named_parameters(), *model.crf.named_parameters()]
    return value, {name: parameter.grad for name, parameter in parameters}


def streamed(model, frames, **settings):
    """Return the class scores [N, K] of a stream of these frames: logarithms of probabilities."""
    segmenter = Segmenter(
        model, device="cpu", engine="torch", intensity_full_scale=1.0, **settings
    )
    found = [segmenter.probabilities(frame).values for frame in frames]
    return torch.cat(found).log()


@pytest.mark.parametrize("chroma", ["none", "intensity"])
@pytest.mark.parametrize(
    ("network", "execution", "window"),
    [("3D", "auto", None), ("causal", "incremental", None), ("causal", "window", 4)],
)
def test_the_loss_is_that_of_what_the_stream_gives(network, execution, window, chroma):
    model, frames = model_of(network, chroma, kernel=1.0), drive()
    sample = clip_of(frames)
    model.network.eval()
    settings = {"execution": execution, "window": window}
    for share, averaging, tolerance in ((0.0, 1, 1e-4), (1.0, 10, 5e-3)):
        scores = streamed(model, frames, averaging=averaging, **settings)
        plain = streamed(model, frames, averaging=averaging, crf=False, **settings)
        expected = float(Loss()(scores, sample.labels))
        assert abs(expected - float(Loss()(plain, sample.labels))) > 10 * tolerance
        copy = model_of(network, chroma, kernel=1.0)
        found, _ = loss_of(copy, Loss(refined=1.0, averaged=share), sample)
        assert found == pytest.approx(expected, rel=tolerance)


@pytest.mark.parametrize("kernel", [0.0, 0.3])
@pytest.mark.parametrize("network", NETWORKS)
def test_the_loss_on_the_crf_reaches_network_and_crf(network, kernel):
    _, gradients = loss_of(model_of(network, kernel=kernel), Loss(refined=1.0), clip_of(drive()))
    for name, gradient in gradients.items():
        assert gradient is not None, name
        assert gradient.abs().max() > 0, name
    assert (gradients["kernel"].abs().amax(dim=(1, 2)) > 0).all()


def test_the_class_loss_is_shared_between_network_and_crf():
    sample = clip_of(drive())
    alone, refined, both = (
        loss_of(model_of("3D"), Loss(refined=share), sample)[0] for share in (1e-9, 1.0, 0.8)
    )
    assert refined != pytest.approx(alone, rel=1e-3)
    assert both == pytest.approx(0.2 * alone + 0.8 * refined, rel=1e-5)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_training_together_lowers_the_loss_and_the_crf_helps(precision):
    model, frames = model_of("causal", kernel=0.0), drive()
    sample = clip_of(frames)
    with processes("cpu") as world:
        trainer = trainer_of(model, Loss(), world, optimizer=Muon(), precision=precision)
        losses = [trainer.advance(sample) for _ in range(25)]
    assert losses[-1] < 0.5 * losses[0]
    model.network.eval()
    with_crf, without = (
        float(Loss()(streamed(model, frames, averaging=1, crf=crf), sample.labels))
        for crf in (True, False)
    )
    assert with_crf < without


def test_the_crf_has_a_learning_rate_of_its_own():
    model = model_of("3D")
    with processes("cpu") as world:
        trainer = trainer_of(model, Loss(), world, rate=0.05)
        rates = []
        for _ in range(2):
            rates.append([group["lr"] for group in trainer._optimizer.param_groups])
            trainer.advance(clip_of(drive(2)))
    for network, crf in rates:
        assert crf == pytest.approx(5 * network)
    assert trainer.learning_rate > rates[0][0]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    write_sequences(root)
    return root


def recipe_of(root, rate=0.02, **changes):
    crf = {"lattice": LATTICE, "end_to_end": {"learning_rate": rate}}
    recipe = small_recipe(root, **{"crf": crf, **changes})
    recipe["data"]["clip"] = 2
    return recipe


def test_a_recipe_trains_both_and_saves_both(root, tmp_path):
    before = load_model(
        train(recipe_of(root), tmp_path / "first", "cpu", workers=0).with_suffix(".yaml")
    )
    assert before.card["crf"] == asdict(CRFSettings(**LATTICE))
    assert before.crf.kernel.abs().max() > 1e-3
    still = {"iterations": 1, "learning_rate": 1e-12}
    recipe = recipe_of(root, 1e-12, start="first", optimization=still)
    recipe["start"] = str(tmp_path / "first" / "small.yaml")
    path = train(recipe, tmp_path / "second", "cpu", workers=0).with_suffix(".yaml")
    # The CRF of the model to start from is kept.
    torch.testing.assert_close(load_model(path).crf.kernel, before.crf.kernel, atol=1e-6, rtol=0)
    recipe["crf"] = {**recipe["crf"], "lattice": {**LATTICE, "sigma_space": 1}}
    path = train(recipe, tmp_path / "third", "cpu", workers=0).with_suffix(".yaml")
    assert load_model(path).crf.kernel.abs().max() < 1e-6


class StopError(Exception):
    """Simulates the end of a process."""


def test_a_resumed_training_gives_the_same_network_and_crf(root, tmp_path, monkeypatch):
    recipe = recipe_of(root)
    recipe["optimization"] |= {"checkpoint_every": 2, "optimizer": "muon"}
    whole = train(recipe, tmp_path / "whole", "cpu", workers=0).with_suffix(".safetensors")
    log_step = TrainingLog.step

    def fail(self, number, loss, learning_rate):
        log_step(self, number, loss, learning_rate)
        if number == 3:
            raise StopError

    with monkeypatch.context() as patch:
        patch.setattr(TrainingLog, "step", fail)
        with pytest.raises(StopError):
            train(recipe, tmp_path / "pieces", "cpu", workers=0)
    assert load_model(tmp_path / "pieces" / "small.yaml").crf is not None
    other = {**recipe, "crf": {**recipe["crf"], "lattice": {**LATTICE, "iterations": 1}}}
    with pytest.raises(CheckpointError, match=r"differs in crf\.lattice\.iterations:"):
        train(other, tmp_path / "pieces", "cpu", workers=0, resume=True)
    without = {key: value for key, value in recipe.items() if key != "crf"}
    with pytest.raises(CheckpointError, match=r"crf\.end_to_end\.learning_rate"):
        train(without, tmp_path / "pieces", "cpu", workers=0, resume=True)
    pieces = train(recipe, tmp_path / "pieces", "cpu", workers=0, resume=True)
    assert pieces.with_suffix(".safetensors").read_bytes() == whole.read_bytes()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"crf": {"lattice": LATTICE}},
            "recipe.crf.clips: missing; a CRF needs clips and optimization, or end_to_end",
        ),
        (
            {"crf": {"lattice": LATTICE, "clips": 3, "end_to_end": {"learning_rate": 0.1}}},
            "recipe.crf.clips: is for a CRF that is trained after its network",
        ),
        (
            {"crf": {"lattice": LATTICE, "seeds": [0, 2], "end_to_end": {"learning_rate": 0.1}}},
            "recipe.crf.seeds: is for a CRF that is trained after its network",
        ),
        (
            {"crf": {"lattice": LATTICE, "end_to_end": {}}},
            "recipe.crf.end_to_end.learning_rate: missing",
        ),
        (
            {"optimization": {"iterations": 0}},
            "recipe.crf.end_to_end: needs steps: optimization.iterations is 0",
        ),
        (
            {"start": "outdoor_lidar", "keep_start": 0.5},
            "recipe.keep_start: must be 0 with crf.end_to_end",
        ),
        ({"loss": {"refined": 0.0}}, "refined must be above 0 and at most 1, not 0"),
    ],
)
def test_settings_that_do_not_fit_are_refused(changes, message, tmp_path):
    with pytest.raises(RecipeError, match=message):
        Recipe.from_dict(recipe_of(tmp_path, **changes))


def test_a_causal_crf_is_not_trained_with_a_network_that_uses_the_future(root, tmp_path):
    recipe = recipe_of(root)
    recipe["network"] |= {"dimension": 4, "kernel": "hybrid"}
    with pytest.raises(RecipeError, match="only if its network is in 3D or causal"):
        train(recipe, tmp_path, "cpu", workers=0)
