# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Training of a network and its CRF, as a recipe describes (docs/training.md)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from minkowski_perception.lab.training.calibration import adjust, calibrate
from minkowski_perception.lab.training.checkpoints import load_checkpoint, save_checkpoint
from minkowski_perception.lab.training.clips import ClipDataset, collate
from minkowski_perception.lab.training.crf import Refinement, check_causal, train_crf
from minkowski_perception.lab.training.data_checks import check_sets
from minkowski_perception.lab.training.distributed import StepSampler, World, processes
from minkowski_perception.lab.training.losses import class_weights
from minkowski_perception.lab.training.recipe import Recipe, RecipeError
from minkowski_perception.lab.training.sources import (
    Drives,
    Source,
    check_drives,
    open_sources,
    simulate,
)
from minkowski_perception.lab.training.stages import Stage, read_stages, select_stages
from minkowski_perception.lab.training.trainer import Trainer
from minkowski_perception.lab.training.training_log import TrainingLog
from minkowski_perception.lab.training.validation import HeldOutSequences, evaluate, open_held_out
from minkowski_perception.labels import LabelSet
from minkowski_perception.moving import MOVING
from minkowski_perception.networks import Network, build_network
from minkowski_perception.networks.crf import TrilateralCRF
from minkowski_perception.networks.inflate import transfer
from minkowski_perception.networks.model import (
    Model,
    ModelError,
    load_model,
    read_card,
    save_model,
)


def train(
    recipe: Mapping[str, Any],
    out: Path,
    device: str = "auto",
    *,
    stage: str | None = None,
    resume: bool = False,
    overwrite: bool = False,
    workers: int = 1,
    tensorboard: bool = False,
) -> Path:
    """Train the network of a recipe, and its CRF if it has one, stage by stage; save the models.

    Started by `torchrun`, all processes train together, and the first one writes.

    Args:
        recipe: see `Recipe` and `read_stages`.
        out: folder for each stage's model, NAME.yaml and NAME.safetensors, and NAME.checkpoint,
            from which a training can be resumed. They are also written during the training.
        device: see `choose_device`.
        stage: name of the only stage to train; None trains all.
        resume: whether to skip finished stages and to resume from a checkpoint in `out`.
        overwrite: whether models and checkpoints in `out` may be replaced.
        workers: processes that prepare clips; 0 prepares them in the training process.
        tensorboard: whether to write NAME.tensorboard.

    Returns:
        Path of the last stage's model, without suffix.

    Raises:
        RecipeError: a setting is missing, unknown or impossible.
        ModelError: the model to start from cannot be loaded.
        CheckpointError: a checkpoint is damaged or of another recipe.
        OverwriteError: `out` has a model or checkpoint that would be replaced.
        LabelSetError: a label set is missing or malformed.
        SensorError, RecordingError: a sensor or a scene of simulated drives is unknown.
    """
    stages = select_stages(read_stages(recipe, out), stage)
    warnings: dict[str, None] = {}  # stages often have the same data sets
    for chosen in stages:
        if not (overwrite or resume):
            _check_folder(out / chosen.plan.name)
        _check(chosen.plan)
        warnings |= dict.fromkeys(check_sets(chosen.plan))
    with processes(device) as world:
        for warning in warnings:
            world.announce(f"warning: {warning}")
        for chosen in stages:
            training = _Training(chosen, out, world, workers, overwrite)
            # The first process decides, as it may write the model before others read it.
            if resume and world.gather(training.finished())[0]:
                world.announce(f"{chosen.title} is finished: {training.path}.yaml")
                continue
            training.train_network(resume, tensorboard)
            if world.leads:
                training.finish()
            world.wait()
    return out / stages[-1].plan.name


class OverwriteError(ValueError):
    """A folder has a model or a checkpoint of its own, which the training would replace."""


def _check_folder(path: Path) -> None:
    """Check that no model or checkpoint would be replaced.

    Args:
        path: of the model, without suffix.

    Raises:
        OverwriteError: there is one.
    """
    for suffix in (".checkpoint", ".yaml", ".safetensors"):
        if (file := path.with_suffix(suffix)).exists():
            raise OverwriteError(
                f"{file} exists: pass --resume to go on with it, --overwrite to replace it, or "
                "another folder as --out"
            )


def _check(plan: Recipe) -> None:
    """Check the drives, the network and the CRF of a stage before the first stage is trained.

    Raises:
        RecipeError, ModelError, SensorError, RecordingError, LabelSetError: see `train`.
    """
    labels = LabelSet.load(plan.labels)
    check_drives(plan.data, labels)
    with torch.random.fork_rng():
        network = _build(plan)
        if plan.crf is None:
            return
        try:
            check_causal(network, plan.crf.lattice, plan.end_to_end is not None)
        except ValueError as error:
            raise RecipeError(f"recipe.crf.lattice: {error}") from error
        crf = TrilateralCRF(network.num_classes, **asdict(plan.crf.lattice))
        Model(plan.name, network, labels, plan.spec, plan.window, plan.model_card, crf)


