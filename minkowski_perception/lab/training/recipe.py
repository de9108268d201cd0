# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Recipes: all that a training depends on, as in config/training (docs/training.md)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml

from minkowski_perception.lab.training.composition import Augment, read_augmentation
from minkowski_perception.lab.training.losses import Loss
from minkowski_perception.lab.training.optimization import Optimization
from minkowski_perception.lab.training.schema import RecipeError, read
from minkowski_perception.labels import LabelSet
from minkowski_perception.voxels import VoxelInput

_WHOLE = ("optimizer", "schedule", "warm_up", "lattice")
"""Choices of a recipe that are told as a whole: settings of one mean nothing to another."""


def load_recipe(path: Path) -> dict[str, Any]:
    """Read a recipe's file, with what it takes over from another one.

    `base` names that other file, beside it: its keys hold where the recipe does not tell them
    anew; a choice such as a schedule is told anew as a whole.

    Raises:
        RecipeError: a file cannot be read, or holds no mapping.
    """
    try:
        recipe = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise RecipeError(f"cannot read recipe {path}: {error}") from error
    if not isinstance(recipe, dict):
        raise RecipeError(f"recipe {path} holds no mapping")
    base = recipe.pop("base", None)
    return recipe if base is None else _merged(load_recipe(path.parent / str(base)), recipe)


