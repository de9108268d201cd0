# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""`minkowski-perception`: dispatch to the commands, and report of their errors."""

from __future__ import annotations

import argparse
import difflib
import re
import shlex
import sys
from collections.abc import Sequence

import minkowski_perception
from minkowski_perception.commands import add_commands

COMMANDS = {
    "adapt": "adapt path/to/bag --topic /points --out out/my_model",
    "benchmark": "benchmark engines --voxel-size 0.2 --json engines.json",
    "calibrate": "calibrate --model outdoor_lidar --out out/calibrated.yaml",
    "convert": "convert minkunet34_w32_spconv.pth --out models/minkunet34.safetensors",
    "demo": "demo --bag path/to/bag --topic /points --out out/demo",
    "doctor": "doctor path/to/bag --topic /points",
    "evaluate": "evaluate --dataset semantickitti --root data/semantickitti --report out/report",
    "info": "info path/to/bag",
    "label": "label path/to/bag --topic /points --out out/labelled\n"
    "label 'path/to/drives/**/*.mcap' --out out/fleet --jobs 4 --export semantickitti ply",
    "label-sets": "label-sets semantickitti19",
    "models": "models",
    "precompile": "precompile --model outdoor_lidar",
    "simulate": "simulate --lidar vlp16 --frames 50 --out drive",
    "train": "train config/training/outdoor_lidar.yaml --out out/training",
}
"""Examples of each command, a line each; "-" in a name is "_" in that of its module."""

PROGRAM = "minkowski-perception"
USER_ERROR = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that the arguments name, and return the exit status.

    Exceptions that this package defines are for the user: one line, exit status 2. Any other is a
    bug and keeps its traceback.
    """
    given = sys.argv[1:] if arguments is None else arguments
    args, unknown = _parser().parse_known_args(given)
    if unknown:
        args.parser.error(_unknown(unknown, args.parser))
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


def _unknown(arguments: Sequence[str], parser: argparse.ArgumentParser) -> str:
    """Return the error of arguments that a command does not have, with the nearest option."""
    options = re.findall(r"--[\w-]+", parser.format_usage())
    nearest = difflib.get_close_matches(arguments[0], options, 1)
    hint = f"did you mean {nearest[0]}?" if nearest else f"see {parser.prog} --help"
    return f"unknown arguments: {shlex.join(arguments)}; {hint}"


def _parser() -> argparse.ArgumentParser:
    purpose, _, _ = (minkowski_perception.__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description=purpose,
        epilog=f"The help of a command has an example: {PROGRAM} label --help",
    )
    parser.add_argument("--version", action="version", version=minkowski_perception.__version__)
    modules = {name: name.replace("-", "_") for name in COMMANDS}
    examples = {
        name: "\n".join(f"{PROGRAM} {line}" for line in lines.splitlines())
        for name, lines in COMMANDS.items()
    }
    add_commands(parser, "command", modules, examples)
    return parser


if __name__ == "__main__":
    sys.exit(main())
