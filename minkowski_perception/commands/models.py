# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""`minkowski-perception models`: list the models of the package."""

from __future__ import annotations

import argparse
import json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("--json", action="store_true", help="print the list as JSON")


def run(args: argparse.Namespace) -> int:
    """Print sensors, classes, network, size, license and figures of each model."""
    from minkowski_perception.checks.contents import model_facts, printed
    from minkowski_perception.networks.model import available_models, load_model

    models = {name: model_facts(load_model(name)) for name in available_models()}
    if args.json:
        print(json.dumps(models, indent=2))
        return 0
    print("\n\n".join(map(printed, models.values())))
    return 0
