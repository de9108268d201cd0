# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""`minkowski-perception benchmark ablation`: what time and the CRF are worth, row by row.

    minkowski-perception benchmark ablation --json out/ablation.json --picture out/ablation.png

compares on simulated drives, and

    minkowski-perception benchmark ablation --sequence sequences/00 --frames 100
    minkowski-perception benchmark ablation --sequence sequences/a --true-label-set urban10

on recorded ones. `lab/benchmarks/ablation.py` says what the columns are.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from minkowski_perception.commands import CommandError, positive, write_report


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the subject's arguments."""
    parser.add_argument(
        "--models", type=Path, metavar="DIR", help="instead of those of the package"
    )
    parser.add_argument(
        "--model",
        action="append",
        default=[],
        metavar="NAME",
        help="one more to compare, by name or path; may be repeated",
    )
    parser.add_argument(
        "--drives", type=positive, default=3, help="simulated for each LiDAR (%(default)s)"
    )
    parser.add_argument(
        "--frames", type=positive, default=30, help="of each drive, or sequence (%(default)s)"
    )
    parser.add_argument(
        "--lidars",
        nargs="+",
        default=["hdl64", "vlp32", "vlp16"],
        metavar="NAME",
        help="simulated (hdl64 vlp32 vlp16)",
    )
    parser.add_argument(
        "--seed",
        type=positive,
        default=4000,
        help="of the first simulated drive; those below 4000 are trained on (%(default)s)",
    )
    parser.add_argument(
        "--sequence",
        type=Path,
        metavar="DIR",
        help="recorded, laid out as SemanticKITTI's, instead of simulated drives",
    )
    parser.add_argument(
        "--true-label-set",
        default="semantickitti19",
        metavar="SET",
        help="label set of the sequence (%(default)s)",
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (%(default)s)")
    parser.add_argument("--engine", default="auto", help="as of the node (%(default)s)")
    parser.add_argument("--threads", type=positive, help="of the CPU (all)")
    parser.add_argument("--json", type=Path, help="file for the figures")
    parser.add_argument("--picture", type=Path, help="file for flicker over time, .png")


def run(args: argparse.Namespace) -> int:
    """Compare the models, print the table."""
    from minkowski_perception.device import choose_device, use_threads
    from minkowski_perception.lab.benchmarks import ablation
    from minkowski_perception.lab.benchmarks.chart import save_flicker
    from minkowski_perception.lab.benchmarks.engines import describe
    from minkowski_perception.labels import LabelSet

    try:
        use_threads(args.threads or 0)
        machine = describe(choose_device(args.device))
        models, absent = ablation.find_models(args.models or ablation.MODELS, args.model)
        if args.sequence is None:
            truth = LabelSet.load(ablation.TRUTH)
            streams = ablation.simulated_streams(args.drives, args.frames, args.lidars, args.seed)
            what = (
                f"{args.drives} drives of {args.frames} frames by each of "
                f"{', '.join(args.lidars)}, from seed {args.seed} on"
            )
        else:
            truth = LabelSet.load(args.true_label_set)
            streams = [ablation.recorded_stream(args.sequence, truth, args.frames)]
            what = f"{len(streams[0].frames)} frames of {args.sequence}"
        rows = ablation.contenders(models, args.device, args.engine)
        scores = ablation.compare(rows, streams, truth)
        report = {"machine": machine, "frames": what, **ablation.report(scores, truth)}
        print(f"{what}; {machine}\n")
        print(ablation.table(report))
        print("".join(f"\n{sentence}" for sentence in absent))
        write_report(args.json, report)
        if args.picture is not None:
            save_flicker(args.picture, report)
    except (ImportError, ValueError) as error:
        raise CommandError(str(error)) from error
    return 0