def _merged(base: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in own.items():
        before = merged.get(key)
        if isinstance(before, Mapping) and isinstance(value, Mapping) and key not in _WHOLE:
            value = _merged(before, value)
        merged[key] = value
    return merged


@dataclass(frozen=True)
class DataSet:
    """Recorded sequences to take clips from.

    Attributes:
        name: as `open_dataset` knows it.
        root: its folder.
        split: as the data set calls it; None takes all.
        bag_labels: label set of a bag's labels.
        share: of the clips, relative to the other sources.
    """

    name: str
    root: str
    split: str | None = None
    bag_labels: str | None = None
    share: float = 1.0


@dataclass(frozen=True)
class HeldOut:
    """Recorded sequences to score the model on.

    Attributes:
        name, root, split, bag_labels: as of a `DataSet`.
        frames: the first so many of each sequence; None takes all.
    """

    name: str
    root: str
    split: str | None = None
    bag_labels: str | None = None
    frames: int | None = None


@dataclass(frozen=True)
class Data:
    """Where clips come from: simulated drives, data sets, or both.

    Attributes:
        seeds: first seed of the drives, and the one after the last.
        lidars: LiDAR models by name, with the share of drives that each gets.
        cameras: depth cameras likewise, instead of LiDARs.
        scenes: what drives lead through, with the share of each (`simulation.recording.SCENES`);
            by default streets with LiDARs, rooms with cameras.
        counted_scenes: those of them in which classes are counted, to be weighted by how rare
            they are where the model is for; by default all.
        frames: length of a drive.
        latest_start: drives through rooms begin up to so many seconds after the view that they
            chose for what there is to see: near walls, among other places.
        held_out_seeds: of the drives to score the model on, for each sensor.
        cache: folder that keeps drives for the next time.
        share: of the clips that come from drives, relative to the data sets.
        sets: recorded data.
        held_out_sets: recorded data to score the model on.
        clip: largest number of frames of a clip; by default the window.
        shorter: share of the clips that may be shorter, as at a stream's start.
        stride: from each frame of a clip to the next one, frames of the sequence.
        max_voxels: most voxels of a clip; of more, so many are drawn.
        voxel_labels: a voxel's label is that of its "first" point, or is "agreed" on by all of
            its points, and unknown else.
    """

    seeds: tuple[int, int] | None = None
    lidars: Mapping[str, float] = field(default_factory=dict)
    cameras: Mapping[str, float] = field(default_factory=dict)
    scenes: Mapping[str, float] = field(default_factory=dict)
    counted_scenes: tuple[str, ...] | None = None
    frames: int = 0
    latest_start: float = 0.0
    held_out_seeds: tuple[int, int] | None = None
    cache: str | None = None
    share: float = 1.0
    sets: tuple[DataSet, ...] = ()
    held_out_sets: tuple[HeldOut, ...] = ()
    clip: int | None = None
    shorter: float = 0.4
    stride: int = 1
    max_voxels: int | None = None
    voxel_labels: Literal["first", "agreed"] = "first"

    def __post_init__(self) -> None:
        """Check that there is something to train on.

        Raises:
            ValueError: there is not, or drives are not told in full.
        """
        if self.seeds is None and not self.sets:
            raise ValueError(
                "there must be seeds of simulated drives, sets of recorded data or both"
            )
        drives = self.seeds is not None or self.held_out_seeds is not None
        if drives and not (bool(self.lidars) != bool(self.cameras) and self.frames > 0):
            raise ValueError("simulated drives need frames, and either lidars or cameras")
        if self.stride < 1 or (self.clip or 1) < 1 or (self.max_voxels or 1) < 1:
            raise ValueError("clip, stride and max_voxels must be 1 or more")
        if self.counted_scenes is not None and not set(self.counted_scenes) & set(self.places):
            raise ValueError(
                f"counted_scenes must name some of {', '.join(self.places)}, "
                f"not {', '.join(self.counted_scenes) or 'nothing'}"
            )
        if self.latest_start < 0 or (self.latest_start and not self.cameras):
            raise ValueError(
                f"latest_start {self.latest_start} must be 0 s or more, and 0 without cameras"
            )

    @property
    def sensors(self) -> Mapping[str, float]:
        """Of the simulated drives."""
        return self.lidars or self.cameras

    @property
    def places(self) -> Mapping[str, float]:
        """Of the simulated drives: `scenes`, or the default ones."""
        return self.scenes or {"room" if self.cameras else "street": 1.0}


@dataclass(frozen=True)
class Crf:
    """A CRF that is trained after the network.

    Attributes:
        lattice: what `TrilateralCRF` takes.
        clips: how many of them it sees.
        optimization: as `train_crf` takes it.
        seeds: of its simulated drives, better not those that the network knows; without them
            clips come from the recipe's data sets.
    """

    lattice: Mapping[str, Any]
    clips: int
    optimization: Mapping[str, Any]
    seeds: tuple[int, int] | None = None


@dataclass(frozen=True)
class Validation:
    """Scores along the way.

    Attributes:
        every: steps between them.
        frames: of each held-out sequence; None takes all.
    """

    every: int
    frames: int | None = None

    def __post_init__(self) -> None:
        """Check the number of steps.

        Raises:
            ValueError: it is below 1.
        """
        if self.every < 1:
            raise ValueError(f"every must be 1 or more, not {self.every}")


@dataclass(frozen=True)
class Recipe:
    """All that a training depends on.

    Attributes:
        name: of the model, and of its files.
        network: what `build_network` takes.
        labels: name of the label set.
        input: what the network wants to see, as on a model card.
        window: frames that the model sees together.
        seed: of all that is random.
        data: where clips come from.
        optimization: how weights are found.
        card: what else the model's card says.
        start: model to start from, a name or path, in 3D or 4D, with whatever kernel.
        fresh_head: whether the last layer starts from scratch nevertheless, as for other classes.
        keep_start: share of the start in the weights of the result, the rest being what training
            made of them; the mean serves the old and the new data better than either (Wortsman et
            al., "Robust fine-tuning of zero-shot models", 2022, arXiv 2109.01903).
        loss: what is minimised.
        augmentation: how clips are varied.
        validation: scores along the way, if any.
        crf: trained after the network, if at all.
    """

    name: str
    network: Mapping[str, Any]
    labels: str
    input: Mapping[str, Any]
    window: int
    seed: int
    data: Data
    optimization: Optimization
    card: Mapping[str, Any]
    start: str | None = None
    fresh_head: bool = False
    keep_start: float = 0.0
    loss: Loss = field(default_factory=Loss)
    augmentation: Annotated[Augment, read_augmentation] = field(
        default_factory=lambda: read_augmentation({}, "augmentation")
    )
    validation: Validation | None = None
    crf: Crf | None = None

    @classmethod
    def from_dict(cls, data: Any) -> Recipe:
        """Read a recipe.

        Raises:
            RecipeError: something is missing, unknown or impossible; the message says where, and
                what would be right.
            LabelSetError: there is no such label set.
        """
        recipe = read(cls, data, "recipe")
        try:
            spec = VoxelInput.from_dict(recipe.input)
        except (KeyError, TypeError, ValueError) as error:
            raise RecipeError(f"recipe.input: {error!r}") from error
        sizes = {
            "in_channels": len(spec.features),
            "num_classes": len(LabelSet.load(recipe.labels)),
        }
        for key, size in sizes.items():
            if recipe.network.get(key) != size:
                raise RecipeError(
                    f"recipe.network.{key} must be {size} to fit input and labels, "
                    f"not {recipe.network.get(key)}"
                )
        held_out = recipe.data.held_out_seeds is not None or recipe.data.held_out_sets
        if recipe.validation is not None and not held_out:
            raise RecipeError("recipe.validation needs held_out_seeds or held_out_sets")
        if recipe.fresh_head and recipe.start is None:
            raise RecipeError("recipe.fresh_head is for trainings with a start")
        if not 0.0 <= recipe.keep_start < 1.0:
            raise RecipeError(
                f"recipe.keep_start must be from 0 to below 1, not {recipe.keep_start}"
            )
        if recipe.keep_start and (recipe.start is None or recipe.fresh_head):
            raise RecipeError("recipe.keep_start needs a start, and no fresh_head")
        return recipe

    @property
    def spec(self) -> VoxelInput:
        """What the network wants to see."""
        return VoxelInput.from_dict(self.input)

    @property
    def model_card(self) -> dict[str, Any]:
        """What the model's card says, but for its figures."""
        labels = LabelSet.load(self.labels).to_dict()
        own = {"name": self.name, "network": dict(self.network), "label_set": labels}
        return own | {"input": dict(self.input), "window": self.window} | dict(self.card)
