# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What ROS adds to a frame: the parts of a cloud's way to the node and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

OURS = ("queue", "decode", "pose", "encode", "publish")
"""Stages of the node on /diagnostics that are no part of the algorithm."""

_LATENCY = "latency"  # from the cloud's arrival in the node to its labels' departure
TARGET = 10.0
"""Most milliseconds that ROS may add to a frame in the median."""


def report(
    echo: Sequence[float],
    node: Sequence[float],
    stages: Mapping[str, Sequence[float]],
    **facts: Any,
) -> dict[str, Any]:
    """Return all figures for JSON, in milliseconds.

    What is no part of the algorithm is summed for each cloud: sums of medians would say less on a
    busy machine, where now this part waits and then that one.

    Args:
        echo: round trips of N clouds that come back unchanged, seconds.
        node: round trips of M clouds that come back labelled, seconds.
        stages: M milliseconds of the node by stage, with `latency` for all of them.
        facts: further entries, such as the number of points.
    """
    times = {name: np.asarray(ms) for name, ms in stages.items()}
    latency, round_trips = times[_LATENCY], 1e3 * np.asarray(node)
    parts = {name: times[name] for name in OURS}
    algorithm = np.sum([ms for n, ms in times.items() if n not in (*OURS, _LATENCY)], axis=0)
    parts["other"] = latency - algorithm - sum(parts.values())
    parts["transport"] = round_trips - latency
    added, echoes = round_trips - algorithm, 1e3 * np.asarray(echo)
    return {
        **facts,
        "echo_ms": _spread(echoes),
        "node_ms": _spread(round_trips),
        "algorithm_ms": _spread(algorithm),
        "ros_adds_ms": _spread(added),
        "beyond_echo_ms": round(float(np.median(added) - np.median(echoes)), 2),
        "target_ms": TARGET,
        "parts_ms": {name: round(float(np.median(ms)), 2) for name, ms in parts.items()},
    }


def _spread(values: npt.NDArray[np.floating]) -> dict[str, float]:
    """Return the median, the quartiles and the least."""
    low, middle, high = np.percentile(values, [25, 50, 75])
    named = {"median": middle, "low": low, "high": high, "least": values.min()}
    return {name: round(float(value), 2) for name, value in named.items()}


_MEANING = {
    "queue": "wait of the cloud for the worker",
    "decode": "message to frame",
    "pose": "ego motion",
    "encode": "labels to message",
    "publish": "serialisation of the labelled cloud",
    "other": "between the stages of the node",
    "transport": "DDS both ways, deserialisation, executor",
}


def table(figures: Mapping[str, Any]) -> str:
    """Return the figures as lines of text."""
    rows = [
        (name, f"{figures[key]['median']:.1f}", _quartiles(figures[key]))
        for name, key in (
            ("round trip to the node", "node_ms"),
            ("bare echo", "echo_ms"),
            ("algorithm", "algorithm_ms"),
            (f"ROS adds (target: {figures['target_ms']:.0f})", "ros_adds_ms"),
        )
    ]
    rows.append(("beyond the echo", f"{figures['beyond_echo_ms']:.1f}", ""))
    rows += [
        (f"  {name}", f"{ms:.1f}", _MEANING[name]) for name, ms in figures["parts_ms"].items()
    ]
    head = (
        f"{figures['clouds']} clouds of {figures['points']:,} points, milliseconds in the median"
    )
    return "\n".join([head, *(f"{name:<36}{ms:>8}  {note}".rstrip() for name, ms, note in rows)])


def _quartiles(spread: Mapping[str, float]) -> str:
    return f"half of them {spread['low']:.1f} to {spread['high']:.1f}, least {spread['least']:.1f}"
