# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""`minkowski-perception info`: say what a file is, with the main facts about it."""

from __future__ import annotations

import argparse
import json
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "file",
        type=Path,
        help="model card or weights, label set, recipe, recording or checkpoint; or the name of a "
        "model or label set of the package",
    )
    parser.add_argument("--json", action="store_true", help="print the facts as JSON")


def run(args: argparse.Namespace) -> int:
    """Print the facts."""
    from minkowski_perception.checks.contents import facts, printed

    found = facts(args.file)
    print(json.dumps(found, indent=2) if args.json else printed(found))
    return 0