class _Training:
    """Training of one stage.

    Args:
        stage: what to train.
        out: folder of the models.
        world: the processes that train together.
        workers: processes that prepare clips.
        overwrite: see `train`.
    """

    def __init__(
        self, stage: Stage, out: Path, world: World, workers: int, overwrite: bool
    ) -> None:
        plan = stage.plan
        self.path = out / plan.name
        self._title = stage.title
        self._plan = plan
        self._world = world
        self._workers = workers
        self._overwrite = overwrite
        self._labels = LabelSet.load(plan.labels)
        torch.manual_seed(plan.seed)
        network, start = _network(plan, stage.title)
        self._network = network.to(world.device)
        self._refinement = self._new_refinement(start)
        digest = {} if start is None else {"start": start.card.get("sha256", plan.start)}
        self._recipe = {**stage.settings, **digest}
        self._initial = deepcopy(self._network.state_dict()) if plan.keep_start else None
        if world.rank:  # processes share the initial weights, and draw different random numbers
            torch.manual_seed(plan.seed + world.rank)

    def finished(self) -> bool:
        """Return whether the folder has the finished model of exactly these settings."""
        try:
            with torch.random.fork_rng():  # loading a model draws random numbers
                card = load_model(self.path.with_suffix(".yaml")).card
        except ModelError:
            return False
        return card.get("recipe") == self._digest

    @property
    def _digest(self) -> str:
        """SHA-256 of the settings, and of the model that the training starts from."""
        return hashlib.sha256(json.dumps(self._recipe).encode()).hexdigest()

    @cached_property
    def _held_out(self) -> list[HeldOutSequences]:
        return open_held_out(self._plan.data, self._labels)

    @cached_property
    def _sources(self) -> list[Source]:
        return open_sources(self._plan.data, self._labels, self._plan.seed)

    def train_network(self, resume: bool, tensorboard: bool) -> None:
        """Train the network, from its start or from a checkpoint."""
        plan, world, settings = self._plan, self._world, self._plan.optimization
        if not settings.iterations:
            return
        with world.leader_first():  # the first process fills the cache of drives
            sources = self._sources
        weights = None
        if plan.loss.class_weights == "inverse_root":
            weights = self._class_weights()
        trainer = Trainer(self._network, settings, plan.loss, weights, world, self._refinement)
        checkpoint = self.path.with_suffix(".checkpoint")
        if resume and checkpoint.exists():
            trainer.restore(load_checkpoint(checkpoint, self._recipe))
        elif resume:
            self._check_replaceable()
            world.announce(
                f"{self._title}: no {checkpoint} to resume from, training from the start"
            )
        steps = range(trainer.step, settings.iterations)
        clips = self._clips(sources, settings.iterations * settings.batch_size)
        loader = DataLoader(
            clips,
            batch_sampler=StepSampler(steps, settings.batch_size, world),
            collate_fn=collate,
            num_workers=self._workers,
            generator=torch.Generator(),  # the global one is for the network alone
        )
        board = self.path.with_suffix(".tensorboard") if tensorboard else None
        due = {*range(0, settings.iterations, settings.checkpoint_every), settings.iterations}
        log = TrainingLog(settings.iterations, trainer.step, board, world.leads, self._title)
        with log:
            for batch in loader:
                learning_rate = trainer.learning_rate
                loss = trainer.advance(batch)
                log.step(trainer.step, loss, learning_rate)
                if trainer.step in due:
                    self._save(checkpoint, trainer)
                if plan.validation is not None and trainer.step % plan.validation.every == 0:
                    self._validate(log, trainer.step, plan.validation.frames)

    def _check_replaceable(self) -> None:
        """Check that the folder has no finished model, which is of other settings.

        Raises:
            OverwriteError: it has one.
        """
        card = self.path.with_suffix(".yaml")
        if not self._overwrite and card.exists() and read_card(card).recipe is not None:
            raise OverwriteError(
                f"{card} is a finished model of other settings: pass --overwrite to replace it, "
                "or another folder as --out"
            )

    def finish(self) -> None:
        """Average the weights with those of the start, train a CRF, calibrate, score and save.

        The CRF is trained on logits without `logit_adjustment`: its loss has weights too.
        """
        plan, card = self._plan, self._plan.model_card
        if self._initial is not None:
            _blend(self._network, self._initial, plan.keep_start)
        crf = self._crf
        if plan.crf is not None and crf is None:
            crf = self._train_crf()
        if plan.logit_adjustment:
            adjust(self._network, self._class_weights(), plan.logit_adjustment)
        calibrated = self._calibrate()
        save_model(self.path, self._network, card, crf=crf)
        figures = {**self._scores(), **calibrated}
        card = {**card, "recipe": self._digest, "figures": figures}
        save_model(self.path, self._network, card, crf=crf)

    def _calibrate(self) -> dict[str, Any]:
        """Calibrate the network's outputs on the held-out data; return figures for the card.

        On clips of one frame the network has not learnt what moves.
        """
        if not self._plan.calibration or self._plan.clip_size.longest == 1:
            return {}
        self._network.eval()
        found = calibrate(self._model(), self._held_out, str(self._world.device))
        return {} if found is None else {"calibration": {MOVING: found}}

    def _scores(self, frames: int | None = None) -> dict[str, Any]:
        held_out, data = self._held_out, self._plan.data
        figures = evaluate(
            self.path.with_suffix(".yaml"), held_out, str(self._world.device), frames
        )
        if data.held_out_seeds is None:
            return figures
        return {"held_out_seeds": list(data.held_out_seeds), **figures}

    def _validate(self, log: TrainingLog, step: int, frames: int | None) -> None:
        if self._world.leads:
            save_model(self.path, self._network, self._plan.model_card, crf=self._crf)
            with torch.random.fork_rng():  # scores must not change the training
                log.scores(step, self._scores(frames)["miou"])
        self._world.wait()

    def _save(self, checkpoint: Path, trainer: Trainer) -> None:
        state = trainer.state()
        if self._world.leads:
            save_checkpoint(checkpoint, self._recipe, state)
            save_model(self.path, self._network, self._plan.model_card, crf=self._crf)

    def _class_weights(self) -> Tensor:
        """Return the weights of the classes; each source counts by its share."""
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
            plan.clip_size,
            plan.spec,
            plan.augmentation,
            plan.seed,
            length,
            data.max_voxels,
            data.voxel_labels,
            tuple(self._network.heads),
            data.history,
            data.without_history,
        )

    @property
    def _crf(self) -> TrilateralCRF | None:
        """The CRF that is trained together with the network."""
        return None if self._refinement is None else self._refinement.crf

    def _new_refinement(self, start: Model | None) -> Refinement | None:
        """Return the CRF to train together with the network, with its initial weights.

        They are those of the start's CRF where it has the same settings and classes.
        """
        plan = self._plan
        if plan.crf is None or plan.crf.end_to_end is None:
            return None
        crf = TrilateralCRF(self._network.num_classes, **asdict(plan.crf.lattice))
        if start is not None and start.crf is not None and not plan.fresh_head:
            same = (start.crf.settings, start.crf.num_classes) == (crf.settings, crf.num_classes)
            crf = start.crf if same else crf
        crf = crf.to(self._world.device)
        return Refinement(crf, self._model(crf).chroma, plan.crf.end_to_end.learning_rate)

    def _model(self, crf: TrilateralCRF | None = None) -> Model:
        plan = self._plan
        card = plan.model_card
        return Model(plan.name, self._network, self._labels, plan.spec, plan.window, card, crf)

    def _train_crf(self) -> TrilateralCRF:
        """Return a CRF that is trained after the network."""
        plan = self._plan
        assert plan.crf is not None
        assert plan.crf.clips is not None
        assert plan.crf.optimization is not None
        if plan.crf.seeds is None:
            sources = self._sources
        else:
            sources = [Drives(simulate(plan.data, self._labels, range(*plan.crf.seeds)))]
        return train_crf(
            self._model(),
            self._clips(sources, plan.crf.clips),
            plan.crf.lattice,
            plan.crf.optimization,
            seed=plan.seed,
            device=str(self._world.device),
        )


