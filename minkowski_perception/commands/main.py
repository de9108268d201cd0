# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""`minkowski-perception`: dispatch to the commands, and report of their errors."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence

import minkowski_perception
from minkowski_perception.commands import add_commands

COMMANDS = ("benchmark", "calibrate", "convert", "demo", "evaluate", "label", "simulate", "train")
"""Names of the commands, and of their modules in this folder."""

PROGRAM = "minkowski-perception"
USER_ERROR = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that the arguments name, and return the exit status.

    Exceptions that this package defines are for the user: one line, exit status 2. Any other is a
    bug and keeps its traceback.
    """
    given = sys.argv[1:] if arguments is None else arguments
    args = _parser().parse_args(given)
    args.command_line = shlex.join([PROGRAM, *given])
    try:
        return int(args.run_command(args))
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        if not type(error).__module__.startswith(f"{minkowski_perception.__name__}."):
            raise
        print(f"{PROGRAM} {args.command}: {error}", file=sys.stderr)
        return USER_ERROR


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=PROGRAM, description=minkowski_perception.__doc__)
    parser.add_argument("--version", action="version", version=minkowski_perception.__version__)
    add_commands(parser, "command", {name: name for name in COMMANDS})
    return parser


if __name__ == "__main__":
    sys.exit(main())
