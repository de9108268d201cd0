# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

import pytest
import torch
from small_recipes import small_recipe

from minkowski_perception.lab.training.clips import Sample
from minkowski_perception.lab.training.distributed import processes
from minkowski_perception.lab.training.losses import Loss
from minkowski_perception.lab.training.recipe import Recipe
from minkowski_perception.lab.training.trainer import Trainer
from minkowski_perception.networks import build_network


def batch():
    """Return a clip of two frames of 60 voxels."""
    draw = torch.Generator().manual_seed(0)
    coordinates = torch.cat(
        [
            torch.cat([torch.full((60, 1), 0), xyz, torch.full((60, 1), t)], dim=1)
            for t in (0, 1)
            for xyz in [torch.cartesian_prod(torch.arange(5), torch.arange(4), torch.arange(3))]
        ]
    )
    features = torch.randn(120, 2, generator=draw)
    labels = torch.randint(0, 19, (120,), generator=draw)
    points, posed = torch.ones(120, dtype=torch.int64), torch.ones(120, dtype=torch.bool)
    return Sample(coordinates, features, labels, points, posed, {})


def step(tmp_path, loss, clip, **optimization):
    """Return a network's tensors before and after a step, and the loss of the step."""
    recipe = small_recipe(tmp_path)
    recipe["optimization"] |= optimization
    plan = Recipe.from_dict(recipe)
    torch.manual_seed(0)
    network = build_network(**plan.network)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    with processes("cpu") as world:
        value = Trainer(network, plan.optimization, loss, None, world).advance(clip)
    return before, network.state_dict(), value


@pytest.mark.parametrize("frozen", [False, True])
def test_frozen_batch_norm_keeps_its_statistics_and_trains_its_weights(frozen, tmp_path):
    before, after, _ = step(tmp_path, Loss(), batch(), freeze_batch_norm=frozen)
    for key, value in after.items():
        if "running" in key or "num_batches" in key:
            assert torch.equal(value, before[key]) == frozen, key
    assert not torch.equal(after["bn0.bn.weight"], before["bn0.bn.weight"])


def test_norms_alone_are_trained_if_asked_for(tmp_path):
    before, after, _ = step(tmp_path, Loss(), batch(), trained="norms")
    for key, value in after.items():
        if "num_batches" not in key:
            assert torch.equal(value, before[key]) == (".bn." not in key), key


def test_the_first_frame_of_a_clip_counts_less(tmp_path):
    clip = batch()
    unknown = clip._replace(labels=torch.where(clip.coordinates[:, -1] == 0, 255, clip.labels))
    every, later, weighted = (
        step(tmp_path, loss, each, freeze_batch_norm=True)[2]
        for loss, each in (
            (Loss(lovasz=0.0), clip),
            (Loss(lovasz=0.0), unknown),
            (Loss(lovasz=0.0, first_frames=0.25), clip),
        )
    )
    first = 2 * every - later
    assert weighted == pytest.approx((0.25 * first + later) / 1.25, rel=1e-5)


def test_the_class_loss_is_shared_between_frames_and_their_average(tmp_path):
    clip = batch()
    alone, averaged, both = (
        step(tmp_path, Loss(averaged=share), clip, freeze_batch_norm=True)[2]
        for share in (0.0, 1.0, 0.8)
    )
    assert averaged != pytest.approx(alone, rel=1e-4)
    assert both == pytest.approx(0.2 * alone + 0.8 * averaged, rel=1e-6)


def test_without_poses_the_loss_on_the_average_is_that_of_single_frames(tmp_path):
    clip = batch()
    unposed = clip._replace(posed=torch.zeros_like(clip.posed))
    single = clip._replace(coordinates=clip.coordinates.clone())
    single.coordinates[60:, 0] = 1
    single.coordinates[:, -1] = 0
    for each in (unposed, single):
        _, expected, loss = step(tmp_path, Loss(), each)
        _, found, averaged = step(tmp_path, Loss(averaged=0.8), each)
        assert averaged == loss
        for key, value in found.items():
            torch.testing.assert_close(value, expected[key], msg=key)


def test_the_loss_on_the_average_falls(tmp_path):
    clip = batch()
    # Labels that both frames share, as of a world at rest.
    clip = clip._replace(labels=clip.labels[:60].repeat(2))
    plan = Recipe.from_dict(small_recipe(tmp_path, loss={"averaged": 1.0}))
    torch.manual_seed(0)
    network = build_network(**plan.network)
    optimization = replace(plan.optimization, iterations=30)
    with processes("cpu") as world:
        trainer = Trainer(network, optimization, plan.loss, None, world)
        losses = [trainer.advance(clip) for _ in range(30)]
    assert losses[-1] < 0.7 * losses[0]