def _blend(network: Network, other: Mapping[str, Tensor], share: float) -> None:
    """Average a network's weights and batch norm statistics with others, which count `share`."""
    for key, value in network.state_dict().items():
        if value.is_floating_point():
            value.lerp_(other[key], share)


def _build(plan: Recipe) -> Network:
    try:
        return build_network(**plan.network)
    except (TypeError, ValueError) as error:
        raise RecipeError(f"recipe.network: {error}") from error


def _network(plan: Recipe, title: str) -> tuple[Network, Model | None]:
    """Return the network of a recipe with its initial weights, and the model that it starts from.

    Raises:
        ModelError: the model to start from cannot be loaded.
        RecipeError: its weights do not fit.
    """
    network = _build(plan)
    if plan.start is None:
        return network, None
    try:
        start = load_model(plan.start)
    except ModelError as error:
        raise ModelError(f"{title}: cannot load the model to start from: {error}") from error
    source, ours, theirs = start.network, plan.spec.channels, start.input.channels
    if len(ours) > len(theirs) and ours[: len(theirs)] != theirs:
        raise RecipeError(
            f"recipe.start: more input channels must follow those of the start, which are "
            f"{', '.join(theirs)}, not {', '.join(ours)}"
        )
    try:
        transfer(source, network, fresh_classes=plan.fresh_head)
    except ValueError as error:
        hint = ""
        if source.num_classes != network.num_classes and not plan.fresh_head:
            hint = (
                f" (it has {source.num_classes} classes, the recipe {network.num_classes}: set "
                "fresh_head: true to start the last layer from scratch)"
            )
        raise RecipeError(f"recipe.start: {error}{hint}") from error
    return network, start
