# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Recipes: all settings of a training, as in config/training (docs/training.md)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from minkowski_perception.lab.training.clip_size import ClipSize, Shares
from minkowski_perception.lab.training.composition import Augment, read_augmentation
from minkowski_perception.lab.training.losses import Loss
from minkowski_perception.lab.training.optimization import Optimization
from minkowski_perception.labels import LabelSet
from minkowski_perception.networks.crf import CRFSettings
from minkowski_perception.networks.model import Card
from minkowski_perception.networks.network import NetworkOptions
from minkowski_perception.networks.registry import network_options
from minkowski_perception.schema import (
    FILE_NAME,
    Former,
    Range,
    SchemaError,
    error_at,
    read,
    read_yaml,
)
from minkowski_perception.voxels import VoxelInput

_REPLACED = ("optimizer", "schedule", "warm_up", "lattice", "clip", "stride")
"""Mappings that are replaced, not merged with the base: their keys depend on the choice."""

Count = Annotated[int, Range(least=1)]
Share = Annotated[float, Range(least=0.0, most=1.0)]
Weight = Annotated[float, Range(above=0.0)]
Seeds = tuple[Annotated[int, Range(least=0)], Annotated[int, Range(least=0)]]


class RecipeError(ValueError):
    """A recipe cannot be read, or has missing, unknown or impossible settings."""


class _ModelName:
    """Check of the name of a model: a file name without a suffix."""

    def check(self, value: str) -> None:
        FILE_NAME.check(value)
        if "." in value:
            raise ValueError(f"must have no '.', not {value!r}")


ModelName = Annotated[str, _ModelName()]


def load_recipe(path: Path) -> dict[str, Any]:
    """Read a recipe from its file, merged over its base.

    `base` names another recipe, relative to the file. Mappings are merged key by key; other values
    are replaced, and so are the mappings of an optimizer, schedule, warm-up, lattice, clip or
    stride.

    Raises:
        RecipeError: a file cannot be read or is not a mapping, or a recipe is its own base.
    """
    return _load(path, ())


def _load(path: Path, before: tuple[Path, ...]) -> dict[str, Any]:
    chain = (*before, path)
    if path.resolve() in [other.resolve() for other in before]:
        raise RecipeError(f"recipe {path} is its own base: {' -> '.join(map(str, chain))}")
    try:
        recipe = read(dict[str, Any], read_yaml(path))
        base = read(str, recipe.pop("base")) if "base" in recipe else None
    except SchemaError as error:
        raise RecipeError(f"recipe {path}: {error}") from error
    return recipe if base is None else merged(_load(path.parent / base, chain), recipe)


