# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""`minkowski-perception train`: train a model by a recipe."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import yaml

from minkowski_perception.commands import CommandError

_KEYS = ("name", "network", "labels", "input", "window", "seed", "data", "optimization", "card")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("recipe", type=Path, help="a YAML file as in config/training")
    parser.add_argument(
        "--out", type=Path, default=Path("out/models"), help="folder for the model (%(default)s)"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda (%(default)s)")
    parser.add_argument("--iterations", type=int, help="instead of the recipe's number")


def run(args: argparse.Namespace) -> int:
    """Train, print where the model is and how it scores."""
    from minkowski_perception.networks.model import load_model
    from minkowski_perception.training.loop import train

    recipe = _read_recipe(args.recipe)
    if args.iterations is not None:
        recipe["optimization"]["iterations"] = args.iterations
    path = train(recipe, args.out, args.device)
    figures = load_model(path.with_suffix(".yaml")).card["figures"]
    print(f"{path}.safetensors, {path}.yaml")
    print(yaml.safe_dump(figures, sort_keys=False), end="")
    return 0


def _read_recipe(path: Path) -> dict[str, Any]:
    try:
        recipe = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise CommandError(f"cannot read recipe {path}: {error}") from error
    missing = [key for key in _KEYS if not isinstance(recipe, dict) or key not in recipe]
    if missing:
        raise CommandError(f"recipe {path} lacks {', '.join(missing)}")
    return dict(recipe)
