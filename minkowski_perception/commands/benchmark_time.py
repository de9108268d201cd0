# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""`minkowski-perception benchmark time`: compare causal networks with 3D trained alike.

    minkowski-perception benchmark time --models out/time/1 out/time/2 out/time/3

takes the models of three trainings that differ in their seed. `lab/benchmarks/time.py` explains
the metrics and intervals.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from minkowski_perception.commands import CommandError, positive, write_report


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the subject's arguments."""
    parser.add_argument(
        "--models",
        type=Path,
        nargs="+",
        required=True,
        metavar="DIR",
        help="folders of models of the same names, one for each seed of the training",
    )
    parser.add_argument(
        "--twin",
        default="time_3d",
        metavar="NAME",
        help="the 3D model that models are compared with by default (%(default)s)",
    )
    parser.add_argument(
        "--row",
        metavar="NAME",
        help="model whose gains, averaged, come first in the JSON (the last 4D design)",
    )
    parser.add_argument(
        "--names",
        nargs="+",
        metavar="NAME",
        help="models to compare; NAME=TWIN names the twin too (those of config/training/time_*)",
    )
    parser.add_argument(
        "--windows",
        type=positive,
        nargs="+",
        default=[],
        metavar="N",
        help="also run the model of --row on windows of so many frames",
    )
    parser.add_argument(
        "--conditions",
        nargs="+",
        default=["clean", "frame_noise", "drive_noise"],
        metavar="NAME",
        help="clean, frame_noise, drive_noise, pose_5cm, pose_10cm, pose_20cm (the first three)",
    )
    parser.add_argument(
        "--drives",
        type=positive,
        default=8,
        help="number of simulated drives of each LiDAR; two or more in all (%(default)s)",
    )
    parser.add_argument(
        "--frames", type=positive, default=16, help="frames of each drive (%(default)s)"
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
        default=9100,
        help="seed of the first drive; models are trained on seeds below 4000 (%(default)s)",
    )
    parser.add_argument("--engine", default="auto", help="see the node's parameter (%(default)s)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (%(default)s)")
    parser.add_argument(
        "--processes", type=positive, help="drives that are measured at once (one for each core)"
    )
    parser.add_argument(
        "--threads", type=positive, default=1, help="CPU threads of each process (%(default)s)"
    )
    parser.add_argument("--cache", type=Path, help="folder in which simulated drives are kept")
    parser.add_argument("--json", type=Path, help="write the figures to this file")


def run(args: argparse.Namespace) -> int:
    """Compare the models and print the table."""
    from functools import partial

    from minkowski_perception.device import choose_device
    from minkowski_perception.lab.benchmarks import ablation, time
    from minkowski_perception.lab.benchmarks.engines import describe
    from minkowski_perception.labels import LabelSet
    from minkowski_perception.schema import unknown_at

    for name in args.conditions:
        if name not in time.CONDITIONS:
            raise CommandError(
                str(unknown_at("--conditions", f"condition '{name}'", name, time.CONDITIONS))
            )
    try:
        machine = describe(choose_device(args.device))
        chosen = time.choose_models(args.models, args.names, args.twin, args.row)
        for notice in chosen.notices:
            print(notice)
        drives = time.held_out_drives(args.drives, args.frames, args.lidars, args.seed, args.cache)
        opening = partial(
            time.open_rows,
            chosen,
            args.conditions,
            windows=args.windows,
            device=args.device,
            engine=args.engine,
        )
        processes = args.processes or len(os.sched_getaffinity(0))
        scores = time.measure_in_parallel(
            opening, drives, args.conditions, processes=processes, threads=args.threads
        )
        headline = chosen.headline + time.AVERAGED
        figures = time.report(
            chosen.twins, scores, drives, headline, LabelSet.load(ablation.TRUTH)
        )
    except (ImportError, ValueError) as error:
        raise CommandError(str(error)) from error
    report = {
        "machine": machine,
        "processes": processes,
        "threads": args.threads,
        **figures,
    }
    print(
        f"{args.drives} drives of {args.frames} frames by each of {', '.join(args.lidars)}, seeds "
        f"from {args.seed}; {machine}\n"
    )
    print(time.table(report))
    write_report(args.json, report)
    return 0