def merged(base: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings merged over others, as `load_recipe` does."""
    result = dict(base)
    for key, value in own.items():
        before = result.get(key)
        if isinstance(before, Mapping) and isinstance(value, Mapping) and key not in _REPLACED:
            value = merged(before, value)
        result[key] = value
    return result


@dataclass(frozen=True)
class DataSet:
    """Recorded sequences to train on.

    Attributes:
        name: of the data set, one of `dataset_names()`.
        root: its folder.
        split: one of the data set's; None takes all.
        bag_labels: label set of a bag's labels.
        share: of the clips, relative to the other sources.
    """

    name: str
    root: str
    split: str | None = None
    bag_labels: str | None = None
    share: Weight = 1.0


@dataclass(frozen=True)
class HeldOut:
    """Recorded sequences to score the model on.

    Attributes:
        name, root, split, bag_labels: as in `DataSet`.
        frames: number of frames from the start of each sequence; None takes all.
    """

    name: str
    root: str
    split: str | None = None
    bag_labels: str | None = None
    frames: Count | None = None


def _read_count(value: Any, path: str) -> int | Shares:
    """Read a number, or a mapping of numbers to their shares.

    Raises:
        SchemaError: the value is neither; a number is not 1 or more, or a share not above 0.
    """
    if not isinstance(value, Mapping):
        return read(Count, value, path)
    if not value:
        raise error_at(path, "must have at least one number")
    return read(Mapping[Count, Weight], value, path)  # type: ignore[type-abstract]


@dataclass(frozen=True)
class Data:
    """Sources of clips: simulated drives, data sets, or both.

    Attributes:
        seeds: first seed of the drives, and the one after the last.
        lidars: LiDAR models by name, with each one's share of the drives.
        cameras: depth cameras instead of LiDARs, in the same form.
        scenes: kinds of scene with each one's share of the drives (`simulation.recording.SCENES`);
            by default streets for LiDARs, rooms for cameras.
        counted_scenes: scenes whose labels give the class weights of the loss, such as those that
            the model is for; by default all.
        frames: length of a drive.
        latest_start: drives through rooms start at a viewpoint that sees much of the room, or up
            to so many seconds later, which gives views from close to walls too.
        held_out_seeds: seeds of the drives to score the model on, for each sensor.
        cache: folder in which simulated drives are kept.
        share: of the clips that come from drives, relative to the data sets.
        sets: data sets to train on.
        held_out_sets: data sets to score the model on.
        clip: largest number of frames of a clip, by default the window; or a mapping of numbers to
            the shares of the clips that have as many frames.
        shorter: share of the clips that may be shorter, as at the start of a stream; by default
            0.4. Not for a mapping, which has the short ones as well.
        stride: frames of the sequence from each frame of a clip to the next one; or a mapping of
            numbers to the shares of the clips that have this stride.
        history: number of frames before a clip that its residuals (`input.residuals`) can look
            back to. Of these frames, and of those that a stride skips, only the ones at a delay
            of a residual are used: they are augmented with the clip and get no voxels.
        without_history: share of clips without such frames, as at the start of a stream, and as
            from sensors as slow as the stride.
        max_voxels: largest number of voxels of a clip; larger clips are sampled at random.
        voxel_labels: label of a voxel: "first", that of its first point, or "agreed", the label
            that all its points share, and unknown where they differ.
    """

    seeds: Seeds | None = None
    lidars: Mapping[str, Weight] = field(default_factory=dict)
    cameras: Mapping[str, Weight] = field(default_factory=dict)
    scenes: Mapping[str, Weight] = field(default_factory=dict)
    counted_scenes: tuple[str, ...] | None = None
    frames: Annotated[int, Range(least=0)] = 0
    latest_start: Annotated[float, Range(least=0.0)] = 0.0
    held_out_seeds: Seeds | None = None
    cache: str | None = None
    share: Weight = 1.0
    sets: tuple[DataSet, ...] = ()
    held_out_sets: tuple[HeldOut, ...] = ()
    clip: Annotated[int | Shares | None, _read_count] = None
    shorter: Share | None = None
    stride: Annotated[int | Shares, _read_count] = 1
    history: Annotated[int, Range(least=0)] = 0
    without_history: Share = 0.25
    max_voxels: Count | None = None
    voxel_labels: Literal["first", "agreed"] = "first"

    def __post_init__(self) -> None:
        """Check that there is something to train on.

        Raises:
            ValueError: there is not, or the drives or clips are not described as they must be.
        """
        if self.seeds is None and not self.sets:
            raise ValueError(
                "there must be seeds of simulated drives, sets of recorded data or both"
            )
        for name in ("seeds", "held_out_seeds"):
            seeds = getattr(self, name)
            if seeds is not None and seeds[0] >= seeds[1]:
                raise ValueError(f"{name} must be the first and one after the last, not {seeds}")
        drives = self.seeds is not None or self.held_out_seeds is not None
        if drives and not (bool(self.lidars) != bool(self.cameras) and self.frames > 0):
            raise ValueError("simulated drives need frames, and either lidars or cameras")
        if self.counted_scenes is not None and not (
            set(self.counted_scenes) & set(self.drawn_scenes)
        ):
            raise ValueError(
                f"counted_scenes must name some of {', '.join(self.drawn_scenes)}, "
                f"not {', '.join(self.counted_scenes) or 'nothing'}"
            )
        if isinstance(self.clip, Mapping) and self.shorter is not None:
            raise ValueError("shorter is for a single number of clip, not for a mapping")
        if self.latest_start and not self.cameras:
            raise ValueError(f"latest_start {self.latest_start} must be 0 without cameras")

    @property
    def sensors(self) -> Mapping[str, float]:
        """Sensors of the simulated drives, with each one's share."""
        return self.lidars or self.cameras

    @property
    def drawn_scenes(self) -> Mapping[str, float]:
        """Scenes of the simulated drives, with each one's share: `scenes`, or the default ones."""
        return self.scenes or {"room" if self.cameras else "street": 1.0}


@dataclass(frozen=True)
class CrfOptimization:
    """How the weights of a CRF are trained, by AdamW.

    Attributes:
        steps: of the optimizer.
        batch_size: clips of each step.
        learning_rate: at the first step; it falls along half a cosine.
        weight_decay: as AdamW's.
        lovasz: weight of the Lovasz softmax loss, beside the cross entropy.
    """

    former_keys: ClassVar = {"clips": Former("batch_size")}

    steps: Count
    batch_size: Count
    learning_rate: Weight
    weight_decay: Annotated[float, Range(least=0.0)]
    lovasz: Annotated[float, Range(least=0.0)] = 1.0


@dataclass(frozen=True)
class EndToEnd:
    """How a CRF is trained together with its network, in the same steps.

    Attributes:
        learning_rate: the largest one of the CRF's weights, which take the optimizer and the
            schedule of the network's.
    """

    learning_rate: Weight


@dataclass(frozen=True)
class Crf:
    """A CRF that is trained after the network, or together with it.

    Attributes:
        lattice: settings of the CRF.
        clips: number of clips that it is trained on; only after the network.
        optimization: how its weights are trained; only after the network.
        seeds: of its simulated drives, which should not be those of the network; without them
            clips come from the sources of the recipe. Only after the network.
        end_to_end: how it is trained together with the network, on the network's clips; None
            trains it after the network.
    """

    lattice: CRFSettings
    clips: Count | None = None
    optimization: CrfOptimization | None = None
    seeds: Seeds | None = None
    end_to_end: EndToEnd | None = None

    def __post_init__(self) -> None:
        """Check that the settings of one of the two ways are given.

        Raises:
            SchemaError: some are missing, or belong to the other way.
        """
        for name in ("clips", "optimization", "seeds"):
            given = getattr(self, name) is not None
            if given and self.end_to_end is not None:
                raise error_at(
                    name, "is for a CRF that is trained after its network, without end_to_end"
                )
            if not given and self.end_to_end is None and name != "seeds":
                raise error_at(
                    name,
                    "missing; a CRF needs clips and optimization, or end_to_end to be trained "
                    "together with its network",
                )


@dataclass(frozen=True)
class Validation:
    """Scores during the training.

    Attributes:
        every: number of steps between them.
        frames: number of frames from the start of each held-out sequence; None takes all.
    """

    every: Count
    frames: Count | None = None


def _read_input(value: Any, path: str) -> Mapping[str, Any]:
    VoxelInput.from_dict(value, path)
    return dict(value)


@dataclass(frozen=True)
class CardTexts:
    """Texts of the model's card; see `Card`."""

    former_keys: ClassVar = {"licence": Former("license")}

    description: str | None = None
    sensors: str | None = None
    license: str | None = None
    training: str | None = None


@dataclass(frozen=True)
class Recipe:
    """All settings of a training.

    Attributes:
        name: of the model and its files.
        network: arguments of `build_network`.
        labels: name of the label set.
        input: voxels and features of the network, as on a model card.
        window: number of frames that the model sees together.
        seed: of all random numbers.
        data: sources of clips.
        optimization: how the weights are trained.
        card: texts of the model's card.
        start: name or path of the model to start from, in 3D or 4D, with any kernel.
        fresh_head: whether the last layer starts from scratch nevertheless, as for other classes.
        keep_start: share of the initial weights in the result, the rest being the trained ones;
            the mean often serves the old and the new data better than either (Wortsman et al.,
            "Robust fine-tuning of zero-shot models", 2022, arXiv 2109.01903).
        loss: that is minimised.
        augmentation: of the clips.
        validation: scores during the training, if any.
        crf: trained after the network or together with it, if any.
        calibration: whether the probability of moving is calibrated on the held-out data after
            the training, see `calibration.calibrate`.
        logit_adjustment: share of the log weights of the classes in the loss that is subtracted
            from their logits after the training, see `calibration.adjust`.
    """

    name: ModelName
    network: Mapping[str, Any]
    labels: str
    input: Annotated[Mapping[str, Any], _read_input]
    window: Count
    seed: Annotated[int, Range(least=0)]
    data: Data
    optimization: Optimization
    card: CardTexts
    start: str | None = None
    fresh_head: bool = False
    keep_start: Annotated[float, Range(least=0.0, below=1.0)] = 0.0
    loss: Loss = field(default_factory=Loss)
    augmentation: Annotated[Augment, read_augmentation] = field(
        default_factory=lambda: read_augmentation({}, "augmentation")
    )
    validation: Validation | None = None
    crf: Crf | None = None
    calibration: bool = True
    logit_adjustment: Share = 0.0

    def __post_init__(self) -> None:
        """Check that the settings fit each other, and a model card.

        Raises:
            ValueError: they do not.
        """
        read(Card, self.model_card)
        options = network_options(self.network)
        self.loss.check_heads(options.heads)
        if self.logit_adjustment and self.loss.class_weights == "none":
            raise error_at(
                "logit_adjustment", "needs class weights to undo, but loss.class_weights is none"
            )
        if self.loss.averaged and self.spec.shift == "minimum":
            raise error_at(
                "loss.averaged",
                "must be 0 with input.shift 'minimum': such models are never averaged",
            )
        self._check_clips(options)
        held_out = self.data.held_out_seeds is not None or self.data.held_out_sets
        if self.validation is not None and not held_out:
            raise ValueError("validation needs held_out_seeds or held_out_sets")
        if self.fresh_head and self.start is None:
            raise ValueError("fresh_head needs a start")
        if self.keep_start and (self.start is None or self.fresh_head):
            raise ValueError("keep_start needs a start, and no fresh_head")
        if self.end_to_end is not None:
            if not self.optimization.iterations:
                raise error_at("crf.end_to_end", "needs steps: optimization.iterations is 0")
            if self.keep_start:
                raise error_at(
                    "keep_start",
                    "must be 0 with crf.end_to_end, which fits the CRF to the trained weights",
                )

    def _check_clips(self, options: NetworkOptions) -> None:
        """Check that clips fit into the drives, and that links reach no further than clips.

        Raises:
            SchemaError: they do not, or the kernels are not possible.
        """
        size, data = self.clip_size, self.data
        if data.history and not self.spec.residuals:
            raise error_at("data.history", "must be 0 without input.residuals, which look back")
        if data.seeds is not None and size.span > data.frames:
            raise error_at(
                "data.frames",
                f"must be {size.span} or more, as many as the longest clip spans, not "
                f"{data.frames}",
            )
        try:
            recall = options.blocks.recall
        except ValueError as error:
            raise error_at("network", str(error)) from error
        if self.optimization.iterations and recall >= size.longest:
            raise error_at(
                "network.recall",
                f"must be at most {size.longest - 1}, the longest clip minus one, not {recall}: "
                "links that reach back further are never trained",
            )
        if self.optimization.iterations and options.past >= size.longest:
            raise error_at(
                "data.clip",
                "must have clips of 2 frames or more, not of 1: network.support is never trained",
            )

    @classmethod
    def from_dict(cls, data: Any, path: str = "recipe") -> Recipe:
        """Read a recipe.

        Args:
            data: its settings, as `load_recipe` returns them.
            path: of the settings, for errors.

        Raises:
            RecipeError: a setting is missing, unknown or impossible; the message names it and
                the valid ones.
        """
        try:
            return read(cls, data, path)
        except SchemaError as error:
            raise RecipeError(str(error)) from error

    @property
    def end_to_end(self) -> EndToEnd | None:
        """How a CRF is trained together with the network; None where it is not."""
        return None if self.crf is None else self.crf.end_to_end

    @property
    def spec(self) -> VoxelInput:
        """Voxels and features of the network."""
        return VoxelInput.from_dict(self.input)

    @property
    def clip_size(self) -> ClipSize:
        """Number of frames of the clips."""
        data = self.data
        length = self.window if data.clip is None else data.clip
        shorter = ClipSize.shorter if data.shorter is None else data.shorter
        return ClipSize(length, shorter, data.stride)

    @property
    def model_card(self) -> dict[str, Any]:
        """Card of the model, without its figures."""
        labels = LabelSet.load(self.labels).to_dict()
        own = {"name": self.name, "network": dict(self.network), "label_set": labels}
        texts = {key: text for key, text in asdict(self.card).items() if text is not None}
        return own | {"input": dict(self.input), "window": self.window} | texts
