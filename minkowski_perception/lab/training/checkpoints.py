# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Checkpoints: the state from which a training is resumed with identical results."""

from __future__ import annotations

import io
import pickle
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from minkowski_perception.files import write_whole

_FREE = (
    "card.",
    "crf.",
    "validation.",
    "data.held_out_seeds.",
    "data.held_out_sets.",
    "data.cache.",
    "keep_start.",
    "logit_adjustment.",
)
"""Keys of a recipe that do not influence the steps of a training."""
_END_TO_END = "crf.end_to_end."
"""Keys with which those of the CRF influence the steps."""


class CheckpointError(ValueError):
    """A checkpoint is damaged or belongs to another recipe."""


def save_checkpoint(path: Path, recipe: Mapping[str, Any], state: Mapping[str, Any]) -> None:
    """Write the state of a training; after a crash the file is the previous or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    torch.save({"recipe": dict(recipe), **state}, buffer)
    write_whole(path, buffer.getvalue())


def load_checkpoint(path: Path, recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Read the state of a training: tensors and plain values only, no code.

    Raises:
        CheckpointError: the file is damaged or belongs to another recipe; the keys that differ are
                named.
    """
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        before = dict(_flat(state.pop("recipe")))
    except (OSError, RuntimeError, EOFError, KeyError, pickle.UnpicklingError) as error:
        raise CheckpointError(f"cannot read checkpoint {path}: {error}") from error
    now = dict(_flat(recipe))
    with_crf = any(f"{key}.".startswith(_END_TO_END) for key in {**before, **now})
    free = tuple(prefix for prefix in _FREE if not (with_crf and prefix == "crf."))
    differ = [
        key
        for key in {**before, **now}
        if before.get(key) != now.get(key) and not f"{key}.".startswith(free)
    ]
    if differ:
        raise CheckpointError(
            f"checkpoint {path} belongs to another recipe, which differs in "
            f"{', '.join(differ)}: resume with that recipe, or train into another folder"
        )
    return state


def _flat(recipe: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in recipe.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
