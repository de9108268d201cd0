# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""`minkowski-perception benchmark exactness`: compare our logits with MinkowskiEngine's."""

from __future__ import annotations

import argparse
from pathlib import Path

from minkowski_perception.commands import CommandError, write_report

NOT_EXACT = 1

_FRAMES = {3: 1, 4: 3}
"""Number of scans by dimension."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the subject's arguments."""
    parser.add_argument(
        "--beams", type=int, default=16, help="beams of the simulated LiDAR (%(default)s)"
    )
    parser.add_argument(
        "--voxel-size", type=float, default=0.1, help="metres (%(default)s)", metavar="SIZE"
    )
    parser.add_argument(
        "--width", type=float, default=1.0, help="factor on the networks' widths (%(default)s)"
    )
    parser.add_argument("--json", type=Path, help="write the figures to this file")


def run(args: argparse.Namespace) -> int:
    """Compare on each network and print the table; return 0 if all are exact, else 1."""
    import dataclasses

    from tqdm import tqdm

    from minkowski_perception.lab.benchmarks import exactness
    from minkowski_perception.lab.benchmarks.peers import SpconvPeer
    from minkowski_perception.lab.benchmarks.scans import simulated_scan
    from minkowski_perception.sparse.engines.minkowski_engine import import_minkowski_engine

    version = import_minkowski_engine().__version__
    engines = exactness.cpu_engines()
    peers = [SpconvPeer] if "spconv" in (engine.name for engine in engines) else []
    differences = []
    try:
        scans = {
            dimension: simulated_scan(args.beams, frames, args.voxel_size)
            for dimension, frames in _FRAMES.items()
        }
        for case in tqdm(
            exactness.CASES, "comparing", unit=" networks", leave=False, disable=None
        ):
            scan = scans[case[1]]
            differences += exactness.compare(
                case, scan.coordinates, scan.features, engines, peers, args.width
            )
    except (ImportError, ValueError) as error:
        raise CommandError(str(error)) from error
    print(f"Compared with MinkowskiEngine {version} on a simulated scan of {args.beams} beams:")
    print(exactness.table(differences))
    report = {
        "reference": f"MinkowskiEngine {version}",
        "limit": exactness.LIMIT,
        "voxels": {f"{dimension}D": len(scan.coordinates) for dimension, scan in scans.items()},
        "differences": [dataclasses.asdict(row) for row in differences],
    }
    write_report(args.json, report)
    return 0 if all(row.passed for row in differences) else NOT_EXACT
