# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

import pytest
import torch

from minkowski_perception.lab.training.clips import Sample
from minkowski_perception.lab.training.crf import score_clips, train_crf
from minkowski_perception.lab.training.losses import Loss
from minkowski_perception.lab.training.recipe import CrfOptimization
from minkowski_perception.labels import LabelSet
from minkowski_perception.networks import build_network
from minkowski_perception.networks.crf import CRFSettings, TrilateralCRF
from minkowski_perception.networks.model import Model, ModelError
from minkowski_perception.sparse import SparseTensor
from minkowski_perception.voxels import VoxelInput

CPU = torch.device("cpu")
LATTICE = CRFSettings(iterations=2, causal=True)
OPTIMIZATION = CrfOptimization(steps=40, batch_size=2, learning_rate=0.1, weight_decay=0.0)
FEW = replace(OPTIMIZATION, steps=3)


def model_of(dimension=3, crf=None, features=("one", "intensity"), **network):
    torch.manual_seed(0)
    built = build_network(
        "MinkUNet14A",
        in_channels=2,
        heads={"classes": 10},
        dimension=dimension,
        width=0.25,
        **network,
    )
    spec = VoxelInput.from_dict({"voxel_size": 0.2, "features": features, "scale": [1.0, 0.5]})
    return Model("small", built.eval(), LabelSet.load("urban10"), spec, 2, {}, crf)


def clip(seed, frames=3):
    """Return a plane of two halves, of classes 3 and 7, the same in each frame."""
    random = torch.Generator().manual_seed(seed)
    plane = torch.cartesian_prod(torch.arange(12), torch.arange(12))
    plane = plane[torch.randperm(len(plane), generator=random)[:120]]
    frames = [torch.nn.functional.pad(plane, (1, 1)) for _ in range(frames)]
    space = torch.cat(frames)
    time = torch.arange(len(frames)).repeat_interleave(len(plane))[:, None]
    coordinates = torch.cat([space, torch.zeros_like(time), time], dim=1)[:, [0, 1, 2, 3, 5]]
    features = torch.rand(len(coordinates), 2, generator=random)
    labels = torch.where(coordinates[:, 1] < 6, 3, 7)
    return Sample(coordinates, features, labels, torch.ones_like(labels), labels >= 0, {})


CLIPS = [clip(seed) for seed in range(3)]


@pytest.mark.parametrize(("dimension", "causal"), [(3, True), (4, True), (4, False)])
def test_a_trained_crf_scores_better_than_the_network_alone(dimension, causal):
    model = model_of(dimension)
    before = {key: value.clone() for key, value in model.network.state_dict().items()}
    lattice = CRFSettings(iterations=2, causal=causal)
    crf = train_crf(model, CLIPS, lattice, OPTIMIZATION, device="cpu")
    assert (crf.causal, crf.iterations, crf.training) == (causal, 2, False)
    for key, value in model.network.state_dict().items():
        assert torch.equal(value, before[key]), key
    coordinates, _, labels, *_ = clip(9)
    logits = torch.randn(len(labels), 10, generator=torch.Generator().manual_seed(1))
    logits = logits * 0.1 + 0.1 * torch.nn.functional.one_hot(labels, 10)
    with torch.no_grad():
        alone = Loss()(logits, labels)
        refined = Loss()(crf(logits, coordinates), labels)
    assert refined < 0.8 * alone


def test_the_same_seed_gives_the_same_crf():
    first, again, other = (
        train_crf(model_of(), CLIPS, LATTICE, FEW, seed=seed, device="cpu").kernel
        for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_the_lovasz_part_of_the_loss_can_be_left_out():
    with_it, without = (
        train_crf(model_of(), CLIPS, LATTICE, optimization, device="cpu").kernel
        for optimization in (FEW, replace(FEW, lovasz=0.0))
    )
    assert not torch.equal(with_it, without)


def test_a_network_in_3d_scores_each_frame_alone():
    model = model_of(crf=TrilateralCRF(10))
    (scored, *_) = score_clips(model, CLIPS, CPU)
    coordinates, features, *_ = CLIPS[0]
    assert scored.chroma is None
    for t in range(3):
        rows = coordinates[:, 4] == t
        voxels = coordinates[rows, :4]
        with torch.no_grad():
            expected = model.network.class_logits(SparseTensor(features[rows], voxels)).at(voxels)
        torch.testing.assert_close(scored.logits[rows].float(), expected, atol=5e-3, rtol=5e-3)


@pytest.mark.parametrize("causal", [False, True])
def test_a_network_that_uses_the_future_scores_windows_for_a_causal_crf(causal):
    model = model_of(dimension=4, crf=TrilateralCRF(10, causal=causal, chroma="intensity"))
    (scored, *_) = score_clips(model, CLIPS, CPU)
    coordinates, features, *_ = CLIPS[0]
    torch.testing.assert_close(scored.chroma[:, 0], features[:, 1] / 0.5)
    last = coordinates[:, 4] == 2
    seen = coordinates[:, 4] >= (1 if causal else 0)  # the window is 2
    with torch.no_grad():
        tensor = SparseTensor(features[seen], coordinates[seen])
        expected = model.network.class_logits(tensor).at(coordinates[last])
    torch.testing.assert_close(scored.logits[last].float(), expected, atol=5e-3, rtol=5e-3)


def test_network_and_crf_can_be_trained_together():
    model = model_of()
    crf = TrilateralCRF(10, causal=True)
    torch.nn.init.normal_(crf.kernel)
    coordinates, features, labels, *_ = CLIPS[0]
    voxels = coordinates[:, [4, 1, 2, 3]]
    logits = model.network.train().class_logits(SparseTensor(features, voxels)).at(voxels)
    Loss()(crf(logits, coordinates), labels).backward()
    for name, parameter in [*model.network.named_parameters(), *crf.named_parameters()]:
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


def test_a_chroma_that_is_not_among_the_features_is_refused():
    model = model_of(features=("one", "z"))
    lattice = CRFSettings(chroma="intensity", causal=True)
    with pytest.raises(ModelError, match="its CRF needs intensity"):
        train_crf(model, CLIPS, lattice, FEW, device="cpu")


@pytest.mark.parametrize("network", [{"dimension": 3}, {"dimension": 4, "kernel": "causal"}])
def test_a_network_that_runs_frame_by_frame_needs_a_causal_crf(network):
    with pytest.raises(ValueError, match="its CRF must have causal: true"):
        train_crf(model_of(**network), CLIPS, CRFSettings(causal=False), FEW, device="cpu")
