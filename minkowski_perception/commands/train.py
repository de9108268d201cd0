# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""`minkowski-perception train`: train a model by a recipe."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import yaml


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

    try:
        recipe = yaml.safe_load(args.recipe.read_text())
        if args.iterations is not None:
            recipe["optimization"]["iterations"] = args.iterations
        path = train(recipe, args.out, args.device)
    except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        print(f"recipe {args.recipe}: {error!r}", file=sys.stderr)
        return 2
    figures = load_model(path.with_suffix(".yaml")).card["figures"]
    print(f"{path}.safetensors, {path}.yaml")
    print(yaml.safe_dump(figures, sort_keys=False), end="")
    return 0
