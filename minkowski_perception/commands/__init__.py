# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The command line: one module for each command, each with `add_arguments` and `run`.

They import what is heavy (torch, rosbags, Matplotlib, Open3D) inside `run`, so that `--help` and a
mistyped option are answered at once.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any


class CommandError(ValueError):
    """The user asked for something that cannot be done; the message says what and why."""


def add_commands(parser: argparse.ArgumentParser, what: str, modules: Mapping[str, str]) -> None:
    """Let the user choose one of several commands.

    Args:
        parser: of the arguments, which are to hold the choice as `what` and the function that
            does it as `run_{what}`.
        what: "command", or what else they are.
        modules: name of each, and the module of this folder that is it; the first line of its
            docstring says after a colon what it does.
    """
    commands = parser.add_subparsers(dest=what, required=True, metavar=what.upper())
    for name, module_name in modules.items():
        module = import_module(f"{__name__}.{module_name}")
        _, _, purpose = (module.__doc__ or "").partition("\n")[0].partition(": ")
        command = commands.add_parser(name, help=purpose.rstrip("."), description=purpose)
        module.add_arguments(command)
        command.set_defaults(**{f"run_{what}": module.run})


def write_report(path: Path | None, report: Mapping[str, Any]) -> None:
    """Write what a command found as JSON, where a file was asked for; folders are made."""
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(report, indent=2) + "\n")


def positive(text: str) -> int:
    """Read an argument that counts something.

    Raises:
        ArgumentTypeError: it is below 1.
    """
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be 1 or more, not {number}")
    return number
