# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""`minkowski-perception benchmark memory`: whether memory stays flat over thousands of frames."""

from __future__ import annotations

import argparse
from pathlib import Path

from minkowski_perception.commands import CommandError, positive, write_report
from minkowski_perception.settings import Settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the subject's arguments."""
    parser.add_argument("--model", help="name or path (the default model)")
    parser.add_argument("--frames", type=positive, default=10_000, help="(%(default)s)")
    parser.add_argument(
        "--points", type=positive, default=4000, help="most of a frame (%(default)s)"
    )
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N (%(default)s)")
    parser.add_argument("--json", type=Path, help="file for the figures")


def run(args: argparse.Namespace) -> int:
    """Label the frames, print what was in memory ten times, and how far it rose."""
    from tqdm import tqdm

    from minkowski_perception.lab.benchmarks import memory
    from minkowski_perception.segmenter import Segmenter

    try:
        segmenter = Segmenter.load(args.model or Settings.model, device=args.device)
        stream = memory.resident_while_streaming(segmenter, args.frames, args.points)
        held = dict(tqdm(stream, "labelling", args.frames, unit=" frames", disable=None))
    except (ImportError, OSError, ValueError) as error:
        raise CommandError(str(error)) from error
    print(memory.table(held))
    write_report(args.json, memory.report(held))
    return 0
