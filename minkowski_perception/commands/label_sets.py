# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""`minkowski-perception label-sets`: list the label sets of the package and their classes."""

from __future__ import annotations

import argparse
import json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="name of a label set, or its .yaml file (all)"
    )
    parser.add_argument("--json", action="store_true", help="print the list as JSON")


def run(args: argparse.Namespace) -> int:
    """Print the classes of each set; of named sets, also ids, colours and sources."""
    from minkowski_perception.checks.contents import label_set_facts, printed
    from minkowski_perception.labels import LabelSet

    sets = [LabelSet.load(name) for name in args.names or LabelSet.available()]
    if args.json:
        print(json.dumps({each.name: each.to_dict() for each in sets}, indent=2))
    elif args.names:
        print("\n\n".join(printed(label_set_facts(each)) for each in sets))
    else:
        print(
            printed({each.name: f"{len(each)} classes: {', '.join(each.names)}" for each in sets})
        )
    return 0
