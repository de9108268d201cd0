# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Soak: the node over DDS for a long time, with faults injected at random.

    make soak MINUTES=60

One node gets clouds at 10 Hz and must live through all faults in one process, so that the slope
of its memory can be seen. Another one gets clouds at 20 Hz, and faults that end its process too;
it is started again, as the launch files do. Writes report.json, soak.png and the nodes' logs.
"""

import argparse
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

import numpy as np
from soak_faults import FAULTS
from soak_report import missed, report, save_picture
from soaked_node import SoakedNode
from tiny_models import save_tiny
from tqdm import tqdm

from minkowski_perception.node import fast_dds

STALL_TIMEOUT = 5.0  # seconds
PAUSE = (1.0, 4.0)  # seconds between faults

COMMON = {
    "ego_motion": "odometry",
    "ego_motion_timeout": 0.3,
    "input_reliability": "reliable",
    "threads": 1,
    "stall_timeout": STALL_TIMEOUT,
    "max_points": 50_000,
    "max_voxels": 20_000,
    "map": "true",
    "map_voxels": 50_000,
}


def start(name, folder, points, seed):
    """Start one of the two nodes."""
    if name == "ten":
        own = {"model": "outdoor_lidar", "engine": "numba"}
        return SoakedNode(name, folder, 10.0, points, {**COMMON, **own}, seed)
    own = {"model": folder / "tiny.yaml", "engine": "torch"}
    return SoakedNode(name, folder, 20.0, points, {**COMMON, **own}, seed)


def faults_of(name):
    """Return the faults of a node, by name."""
    return {k: fault for k, fault in FAULTS.items() if name == "twenty" or not fault.ends}


def soak(node, faults, rng, is_over):
    """Inject the faults in random order, again and again, until the soak is over."""
    names = list(faults)
    while not is_over():
        for name in rng.permutation(names):
            node.spin(rng.uniform(*PAUSE), is_over)
            if is_over():
                break
            node.inject(str(name), faults[str(name)], rng)
    node.stop()


def run(args):
    """Soak both nodes, each in a thread of its own; return the report."""
    fast_dds.prepare()
    args.out.mkdir(parents=True, exist_ok=True)
    save_tiny(args.out / "tiny", dimension=4, kernel="causal", crf=True)
    nodes = {name: start(name, args.out, args.points, args.seed) for name in ("ten", "twenty")}
    over, failures, load = threading.Event(), [], [os.getloadavg()[0]]

    def work(k, node):
        try:
            if not node.ready():
                raise RuntimeError(f"the node '{node.name}' did not start")
            soak(node, faults_of(node.name), np.random.default_rng([args.seed, k]), over.is_set)
        except BaseException as error:
            failures.append(error)
            over.set()

    threads = [
        threading.Thread(target=work, args=(k, node)) for k, node in enumerate(nodes.values())
    ]
    began = time.monotonic()
    try:
        for thread in threads:
            thread.start()
        with tqdm(desc="soak", total=round(60 * args.minutes), unit=" s", disable=None) as bar:
            while (passed := time.monotonic() - began) < 60 * args.minutes and not over.is_set():
                count = sum(len(node.record.faults) for node in nodes.values())
                bar.set_postfix_str(f"{count} faults", refresh=False)
                bar.update(round(passed) - bar.n)
                load.append(os.getloadavg()[0])
                over.wait(1.0)
    except KeyboardInterrupt:
        print("interrupted: the report covers the time until now", file=sys.stderr)
    over.set()
    for thread in threads:
        thread.join()
    for node in nodes.values():
        node.close()
    if failures:
        raise failures[0]
    records = {name: node.record for name, node in nodes.items()}
    figures = report(records, time.monotonic() - began, args.seed, load)
    (args.out / "report.json").write_text(json.dumps(figures, indent=2) + "\n")
    save_picture(args.out / "soak.png", records, figures)
    return figures


def main(arguments=None):
    """Run the soak; return 1 if it misses a goal."""
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--points", type=int, default=1000, help="of a cloud (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the faults (%(default)s)")
    parser.add_argument("--out", type=Path, default=Path("out/soak"))
    args = parser.parse_args(arguments)
    # A shell that starts this process in the background lets it ignore SIGINT.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    figures = run(args)
    shown = {k: v for k, v in figures.items() if k not in ("by_fault", "nodes")}
    print(json.dumps(shown, indent=2))
    print(f"report and picture: {args.out}")
    for goal in missed(figures):
        print(f"missed: {goal}", file=sys.stderr)
    return int(bool(missed(figures)))


if __name__ == "__main__":
    sys.exit(main())
