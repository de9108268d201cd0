# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""`minkowski-perception train`: train the model of a recipe."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from minkowski_perception.allocator import keep_freed_memory
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
        help="folder of a data set, instead of the recipe's; may be repeated",
    )
    parser.add_argument("--stage", metavar="NAME", help="train only this stage of the recipe")
    parser.add_argument(
        "--resume",
        action="store_true",
        help="skip finished stages, and resume from the checkpoint in the folder of --out",
    )
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="replace the models and checkpoints in the folder of --out",
    )
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda (%(default)s)")
    parser.add_argument(
        "--workers", type=int, default=1, help="processes that prepare clips (%(default)s)"
    )
    parser.add_argument(
        "--tensorboard", action="store_true", help="write NAME.tensorboard beside the model"
    )
    parser.add_argument(
        "--iterations", type=int, help="number of steps of each stage, instead of the recipe's"
    )
    parser.add_argument(
        "--seed",
        type=int,
        help="seed of the random numbers of each stage, instead of the recipe's",
    )


def run(args: argparse.Namespace) -> int:
    """Train a model, and print its path and scores."""
    from minkowski_perception.lab.training.loop import train
    from minkowski_perception.lab.training.recipe import RecipeError, load_recipe
    from minkowski_perception.lab.training.stages import read_stages
    from minkowski_perception.networks.model import load_model

    keep_freed_memory()
    recipe = load_recipe(args.recipe)
    try:  # before options change the recipe
        read_stages(recipe, args.out)
    except RecipeError as error:
        raise CommandError(f"{args.recipe}: {error}") from error
    parts = [recipe, *(recipe.get("stages") or ())]  # stages are merged over the recipe
    if args.iterations is not None:
        for part in parts:
            part.setdefault("optimization", {})["iterations"] = args.iterations
    if args.seed is not None:
        for part in parts:
            part["seed"] = args.seed
    if args.root:
        _set_roots(parts, dict(args.root))
    path = train(
        recipe,
        args.out,
        args.device,
        stage=args.stage,
        resume=args.resume,
        overwrite=args.overwrite,
        workers=args.workers,
        tensorboard=args.tensorboard,
    )
    if os.environ.get("RANK", "0") == "0":  # only the first process of torchrun prints
        figures = load_model(path.with_suffix(".yaml")).card["figures"]
        print(f"{path}.safetensors, {path}.yaml")
        print(yaml.safe_dump(figures, sort_keys=False), end="")
    return 0


def _root(text: str) -> tuple[str, str]:
    name, given, folder = text.partition("=")
    if not (name and given and folder):
        raise argparse.ArgumentTypeError(f"must be NAME=DIR, not {text!r}")
    return name, folder


def _set_roots(parts: Sequence[Mapping[str, Any]], roots: Mapping[str, str]) -> None:
    sets = [
        chosen
        for part in parts
        for key in ("sets", "held_out_sets")
        for chosen in part.get("data", {}).get(key, ())
    ]
    names = {chosen["name"] for chosen in sets}
    if unknown := set(roots) - names:
        raise CommandError(
            f"--root: the recipe has no data set {', '.join(sorted(unknown))}; "
            f"it has {', '.join(sorted(names)) or 'none'}"
        )
    for chosen in sets:
        chosen["root"] = roots.get(chosen["name"], chosen["root"])
