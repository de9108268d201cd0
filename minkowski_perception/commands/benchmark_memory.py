# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""`minkowski-perception benchmark memory`: measure memory over thousands of frames."""

from __future__ import annotations

import argparse
from pathlib import Path

from minkowski_perception.commands import CommandError, positive, write_report
from minkowski_perception.settings import Settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the subject's arguments."""
    parser.add_argument("--model", help="name or path of the model (the default model)")
    parser.add_argument(
        "--frames", type=positive, default=10_000, help="number of frames (%(default)s)"
    )
    parser.add_argument(
        "--points",
        type=positive,
        default=4000,
        help="largest number of points of a frame (%(default)s)",
    )
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N (%(default)s)")
    parser.add_argument("--json", type=Path, help="write the figures to this file")


def run(args: argparse.Namespace) -> int:
    """Label the frames, and print ten measurements of memory and the rise."""
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
