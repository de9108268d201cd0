# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Training of a network, and of a CRF after it, by a recipe (docs/training.md)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from tqdm import tqdm

from minkowski_perception.lab.training.checkpoints import load_checkpoint, save_checkpoint
from minkowski_perception.lab.training.clips import ClipDataset, collate
from minkowski_perception.lab.training.crf import train_crf
from minkowski_perception.lab.training.distributed import StepSampler, World, processes
from minkowski_perception.lab.training.journal import Journal
from minkowski_perception.lab.training.losses import class_weights
from minkowski_perception.lab.training.recipe import Recipe
from minkowski_perception.lab.training.schema import RecipeError
from minkowski_perception.lab.training.sources import (
    ClipSize,
    Drives,
    Source,
    open_sources,
    simulate,
)
from minkowski_perception.lab.training.trainer import Trainer
from minkowski_perception.lab.training.validation import HeldOutSequences, evaluate, open_held_out
from minkowski_perception.labels import LabelSet
from minkowski_perception.networks import Network, build_network
from minkowski_perception.networks.crf import TrilateralCRF
from minkowski_perception.networks.inflate import transfer
from minkowski_perception.networks.model import Model, load_model, save_model


def train(
    recipe: Mapping[str, Any],
    out: Path,
    device: str = "auto",
    *,
    resume: bool = False,
    workers: int = 1,
    tensorboard: bool = False,
) -> Path:
    """Train a network, and a CRF after it if asked for, and save it as a model.

    Started by `torchrun`, all processes train together; the first one writes.

    Args:
        recipe: see `Recipe`.
        out: folder for NAME.yaml and NAME.safetensors, the model, and NAME.checkpoint, from which
            a training goes on; they are written along the way too.
        device: see `choose_device`.
        resume: whether to go on from the checkpoint in `out`, if there is one.
        workers: processes that prepare clips; with 0 the training does it.
        tensorboard: whether to write NAME.tensorboard.

    Returns:
        Path of the model, without suffix.

    Raises:
        RecipeError: the recipe lacks something or asks for the impossible.
        ModelError: the model to start from cannot be loaded.
        CheckpointError: the checkpoint is damaged or of another recipe.
        DatasetError, LabelSetError: a data set cannot be opened.
    """
    plan = Recipe.from_dict(recipe)
    with processes(device) as world:
        training = _Training(plan, recipe, out, world, workers)
        if plan.optimization.iterations:
            training.train_network(resume, tensorboard)
        if world.leads:
            training.finish()
        world.wait()
        return training.path


