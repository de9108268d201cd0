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
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minkowski_perception.commands import CommandError, positive, write_report

if TYPE_CHECKING:
    from minkowski_perception.lab.benchmarks.time import Chosen


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
    parser.add_argument(
        "--recordings",
        nargs="+",
        default=[],
        metavar="DATASET=ROOT",
        help="also count still points of recorded sequences that the model of --row and its twin "
        "call moving, such as semantickitti=data/semantickitti",
    )
    parser.add_argument(
        "--picture",
        type=Path,
        metavar="FILE",
        help="write a PNG of the map and the moving points of a drive, by the model of --row",
    )
    parser.add_argument(
        "--picture-frames",
        type=positive,
        default=60,
        metavar="N",
        help="frames of the drive in the picture (%(default)s)",
    )
    parser.add_argument("--chart", type=Path, metavar="FILE", help="write a PNG of the gains")
    parser.add_argument("--json", type=Path, help="write the figures to this file")


def run(args: argparse.Namespace) -> int:
    """Compare the models and print the table."""
    from functools import partial

    from minkowski_perception.device import choose_device
    from minkowski_perception.lab.benchmarks import ablation, time
    from minkowski_perception.lab.benchmarks.chart import save_gains
    from minkowski_perception.lab.benchmarks.engines import describe
    from minkowski_perception.labels import LabelSet
    from minkowski_perception.schema import unknown_at

    for name in args.conditions:
        if name not in time.CONDITIONS:
            raise CommandError(
                str(unknown_at("--conditions", f"condition '{name}'", name, time.CONDITIONS))
            )
    for recording in args.recordings:
        if "=" not in recording:
            raise CommandError(f"--recordings takes DATASET=ROOT, not '{recording}'")
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
        recorded = _recordings(args, chosen)
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
        **({"recordings": recorded} if recorded else {}),
    }
    print(
        f"{args.drives} drives of {args.frames} frames by each of {', '.join(args.lidars)}, seeds "
        f"from {args.seed}; {machine}\n"
    )
    print(time.table(report))
    for name, of_rows in recorded.items():
        for row, of_trainings in of_rows.items():
            shares = [each["false_positive_share"] for each in of_trainings.values()]
            shown = ", ".join("-" if share is None else f"{share:.2%}" for share in shares)
            print(f"{name}: still points called moving by {row}: {shown}")
    write_report(args.json, report)
    if args.chart is not None:
        save_gains(args.chart, report)
    if args.picture is not None:
        card = next(iter(chosen.cards[chosen.headline].values()))
        drive = replace(drives[0], frames=args.picture_frames)
        time.save_drive(args.picture, card, drive, args.device)
    return 0


def _recordings(args: argparse.Namespace, chosen: Chosen) -> dict[str, Any]:
    """Return the false positives on each recording, by its name.

    Raises:
        DatasetError: a data set cannot be read.
    """
    from minkowski_perception.lab.benchmarks import time
    from minkowski_perception.lab.datasets.catalogue import open_dataset

    found: dict[str, Any] = {}
    if not args.recordings:
        return found
    names = dict.fromkeys((chosen.twins[chosen.headline], chosen.headline))
    rows = time.open_rows(
        chosen._replace(cards={name: chosen.cards[name] for name in names}),
        device=args.device,
        engine=args.engine,
    )
    for recording in args.recordings:
        name, _, root = recording.partition("=")
        dataset = open_dataset(name, Path(root))
        found[f"{name} {Path(root).name}"] = time.false_positives(rows, dataset)
    return found
