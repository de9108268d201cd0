# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""`minkowski-perception benchmark engines`: compare engines with MinkowskiEngine and spconv."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from minkowski_perception.commands import CommandError, positive, write_report

if TYPE_CHECKING:
    from minkowski_perception.lab.benchmarks.scans import Scan


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the subject's arguments."""
    parser.add_argument("--networks", nargs="+", metavar="NAME", help="networks (all)")
    parser.add_argument(
        "--scan", type=Path, help="recorded scan: float32 x, y, z, intensity, as in KITTI's .bin"
    )
    parser.add_argument(
        "--beams",
        type=int,
        nargs="+",
        default=[64, 128, 16],
        help="beams of the simulated LiDARs (64 128 16)",
    )
    parser.add_argument(
        "--frames",
        type=positive,
        default=3,
        help="frames in the window of the 4D networks (%(default)s)",
    )
    parser.add_argument(
        "--voxel-size", type=float, default=0.05, help="metres (%(default)s)", metavar="SIZE"
    )
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N (%(default)s)")
    parser.add_argument("--threads", type=positive, help="number of CPU threads (all)")
    parser.add_argument(
        "--repeats",
        type=positive,
        default=3,
        help="timed passes, of which the median is taken (%(default)s)",
    )
    parser.add_argument(
        "--races-only", action="store_true", help="leave out growth with frames and quantization"
    )
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument(
        "--picture", type=Path, help="write a chart of the first races to this .png"
    )


def run(args: argparse.Namespace) -> int:
    """Race on every scan, and print a table of each race and a summary."""
    import os

    import torch
    from tqdm import tqdm

    from minkowski_perception.device import choose_device
    from minkowski_perception.lab.benchmarks import engines
    from minkowski_perception.lab.benchmarks.chart import save_chart

    threads = args.threads or len(os.sched_getaffinity(0))
    torch.set_num_threads(threads)
    try:
        device = choose_device(args.device)
        names = args.networks or engines.DEFAULT_NETWORKS[device.type]
        dimensions = {name: engines.dimension_of(name) for name in names}
        machine = f"{engines.describe(device)}, {threads} threads"
        print(f"{machine}; voxels of {args.voxel_size} m, medians of {args.repeats} passes")
        races = []
        for scans in _scans(args, set(dimensions.values())):
            for name in names:
                if dimensions[name] in scans:
                    with tqdm(desc=name, unit=" passes", leave=False, disable=None) as bar:
                        scan = scans[dimensions[name]]
                        races.append(engines.race(name, scan, device, args.repeats, bar.update))
                    print(engines.table(races[-1]), flush=True)
        more = None if args.races_only else engines.more_figures(device, args.repeats)
    except (ImportError, ValueError) as error:
        raise CommandError(str(error)) from error
    if more is not None:
        print(engines.summary(more))
    report = engines.report(machine, races, more) | {"threads": threads}
    write_report(args.json, report)
    if args.picture is not None:
        save_chart(args.picture, report)
    return 0


def _scans(args: argparse.Namespace, dimensions: set[int]) -> Iterator[dict[int, Scan]]:
    """Yield each scan by dimension: in 3D and, if simulated, in 4D as several frames."""
    from minkowski_perception.lab.benchmarks.scans import recorded_scan, simulated_scan

    if args.scan is not None:
        yield {3: recorded_scan(args.scan, args.voxel_size)}
    for beams in args.beams:
        frames = {3: 1, 4: args.frames}
        yield {d: simulated_scan(beams, frames[d], args.voxel_size) for d in sorted(dimensions)}
