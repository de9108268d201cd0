# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""`minkowski-perception calibrate`: fit a model's confidence, and measure the domain of its data.

    minkowski-perception calibrate --model outdoor_lidar --out out/calibrated.yaml

docs/models.md explains both keys of the card.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from minkowski_perception.commands import CommandError
from minkowski_perception.commands.evaluate import add_data_arguments, check_ranges, open_data
from minkowski_perception.commands.segmenters import add_segmenter_arguments, settings_of

SEED = 6000
"""First seed of the simulation; `evaluate` begins with another one."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    add_data_arguments(parser)
    parser.set_defaults(dataset="simulation", seed=SEED)
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="CARD",
        help="card (.yaml) of the new model, beside which its weights are copied",
    )
    add_segmenter_arguments(parser, intensity_full_scale="that of the data set")


def run(args: argparse.Namespace) -> int:
    """Write the model with `calibration` and `domain` in its card."""
    from minkowski_perception.device import use_threads
    from minkowski_perception.lab.evaluation.card_figures import measure
    from minkowski_perception.lab.evaluation.evaluation import default_ranges, select_sequences
    from minkowski_perception.networks.model import change_card, load_model
    from minkowski_perception.segmenter import Segmenter

    if args.out.suffix != ".yaml":
        raise CommandError(f"--out must be the path of a card (.yaml), not {args.out}")
    check_ranges(args)
    dataset = open_data(args)
    sequences = select_sequences(dataset.sequences, args.sequences)
    settings = settings_of(args, intensity_full_scale=dataset.intensity_full_scale or 0.0)
    use_threads(settings.threads)
    model = replace(load_model(settings.model), calibration=None)
    ranges = args.ranges or default_ranges(dataset.label_set)
    words = f"{dataset.name}: {len(sequences)} sequences"
    try:
        segmenter = Segmenter(model, **settings.segmenter_options())
        found = measure(segmenter, dataset.label_set, sequences, ranges, args.limit, words)
    except ValueError as error:
        raise CommandError(str(error)) from error
    change_card(settings.model, args.out, found.changes())
    print(args.out)
    return 0
