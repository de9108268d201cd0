# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Stages of a recipe: trainings in a row, each starting from the model of the one before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minkowski_perception.lab.training.recipe import ModelName, Recipe, RecipeError, merged
from minkowski_perception.labels import LabelSet
from minkowski_perception.networks.heads import CLASSES
from minkowski_perception.networks.model import ModelError, load_model
from minkowski_perception.schema import SchemaError, error_at, read, unknown_at

_FIRST_ONLY = ("start", "fresh_head")
"""Settings of the common part that only the first stage takes over."""

_OF_START = ("network", "input", "window")
"""Settings that a recipe may leave to the model that it starts from."""


@dataclass(frozen=True)
class Stage:
    """One training of a recipe.

    Attributes:
        name: of the stage; that of the recipe where it has no stages.
        title: for progress, such as "stage 2 of 6: clips"; "training" without stages.
        settings: of this stage, a recipe without stages.
        plan: the same, checked.
    """

    name: str
    title: str
    settings: Mapping[str, Any]
    plan: Recipe


def read_stages(recipe: Mapping[str, Any], out: Path) -> list[Stage]:
    """Return the stages of a recipe, in order; one that has none is a single stage.

    The settings of a stage are merged over those of the recipe, as a recipe is over its base. The
    last stage writes the model NAME of the recipe, each other one NAME_STAGE, from which the next
    stage starts. `start` and `fresh_head` of the recipe apply to the first stage. A recipe without
    `network`, `input` or `window` has those of the model that it starts from.

    Args:
        recipe: as `load_recipe` returns it.
        out: folder of the models.

    Raises:
        RecipeError: a setting of any stage is missing, unknown or impossible.
        LabelSetError: there is no such label set.
        ModelError: the model to start from cannot be loaded.
    """
    common = _with_start({key: value for key, value in recipe.items() if key != "stages"})
    if recipe.get("stages") is None:
        plan = Recipe.from_dict(common)
        return [Stage(plan.name, "training", common, plan)]
    try:
        rows = _read_rows(recipe["stages"], "recipe.stages")
        name = read(ModelName, recipe.get("name"), "recipe.name")
    except SchemaError as error:
        raise RecipeError(str(error)) from error
    later = {key: value for key, value in common.items() if key not in _FIRST_ONLY}
    stages: list[Stage] = []
    for number, (stage, own) in enumerate(rows.items(), start=1):
        settings = merged(later if stages else common, own)
        settings["name"] = name if number == len(rows) else f"{name}_{stage}"
        if stages:
            settings["start"] = str(out / f"{stages[-1].plan.name}.yaml")
        plan = Recipe.from_dict(settings, f"recipe.stages.{stage}")
        stages.append(Stage(stage, f"stage {number} of {len(rows)}: {stage}", settings, plan))
    return stages


def select_stages(stages: Sequence[Stage], name: str | None) -> Sequence[Stage]:
    """Return the stage of a name alone, or all stages for None.

    Raises:
        RecipeError: there is no stage of that name; the valid ones are listed.
    """
    if name is None:
        return stages
    by_name = {stage.name: stage for stage in stages}
    if name not in by_name:
        raise RecipeError(str(unknown_at("--stage", f"stage '{name}'", name, by_name)))
    return [by_name[name]]


def _with_start(settings: dict[str, Any]) -> dict[str, Any]:
    """Return settings with `network`, `input` and `window` of the start where they have none."""
    absent = [key for key in _OF_START if key not in settings]
    if settings.get("start") is None or not absent:
        return settings
    try:
        card = load_model(settings["start"]).card
    except ModelError as error:
        raise ModelError(f"recipe.start: {error}") from error
    taken = {key: card[key] for key in absent}
    if settings.get("fresh_head") and "network" in taken and "labels" in settings:
        network, classes = taken["network"], len(LabelSet.load(settings["labels"]))
        taken["network"] = {**network, "heads": {**network.get("heads", {}), CLASSES: classes}}
    return {**settings, **taken}


def _read_rows(value: Any, path: str) -> dict[str, dict[str, Any]]:
    """Return the settings of each stage by its name."""
    rows: dict[str, dict[str, Any]] = {}
    for number, row in enumerate(read(tuple[dict[str, Any], ...], value, path)):
        row_path = f"{path}[{number}]"
        if "name" not in row:
            raise error_at(f"{row_path}.name", "missing")
        name = read(ModelName, row.pop("name"), f"{row_path}.name")
        if name in rows:
            raise error_at(f"{row_path}.name", f"'{name}' is the name of an earlier stage too")
        if number and "start" in row:
            raise error_at(
                f"{row_path}.start",
                "only the first stage has it, others start from the stage before",
            )
        rows[name] = row
    if not rows:
        raise error_at(path, "must have at least one stage")
    return rows