class _Training:
    """What the parts of a training share."""

    def __init__(
        self,
        plan: Recipe,
        recipe: Mapping[str, Any],
        out: Path,
        world: World,
        workers: int,
    ) -> None:
        self.path = out / plan.name
        self._plan = plan
        self._recipe = recipe
        self._world = world
        self._workers = workers
        self._labels = LabelSet.load(plan.labels)
        torch.manual_seed(plan.seed)
        self._network = _network(plan).to(world.device)
        self._start = deepcopy(self._network.state_dict()) if plan.keep_start else None
        if world.rank:  # the processes start from the same weights and then go their own ways
            torch.manual_seed(plan.seed + world.rank)

    @cached_property
    def _held_out(self) -> list[HeldOutSequences]:
        return open_held_out(self._plan.data, self._labels)

    @cached_property
    def _sources(self) -> list[Source]:
        return open_sources(self._plan.data, self._labels, self._plan.seed)

    def train_network(self, resume: bool, tensorboard: bool) -> None:
        """Train the network, from its start or from a checkpoint."""
        plan, world, settings = self._plan, self._world, self._plan.optimization
        with world.leader_first():  # to fill the cache of drives
            sources = self._sources
        weights = None
        if plan.loss.class_weights == "inverse_root":
            weights = self._class_weights()
        trainer = Trainer(self._network, settings, plan.loss, weights, world)
        checkpoint = self.path.with_suffix(".checkpoint")
        if resume and checkpoint.exists():
            trainer.restore(load_checkpoint(checkpoint, self._recipe))
        elif resume and world.leads:
            tqdm.write(f"no {checkpoint} to go on from: training from the start")
        steps = range(trainer.step, settings.iterations)
        clips = self._clips(sources, settings.iterations * settings.clips)
        loader = DataLoader(
            clips,
            batch_sampler=StepSampler(steps, settings.clips, world),
            collate_fn=collate,
            num_workers=self._workers,
            generator=torch.Generator(),  # not PyTorch's own, which is the network's
        )
        board = self.path.with_suffix(".tensorboard") if tensorboard else None
        due = {*range(0, settings.iterations, settings.checkpoint_every), settings.iterations}
        with Journal(settings.iterations, trainer.step, board, world.leads) as journal:
            for batch in loader:
                learning_rate = trainer.learning_rate
                loss = trainer.advance(batch)
                journal.step(trainer.step, loss, learning_rate)
                if trainer.step in due:
                    self._save(checkpoint, trainer)
                if plan.validation is not None and trainer.step % plan.validation.every == 0:
                    self._validate(journal, trainer.step, plan.validation.frames)

    def finish(self) -> None:
        """Keep what is to be kept of the start, train the CRF, score the model and save it."""
        plan, card = self._plan, self._plan.model_card
        if self._start is not None:
            _blend(self._network, self._start, plan.keep_start)
        crf = None if plan.crf is None else self._train_crf()
        save_model(self.path, self._network, card, crf=crf)
        figures = self._scores()
        save_model(self.path, self._network, {**card, "figures": figures}, crf=crf)

    def _scores(self, frames: int | None = None) -> dict[str, Any]:
        held_out, data = self._held_out, self._plan.data
        figures = evaluate(
            self.path.with_suffix(".yaml"), held_out, str(self._world.device), frames
        )
        if data.held_out_seeds is None:
            return figures
        return {"held_out_seeds": list(data.held_out_seeds), **figures}

    def _validate(self, journal: Journal, step: int, frames: int | None) -> None:
        if self._world.leads:
            save_model(self.path, self._network, self._plan.model_card)
            with torch.random.fork_rng():  # scores leave no trace in what comes after
                journal.scores(step, self._scores(frames)["miou"])
        self._world.wait()

    def _save(self, checkpoint: Path, trainer: Trainer) -> None:
        state = trainer.state()
        if self._world.leads:
            save_checkpoint(checkpoint, self._recipe, state)
            save_model(self.path, self._network, self._plan.model_card)

    def _class_weights(self) -> Tensor:
        """Weights of the classes, each source counted by its share."""
        shares = [source.share for source in self._sources]
        parts = [
            share / sum(shares) * source.class_shares(len(self._labels))
            for share, source in zip(shares, self._sources, strict=True)
        ]
        return class_weights(sum(parts[1:], start=parts[0]))

    def _clips(self, sources: Sequence[Source], length: int) -> ClipDataset:
        plan, data = self._plan, self._plan.data
        return ClipDataset(
            sources,
            ClipSize(data.clip or plan.window, data.shorter, data.stride),
            plan.spec,
            plan.augmentation,
            plan.seed,
            length,
            data.max_voxels,
            data.voxel_labels,
        )

    def _train_crf(self) -> TrilateralCRF:
        plan = self._plan
        assert plan.crf is not None
        if plan.crf.seeds is None:
            sources = self._sources
        else:
            sources = [Drives(simulate(plan.data, self._labels, range(*plan.crf.seeds)))]
        card = plan.model_card
        model = Model(plan.name, self._network, self._labels, plan.spec, plan.window, card)
        settings = {"lattice": plan.crf.lattice, "optimization": plan.crf.optimization}
        return train_crf(
            model,
            self._clips(sources, plan.crf.clips),
            settings,
            seed=plan.seed,
            device=str(self._world.device),
        )


def _blend(network: Network, other: Mapping[str, Tensor], share: float) -> None:
    """Move the network's weights, and the statistics of its batch norms, towards others."""
    for key, value in network.state_dict().items():
        if value.is_floating_point():
            value.lerp_(other[key], share)


def _network(plan: Recipe) -> Network:
    """Return the network of a recipe, with the weights that it starts from."""
    try:
        network = build_network(**plan.network)
    except (TypeError, ValueError) as error:
        raise RecipeError(f"recipe.network: {error}") from error
    if plan.start is None:
        return network
    source = load_model(plan.start).network
    try:
        transfer(source, network, head=not plan.fresh_head)
    except ValueError as error:
        hint = ""
        if source.num_classes != network.num_classes and not plan.fresh_head:
            hint = (
                f" ({source.num_classes} classes there, {network.num_classes} here: with "
                "fresh_head: true the last layer starts from scratch)"
            )
        raise RecipeError(f"recipe.start: {error}{hint}") from error
    return network
