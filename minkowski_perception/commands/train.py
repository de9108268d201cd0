# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""`minkowski-perception train`: train a model by a recipe."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from minkowski_perception.commands import CommandError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("recipe", type=Path, help="a YAML file as in config/training")
    parser.add_argument(
        "--out", type=Path, default=Path("out/models"), help="folder for the model (%(default)s)"
    )
    parser.add_argument(
        "--root",
        action="append",
        default=[],
        type=_root,
        metavar="NAME=DIR",
        help="where a data set of the recipe is, instead of the recipe's root; may be repeated",
    )
    parser.add_argument(
        "--resume", action="store_true", help="go on from the checkpoint in the folder of --out"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda (%(default)s)")
    parser.add_argument(
        "--workers", type=int, default=1, help="processes that prepare clips (%(default)s)"
    )
    parser.add_argument(
        "--tensorboard", action="store_true", help="write NAME.tensorboard beside the model"
    )
    parser.add_argument("--iterations", type=int, help="instead of the recipe's number")


def run(args: argparse.Namespace) -> int:
    """Train, print where the model is and how it scores."""
    from minkowski_perception.lab.training.loop import train
    from minkowski_perception.lab.training.recipe import load_recipe
    from minkowski_perception.networks.model import load_model

    recipe = load_recipe(args.recipe)
    if args.iterations is not None:
        recipe.setdefault("optimization", {})["iterations"] = args.iterations
    if args.root:
        _set_roots(recipe, dict(args.root))
    path = train(
        recipe,
        args.out,
        args.device,
        resume=args.resume,
        workers=args.workers,
        tensorboard=args.tensorboard,
    )
    if os.environ.get("RANK", "0") == "0":  # of the processes of torchrun one speaks
        figures = load_model(path.with_suffix(".yaml")).card["figures"]
        print(f"{path}.safetensors, {path}.yaml")
        print(yaml.safe_dump(figures, sort_keys=False), end="")
    return 0


def _root(text: str) -> tuple[str, str]:
    name, given, folder = text.partition("=")
    if not (name and given and folder):
        raise argparse.ArgumentTypeError(f"must be NAME=DIR, not {text!r}")
    return name, folder


def _set_roots(recipe: Mapping[str, Any], roots: Mapping[str, str]) -> None:
    data = recipe.get("data", {})
    sets = [*data.get("sets", ()), *data.get("held_out_sets", ())]
    names = {chosen["name"] for chosen in sets}
    if unknown := set(roots) - names:
        raise CommandError(
            f"--root: the recipe has no data set {', '.join(sorted(unknown))}; "
            f"it has {', '.join(sorted(names)) or 'none'}"
        )
    for chosen in sets:
        chosen["root"] = roots.get(chosen["name"], chosen.get("root"))
