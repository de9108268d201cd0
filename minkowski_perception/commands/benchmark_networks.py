# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""`minkowski-perception benchmark networks`: measure size, multiply-adds and time of networks."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minkowski_perception.commands import CommandError, positive, write_report

if TYPE_CHECKING:
    from minkowski_perception.lab.benchmarks.scans import Scan


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the subject's arguments."""
    parser.add_argument(
        "--networks",
        nargs="+",
        metavar="NAME",
        help="networks (those of the MinkUNet and SPVCNN families)",
    )
    parser.add_argument(
        "--config", type=Path, help="net.config of a network of SPVNAS to measure too"
    )
    parser.add_argument(
        "--scan", type=Path, help="recorded scan: float32 x, y, z, intensity, as in KITTI's .bin"
    )
    parser.add_argument(
        "--beams",
        type=int,
        default=64,
        help="otherwise: beams of the simulated LiDAR (%(default)s)",
    )
    parser.add_argument(
        "--frames",
        type=positive,
        default=1,
        help="simulated scans; 4D if more than one (%(default)s)",
    )
    parser.add_argument(
        "--voxel-size", type=float, default=0.05, help="metres (%(default)s)", metavar="SIZE"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (%(default)s)")
    parser.add_argument(
        "--repeats",
        type=positive,
        default=3,
        help="timed passes, of which the median is taken (%(default)s)",
    )
    parser.add_argument("--json", type=Path, help="write the figures to this file")


def run(args: argparse.Namespace) -> int:
    """Measure each network and print the table."""
    import dataclasses

    from tqdm import tqdm

    from minkowski_perception.device import choose_device
    from minkowski_perception.lab.benchmarks import networks

    config = None if args.config is None else _read_config(args.config)
    names = list(args.networks or networks.NETWORKS)
    if config is not None and "SPVNAS" not in names:
        names.append("SPVNAS")
    try:
        device = choose_device(args.device)
        scan = _scan(args)
        figures = [
            networks.measure(
                name, scan, device, args.repeats, config if name == "SPVNAS" else None
            )
            for name in tqdm(names, "measuring", unit=" networks", leave=False, disable=None)
        ]
    except (ImportError, ValueError) as error:
        raise CommandError(str(error)) from error
    print(networks.table(scan, figures))
    report = {
        "scan": {"name": scan.name, "points": scan.points, "voxels": len(scan.coordinates)},
        "device": str(device),
        "published_source": networks.PUBLISHED_SOURCE,
        "networks": {row.name: dataclasses.asdict(row) for row in figures},
    }
    write_report(args.json, report)
    return 0


def _read_config(path: Path) -> Mapping[str, Any]:
    try:
        config: dict[str, Any] = json.loads(path.read_text())
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise CommandError(f"cannot read net.config {path}: {error}") from error
    return config


def _scan(args: argparse.Namespace) -> Scan:
    from minkowski_perception.lab.benchmarks.scans import recorded_scan, simulated_scan

    if args.scan is not None:
        return recorded_scan(args.scan, args.voxel_size)
    return simulated_scan(args.beams, args.frames, args.voxel_size)
