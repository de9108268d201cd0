# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""`minkowski-perception benchmark`: measure networks and engines on this machine."""

from __future__ import annotations

import argparse

from minkowski_perception.commands import add_commands

SUBJECTS = ("ablation", "engines", "exactness", "memory", "networks", "temporal", "time")
"""Subjects of measurements; each is the module benchmark_{subject} of this folder."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the subjects and their arguments."""
    add_commands(parser, "subject", {subject: f"benchmark_{subject}" for subject in SUBJECTS})


def run(args: argparse.Namespace) -> int:
    """Measure the subject."""
    return int(args.run_subject(args))
