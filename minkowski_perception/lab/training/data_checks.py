# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Checks of the data sets of a recipe before the first step: files, labels and fields."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from minkowski_perception.frame import Frame
from minkowski_perception.lab.datasets.catalogue import Dataset, DatasetError
from minkowski_perception.lab.training.recipe import DataSet, HeldOut, Recipe, RecipeError
from minkowski_perception.lab.training.sources import open_set
from minkowski_perception.labels import UNLABELLED, LabelSet, LabelSetError
from minkowski_perception.voxels import MissingFieldError, voxelize

_FRAMES = 8
"""Frames of a data set that are read, spread evenly over it."""

_POINTS = 100
"""Points of a frame of which features are computed."""


def check_sets(plan: Recipe) -> list[str]:
    """Check that the data sets of a recipe can be read, have labels and suit the network.

    A few frames of each are read.

    Returns:
        warnings of ids that are of no class, with their share.

    Raises:
        RecipeError: a data set is missing, its split is unknown, it has no labels of the classes,
            or lacks a field that the network needs; the message has the key of the recipe.
    """
    labels, warnings = LabelSet.load(plan.labels), []
    parts: list[tuple[str, tuple[DataSet | HeldOut, ...]]] = [
        ("sets", plan.data.sets),
        ("held_out_sets", plan.data.held_out_sets),
    ]
    for key, chosen in parts:
        for i, each in enumerate(chosen):
            try:
                warnings += _check_set(each, plan, labels)
            except (DatasetError, LabelSetError, MissingFieldError) as error:
                raise RecipeError(f"recipe.data.{key}[{i}]: {each.name}: {error}") from error
    return warnings


def _check_set(chosen: DataSet | HeldOut, plan: Recipe, labels: LabelSet) -> list[str]:
    try:
        dataset = open_set(chosen, labels)
    except DatasetError as error:
        remedy = f"; correct root or split, or pass --root {chosen.name}=DIR"
        raise DatasetError(f"{error}{remedy}") from error
    points = labelled = unknown = 0
    for frame in _some_frames(dataset, getattr(chosen, "frames", None)):
        few = frame.subset(np.arange(len(frame)) < _POINTS)
        voxelize(few, plan.spec, few.intensity)
        if frame.labels is not None:
            labelled += 1
            points += len(frame)
            unknown += int(np.count_nonzero(frame.labels == UNLABELLED))
    if not labelled:
        expected = f"; expected {dataset.label_files}" if dataset.label_files else ""
        raise DatasetError(f"{chosen.root} has no labels{expected}")
    ids = _ids_without_class(dataset, points)
    if unknown == points:
        raise DatasetError(
            f"no point of {labelled} frames of {chosen.root} has a class of '{labels.name}'"
            + (f"; they have {ids}" if ids else "")
        )
    return [f"{chosen.name} in {chosen.root}: {ids}"] if ids else []


def _some_frames(dataset: Dataset, most: int | None) -> Iterator[Frame]:
    """Yield frames that are spread evenly over the first `most` of each sequence."""
    rows = [
        (sequence, row)
        for sequence in dataset.sequences.values()
        for row in range(min(len(sequence), most or len(sequence)))
    ]
    for i in np.linspace(0, len(rows) - 1, min(len(rows), _FRAMES)).astype(int):
        sequence, row = rows[i]
        yield sequence[row]


def _ids_without_class(dataset: Dataset, points: int) -> str:
    """Return the ids without a class, with their share of points, and the remedy; "" if none."""
    ids, labels = dataset.ids, dataset.label_set
    if ids is None:
        return ""
    found = [(id, number) for id, number in ids.unknown.items() if id != UNLABELLED]
    if not found:
        return ""
    found.sort(key=lambda pair: (-pair[1], pair[0]))
    listed = ", ".join(f"{id} ({number / points:.1%})" for id, number in found)
    remedy = f"to count them, give them one in the label set, under from.{ids.source}"
    if ids.source == labels.name:
        remedy = f"its ids are 0 to {len(labels) - 1}"
    return f"ids {listed} without a class of '{labels.name}', which do not count; {remedy}"
