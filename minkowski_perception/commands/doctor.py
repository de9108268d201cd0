# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""`minkowski-perception doctor`: find what is wrong on this machine, in a recording or in ROS."""

from __future__ import annotations

import argparse
import importlib.util
from dataclasses import asdict
from pathlib import Path

from minkowski_perception.commands import CommandError, write_report
from minkowski_perception.settings import AUTO, Settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("file", nargs="?", type=Path, help="recording or scans to check")
    parser.add_argument("--ros", action="store_true", help="check the clouds of the ROS graph")
    parser.add_argument("--topic", help="cloud topic (all); without a recording it implies --ros")
    parser.add_argument("--odometry-topic", metavar="TOPIC", help="needed where there are several")
    parser.add_argument(
        "--fixed-frame",
        default=Settings.fixed_frame,
        metavar="FRAME",
        help="frame that TF must lead to (%(default)s)",
    )
    parser.add_argument(
        "--seconds",
        type=float,
        default=5.0,
        metavar="SECONDS",
        help="time for which clouds of the ROS graph are received (%(default)s)",
    )
    parser.add_argument(
        "--model", default=Settings.model, help="model that the clouds are for (%(default)s)"
    )
    parser.add_argument("--device", default=AUTO, help="auto, cpu, cuda or cuda:N (%(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the findings there")


def run(args: argparse.Namespace) -> int:
    """Print the findings; return 1 if something does not work."""
    from minkowski_perception.checks.finding import Finding, count, table
    from minkowski_perception.checks.machine import REQUIRED, machine

    ros = args.ros or (args.topic is not None and args.file is None)
    if ros and args.file is not None:
        raise CommandError("give a recording or --ros, not both")
    if ros and importlib.util.find_spec("rclpy") is None:
        raise CommandError("--ros needs rclpy: source the setup.bash of a ROS 2 installation")
    sections: dict[str, list[Finding]] = {"this machine": machine()}
    broken = any(f.state == "fail" and f.name in REQUIRED for f in sections["this machine"])
    segmenter = None
    if not broken:
        from minkowski_perception.checks.engines import engines

        sections[f"model {args.model}"], segmenter = engines(args.model, args.device)
    if not broken and args.file is not None:
        from minkowski_perception.checks.recording import recording

        sections[f"recording {args.file}"] = recording(
            args.file, segmenter, args.topic, args.odometry_topic
        )
    if not broken and ros:
        from minkowski_perception.checks.graph import graph

        sections["ROS graph"] = graph(
            segmenter, args.topic, args.seconds, args.odometry_topic, args.fixed_frame
        )
    print(table(sections))
    findings = [finding for section in sections.values() for finding in section]
    write_report(
        args.json,
        {
            "failed": count(findings, "fail"),
            "warnings": count(findings, "warn"),
            "sections": {t: [asdict(f) for f in section] for t, section in sections.items()},
        },
    )
    return 1 if count(findings, "fail") else 0
