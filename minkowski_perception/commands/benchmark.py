# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""`minkowski-perception benchmark`: measure networks and engines on this machine."""

from __future__ import annotations

import argparse

from minkowski_perception.commands import add_commands

SUBJECTS = {
    "ablation": "--drives 4 --json ablation.json",
    "engines": "--device cpu --threads 2 --json engines.json",
    "exactness": "--json exactness.json",
    "memory": "--frames 200 --json memory.json",
    "node": "--points 131072 --json node.json",
    "networks": "--networks MinkUNet18-W16 --json networks.json",
    "temporal": "--sequence data/semantickitti/sequences/00 --frames 50",
    "time": "--models models --drives 4 --json time.json",
}
"""Subjects of measurements, with options of an example; each is benchmark_{subject}.py here."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the subjects and their arguments."""
    modules = {subject: f"benchmark_{subject}" for subject in SUBJECTS}
    examples = {name: f"{parser.prog} {name} {options}" for name, options in SUBJECTS.items()}
    add_commands(parser, "subject", modules, examples)


def run(args: argparse.Namespace) -> int:
    """Measure the subject."""
    return int(args.run_subject(args))
