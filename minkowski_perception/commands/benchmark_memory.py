# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""`minkowski-perception benchmark memory`: whether memory stays flat over thousands of frames."""

from __future__ import annotations

import argparse
from pathlib import Path

from minkowski_perception.commands import CommandError, positive, write_report

_WARM = 0.1
"""Share of the frames after which all that is kept should be there."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the subject's arguments."""
    parser.add_argument("--frames", type=positive, default=10_000, help="(%(default)s)")
    parser.add_argument(
        "--points", type=positive, default=4000, help="most of a frame (%(default)s)"
    )
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N (%(default)s)")
    parser.add_argument("--json", type=Path, help="file for the figures")


def run(args: argparse.Namespace) -> int:
    """Label the frames, print what was in memory ten times, and how far it rose."""
    from tqdm import tqdm

    from minkowski_perception.benchmarks.memory import resident_while_streaming
    from minkowski_perception.segmenter import Segmenter

    try:
        stream = resident_while_streaming(
            Segmenter.load(device=args.device), args.frames, args.points
        )
        held = dict(tqdm(stream, "labelling", args.frames, unit=" frames", disable=None))
    except (ImportError, OSError, ValueError) as error:
        raise CommandError(str(error)) from error
    print(f"{'frames':>8}{'MB in memory':>14}")
    for count in range(step := max(1, args.frames // 10), args.frames + 1, step):
        print(f"{count:>8}{held[count] / 1e6:>14.1f}")
    warm = max(1, int(_WARM * args.frames))
    rise = held[args.frames] - held[warm]
    print(f"from frame {warm} to {args.frames}: {rise / 1e6:+.1f} MB")
    report = {"frames": args.frames, "bytes": held, "rise_bytes": rise}
    write_report(args.json, report)
    return 0
