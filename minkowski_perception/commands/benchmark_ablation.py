# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""`minkowski-perception benchmark ablation`: compare 3D, 4D, CRF and averaging.

    minkowski-perception benchmark ablation --json out/ablation.json --picture out/ablation.png

compares on simulated drives, and

    minkowski-perception benchmark ablation --sequence sequences/00 --frames 100
    minkowski-perception benchmark ablation --sequence sequences/a --true-label-set urban10

on recorded ones. `lab/benchmarks/ablation.py` explains the columns.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from minkowski_perception.commands import CommandError, positive, write_report


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the subject's arguments."""
    parser.add_argument(
        "--models",
        type=Path,
        metavar="DIR",
        help="folder of the ablation's models (that of a source checkout)",
    )
    parser.add_argument(
        "--model",
        action="append",
        default=[],
        metavar="NAME",
        help="name or path of another model to compare; may be repeated",
    )
    parser.add_argument(
        "--drives",
        type=positive,
        default=3,
        help="number of simulated drives of each LiDAR (%(default)s)",
    )
    parser.add_argument(
        "--frames",
        type=positive,
        default=30,
        help="frames of each drive or of the sequence (%(default)s)",
    )
    parser.add_argument(
        "--lidars",
        nargs="+",
        default=["hdl64", "vlp32", "vlp16"],
        metavar="NAME",
        help="simulated LiDARs (hdl64 vlp32 vlp16)",
    )
    parser.add_argument(
        "--seed",
        type=positive,
        default=4000,
        help="seed of the first simulated drive; models are trained on seeds below 4000 "
        "(%(default)s)",
    )
    parser.add_argument(
        "--sequence",
        type=Path,
        metavar="DIR",
        help="recorded sequence in SemanticKITTI's layout, instead of simulated drives",
    )
    parser.add_argument(
        "--true-label-set",
        default="semantickitti19",
        metavar="SET",
        help="label set of the sequence (%(default)s)",
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (%(default)s)")
    parser.add_argument("--engine", default="auto", help="see the node's parameter (%(default)s)")
    parser.add_argument("--threads", type=positive, help="number of CPU threads (all)")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--picture", type=Path, help="write flicker over time to this .png")


def run(args: argparse.Namespace) -> int:
    """Compare the models and print the table."""
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
                f"{', '.join(args.lidars)}, seeds from {args.seed}"
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
