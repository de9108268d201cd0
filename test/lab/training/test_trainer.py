# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
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
    return Sample(coordinates, features, labels, torch.ones(120, dtype=torch.int64), {})


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
