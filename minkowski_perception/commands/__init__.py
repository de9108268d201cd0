# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Command line: one module for each command, each with `add_arguments` and `run`.

They import slow packages (torch, rosbags, Matplotlib, Open3D) inside `run`, so that `--help` and
errors in the options appear at once.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any


class CommandError(ValueError):
    """The command cannot do what the arguments ask; the message says why."""


def add_commands(
    parser: argparse.ArgumentParser,
    dest: str,
    modules: Mapping[str, str],
    examples: Mapping[str, str],
) -> None:
    """Add subcommands to a parser.

    Args:
        parser: gets an argument `dest` with the name of the chosen command, and `run_{dest}` with
            its function; `parser` is the one of the command.
        dest: "command", or another name for the choice.
        modules: module of this folder for each command name. What follows the colon in the first
            line of a module's docstring is the command's help.
        examples: command lines for each command name, shown at the end of its help.
    """
    commands = parser.add_subparsers(dest=dest, required=True, metavar=dest.upper())
    for name, module_name in modules.items():
        module = import_module(f"{__name__}.{module_name}")
        _, _, purpose = (module.__doc__ or "").partition("\n")[0].partition(": ")
        command = commands.add_parser(
            name,
            help=purpose.rstrip("."),
            description=purpose[:1].upper() + purpose[1:],
            epilog="\n  ".join(["example:", *examples[name].splitlines()]),
            formatter_class=argparse.RawDescriptionHelpFormatter,  # copies of examples must run
        )
        module.add_arguments(command)
        command.set_defaults(**{f"run_{dest}": module.run}, parser=command)


def write_report(path: Path | None, report: Mapping[str, Any]) -> None:
    """Write a command's report as JSON, unless the path is None; missing folders are created."""
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(report, indent=2) + "\n")


def positive(text: str) -> int:
    """Return the value of a command-line argument that is a count.

    Raises:
        ArgumentTypeError: it is less than 1.
    """
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be 1 or more, not {number}")
    return number


def natural(text: str) -> int:
    """Return the value of a command-line argument that is a count or 0.

    Raises:
        ArgumentTypeError: it is less than 0.
    """
    return 0 if text == "0" else positive(text)


def seconds(text: str) -> float:
    """Return the value of a command-line argument that is a duration.

    Raises:
        ArgumentTypeError: it is negative or not finite.
    """
    value = float(text)
    if not 0.0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"must be 0 or more seconds, not {text}")
    return value
