# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What ROS adds to a frame: the parts of a cloud's way to the node and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median, quantiles
from typing import Any

OURS = ("queue", "decode", "pose", "encode", "publish")
"""Stages of the node on /diagnostics that are no part of the algorithm."""

_LATENCY = "latency"  # from the cloud's arrival in the node to its labels' departure
TARGET = 10.0
"""Most milliseconds that ROS may add to a frame in the median."""


def report(
    echo: Sequence[float], node: Sequence[float], stages: Mapping[str, float], **facts: Any
) -> dict[str, Any]:
    """Return all figures for JSON, in milliseconds.

    Args:
        echo: round trips of clouds that come back unchanged, seconds.
        node: round trips of clouds that come back labelled, seconds.
        stages: median milliseconds of the node by stage, with `latency` for all of them.
        facts: further entries, such as the number of points.
    """
    frame = {name: ms for name, ms in stages.items() if name not in (*OURS, _LATENCY)}
    round_trip = 1e3 * median(node)
    algorithm = sum(frame.values())
    parts = {name: stages[name] for name in OURS}
    parts["other"] = max(0.0, stages[_LATENCY] - algorithm - sum(parts.values()))
    parts["transport"] = round_trip - stages[_LATENCY]
    return {
        **facts,
        "echo_ms": _spread(echo),
        "node_ms": _spread(node),
        "algorithm_ms": round(algorithm, 2),
        "ros_adds_ms": round(round_trip - algorithm, 2),
        "beyond_echo_ms": round(round_trip - algorithm - 1e3 * median(echo), 2),
        "target_ms": TARGET,
        "parts_ms": {name: round(ms, 2) for name, ms in parts.items()},
    }


def _spread(seconds: Sequence[float]) -> dict[str, float]:
    """Return the median, the quartiles and the least in milliseconds."""
    low, _, high = quantiles(seconds, n=4) if len(seconds) > 1 else 3 * [seconds[0]]
    values = {"median": median(seconds), "low": low, "high": high, "least": min(seconds)}
    return {name: round(1e3 * value, 2) for name, value in values.items()}


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
        (f"{name} in the median", f"{figures[key]['median']:.1f}", _quartiles(figures[key]))
        for name, key in (("round trip to the node", "node_ms"), ("bare echo", "echo_ms"))
    ]
    rows.append(("algorithm", f"{figures['algorithm_ms']:.1f}", "voxels, network, labels"))
    rows.append(
        ("ROS adds", f"{figures['ros_adds_ms']:.1f}", f"target: {figures['target_ms']:.0f}")
    )
    rows.append(("beyond the echo", f"{figures['beyond_echo_ms']:.1f}", ""))
    rows += [
        (f"  {name}", f"{ms:.1f}", _MEANING[name]) for name, ms in figures["parts_ms"].items()
    ]
    head = f"{figures['clouds']} clouds of {figures['points']:,} points, milliseconds"
    return "\n".join([head, *(f"{name:<36}{ms:>8}  {note}".rstrip() for name, ms, note in rows)])


def _quartiles(spread: Mapping[str, float]) -> str:
    return f"half of them {spread['low']:.1f} to {spread['high']:.1f}, least {spread['least']:.1f}"
