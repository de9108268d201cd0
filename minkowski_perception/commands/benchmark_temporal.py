# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""`minkowski-perception benchmark temporal`: compare incremental 4D with 3D and windowed 4D.

    minkowski-perception benchmark temporal --json out/temporal.json --picture out/temporal.png

`lab/benchmarks/temporal.py` explains the figures. With `--long 10000` the incremental network also
labels that many small frames, and the command reports memory.
"""

from __future__ import annotations

import argparse
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from minkowski_perception.commands import CommandError, positive, write_report
from minkowski_perception.settings import Settings

if TYPE_CHECKING:
    from minkowski_perception.frame import Frame

_POINTS = 4000
"""Largest number of points of a small frame."""

_SECOND_STREAM_FRAMES = 3
"""Enough for the state to reach its full size with the default recall."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the subject's arguments."""
    parser.add_argument(
        "--model", help="name or path of the model; made causal if it is not (the default model)"
    )
    parser.add_argument(
        "--links",
        nargs="+",
        metavar="LINK",
        help="other links than the model's, with random weights: none, voxel or cube for each of "
        "the strides 1, 2, 4, 8 and 16",
    )
    parser.add_argument(
        "--recall",
        type=positive,
        metavar="FRAMES",
        help="frames that links look back, instead of the model's",
    )
    parser.add_argument(
        "--beams", type=positive, default=64, help="beams of the simulated LiDAR (%(default)s)"
    )
    parser.add_argument(
        "--sequence",
        type=Path,
        metavar="DIR",
        help="recorded sequence in SemanticKITTI's layout, instead of a simulated one",
    )
    parser.add_argument(
        "--frames", type=positive, default=10, help="number of frames to measure (%(default)s)"
    )
    parser.add_argument("--engine", default="auto", help="see the node's parameter (%(default)s)")
    parser.add_argument(
        "--precision", default="auto", help="see the node's parameter (%(default)s)"
    )
    parser.add_argument("--threads", type=positive, help="number of CPU threads (all)")
    parser.add_argument(
        "--long",
        type=positive,
        metavar="FRAMES",
        help="number of small frames to measure memory over",
    )
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument(
        "--picture", type=Path, help="write cost by length of the window to this .png"
    )


def run(args: argparse.Namespace) -> int:
    """Compare and print the tables."""
    import torch
    from tqdm import tqdm

    from minkowski_perception.device import use_threads
    from minkowski_perception.lab.benchmarks import memory, temporal
    from minkowski_perception.lab.benchmarks.chart import save_costs
    from minkowski_perception.lab.benchmarks.engines import describe
    from minkowski_perception.networks.model import load_model
    from minkowski_perception.sparse.threads import thread_count

    try:
        use_threads(args.threads or 0)
        given = load_model(args.model or Settings.model)
        model = temporal.causal_model(given, args.links, args.recall)
        segmenters = temporal.contenders(model, args.engine, args.precision)
        incremental = segmenters[temporal.INCREMENTAL]
        machine = f"{describe(torch.device('cpu'))}, {thread_count()} threads"
        frames, stream = _stream(args, args.frames + max(temporal.WINDOWS) - 1)
        print(f"{args.frames} frames of {stream}; {model.name}, engine {incremental.engine}")
        print(f"{machine}\n")
        bar = tqdm(frames, "labelling", unit=" frames", leave=False, disable=None)
        costs = temporal.compare(segmenters, bar, args.frames)
        report = {
            "machine": machine,
            "stream": stream,
            "frames": args.frames,
            "model": model.name,
            "random_weights": model is not given,
            "engine": str(incremental.engine),
            **temporal.report(costs),
        }
        print(temporal.table(report))
        most = report["state_bytes"][temporal.INCREMENTAL]
        print(f"\n{temporal.state_sentence(model.network, most)}")
        report["stages"] = temporal.stages(model, incremental, frames)
        print(f"\nA frame with CRF and averaging:\n{temporal.stage_table(report['stages'])}\n")
        report["second_stream"] = temporal.second_stream(
            incremental, frames[:_SECOND_STREAM_FRAMES]
        )
        print(temporal.second_stream_sentence(report["second_stream"]))
        if args.long is not None:
            small = memory.resident_while_streaming(
                incremental.another_stream(), args.long, _POINTS
            )
            held = dict(tqdm(small, "labelling", args.long, unit=" frames", disable=None))
            print(f"\n{memory.table(held)}")
            report["long"] = memory.report(held)
        write_report(args.json, report)
        if args.picture is not None:
            save_costs(args.picture, report)
    except (ImportError, OSError, ValueError) as error:
        raise CommandError(str(error)) from error
    return 0


def _stream(args: argparse.Namespace, count: int) -> tuple[list[Frame], str]:
    """Return up to `count` frames of a stream, and a description of it."""
    from minkowski_perception.lab.benchmarks.scans import simulated_frames
    from minkowski_perception.lab.datasets.kitti import KittiSequence

    if args.sequence is not None:
        return list(islice(KittiSequence(args.sequence), count)), str(args.sequence)
    return list(simulated_frames(args.beams, count)), f"a simulated LiDAR of {args.beams} beams"
