# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The report of a soak, from the records of its nodes, and its picture."""

import os
import platform
from collections import Counter

import numpy as np
from scipy.stats import theilslopes

from minkowski_perception.pictures import new_figure, save_figure

WARM_UP = 1 / 6
"""Share of a soak after which memory should no longer grow."""

SLOPE_PERIOD = 60.0
"""Seconds of which the median counts in the slope: some faults double the memory for a moment."""

GOAL_SECONDS, GOAL_SLOPE = 5.0, 5.0  # of recoveries, and MB an hour
SLOPE_MINUTES = 20.0
"""Shortest soak whose slope of memory means something."""


def report(records, seconds, seed, load):
    """Return all figures for JSON.

    Args:
        records: `Record` by the name of the node.
        seconds: that the soak took.
        seed: of the faults.
        load: load averages of the machine during the soak.
    """
    faults = [fault for record in records.values() for fault in record.faults]
    recoveries = [fault["recovery"] for fault in faults if fault["recovery"] is not None]
    nodes = {name: of_node(record) for name, record in records.items()}
    return {
        "seconds": round(seconds),
        "seed": seed,
        "machine": f"{platform.machine()}, {len(os.sched_getaffinity(0))} CPUs",
        "load_average": {"mean": round(float(np.mean(load)), 1), "most": round(max(load), 1)},
        "faults": len(faults),
        "unbalanced": sum(node["unbalanced"] for node in nodes.values()),
        "crashes": sum(node["crashes"] for node in nodes.values()),
        "rss_slope_mb_per_hour": _most(node["rss_slope_mb_per_hour"] for node in nodes.values()),
        "own_slope_mb_per_hour": _most(node["own_slope_mb_per_hour"] for node in nodes.values()),
        "fds": {name: node["fds"] for name, node in nodes.items()},
        "latency": percentiles([x for r in records.values() for x in quiet_latencies(r)]),
        "recovered": {
            "of": len(faults),
            "count": len(recoveries),
            "within_5_s": sum(seconds <= GOAL_SECONDS for seconds in recoveries),
            "worst_s": max(recoveries, default=None),
        },
        "without_effect": sum(not fault["seen"] for fault in faults),
        "unanswered_requests": sum(record.unanswered for record in records.values()),
        "by_fault": by_fault(faults),
        "nodes": nodes,
    }


def _most(values):
    return max((value for value in values if value is not None), default=None)


def of_node(record):
    """Return the figures of one node."""
    crashes = [end for end in record.ends if not end["expected"]]
    files = [sample[2] for sample in record.samples]
    return {
        "sent": record.sent,
        "answered": len(record.latencies),
        "reports": record.reports,
        "unbalanced": record.unbalanced,
        "processes": len(record.ends),
        "statuses": dict(Counter(str(end["status"]) for end in record.ends)),
        "crashes": len(crashes),
        "crash_logs": [end["log"] for end in crashes],
        "rss_mb": {"first": record.samples[0][1], "last": record.samples[-1][1]}
        if record.samples
        else None,
        "rss_slope_mb_per_hour": slope(record),
        "own_slope_mb_per_hour": slope(record, column=4),
        "fds": {"first": files[0], "last": files[-1], "most": max(files)} if files else None,
        "latency": percentiles(quiet_latencies(record)),
    }


def slope(record, column=1):
    """Return the rise of the memory in MB an hour after the warm-up; None if processes ended.

    It is the median of the slopes between all pairs of minutes (Theil-Sen), where a minute counts
    by its median. So single peaks do not change it.

    Args:
        record: of a node.
        column: of the samples.
    """
    samples = np.array(record.samples)
    if not len(samples) or (samples[:, 3] != samples[0, 3]).any():
        return None
    warm = samples[samples[:, 0] >= WARM_UP * samples[-1, 0]]
    minutes = warm[:, 0] // SLOPE_PERIOD
    parts = [warm[minutes == minute] for minute in np.unique(minutes)]
    if len(parts) < 2:
        return None
    times, values = np.array([np.median(part[:, (0, column)], axis=0) for part in parts]).T
    return round(float(theilslopes(values, times)[0]) * 3600, 2)


def quiet_latencies(record):
    """Return the seconds to the answer of clouds while there was no fault."""
    return [latency for _, latency, quiet in record.latencies if quiet]


def percentiles(latencies):
    """Return percentiles in milliseconds; None without latencies."""
    if not latencies:
        return None
    values = np.percentile(latencies, [50, 90, 99, 100])
    names = ("p50_ms", "p90_ms", "p99_ms", "max_ms")
    return {name: round(1e3 * float(v), 1) for name, v in zip(names, values, strict=True)}


def by_fault(faults):
    """Return for each kind of fault: how often, what became of it, and which counts rose."""
    kinds = {}
    for fault in faults:
        kind = kinds.setdefault(
            fault["fault"],
            {"injected": 0, "recovered": 0, "without_effect": 0, "worst_s": 0.0, "rises": {}},
        )
        kind["injected"] += 1
        kind["without_effect"] += not fault["seen"]
        if fault["recovery"] is not None:
            kind["recovered"] += 1
            kind["worst_s"] = max(kind["worst_s"], fault["recovery"])
        for key, rise in fault["rises"].items():
            kind["rises"][key] = kind["rises"].get(key, 0) + rise
    return dict(sorted(kinds.items()))


def missed(figures):
    """Return the goals that a report misses, a sentence for each."""
    recovered, found = figures["recovered"], []
    if figures["unbalanced"]:
        found.append(f"{figures['unbalanced']} reports are not balanced")
    if figures["crashes"]:
        found.append(f"{figures['crashes']} processes ended unexpectedly")
    if recovered["count"] < recovered["of"]:
        found.append(f"{recovered['of'] - recovered['count']} faults were not recovered")
    if recovered["within_5_s"] < recovered["count"]:
        late = recovered["count"] - recovered["within_5_s"]
        found.append(
            f"{late} faults took longer than {GOAL_SECONDS:g} s, up to {recovered['worst_s']} s"
        )
    if figures["without_effect"]:
        found.append(f"{figures['without_effect']} faults had no effect")
    # A machine short of memory takes back that of files, which hides a rise.
    rise = _most((figures["rss_slope_mb_per_hour"], figures["own_slope_mb_per_hour"]))
    if figures["seconds"] >= 60 * SLOPE_MINUTES and (rise is None or rise >= GOAL_SLOPE):
        found.append(f"the memory rises by {rise} MB an hour")
    return found


def save_picture(path, records, figures):
    """Write a PNG: resident memory and latency over time, with the faults marked."""
    figure = new_figure(11.0, 6.0)
    load = figures["load_average"]["mean"]
    figure.suptitle(
        f"{figures['faults']} faults in {figures['seconds'] / 60:.0f} minutes; "
        f"{figures['machine']}, mean load {load}",
        fontsize=10,
    )
    memory, latency = figure.subplots(2, 1, sharex=True)
    for k, (name, record) in enumerate(records.items()):
        colour = f"C{k}"
        if record.samples:
            times, resident, _, lives, own = np.array(record.samples).T
            for values in (resident, own):
                values[1:][np.diff(lives) > 0] = np.nan  # a new process
            memory.plot(times / 60, resident, color=colour, lw=1.0, label=name)
            memory.plot(times / 60, own, ":", color=colour, lw=1.0, label=f"{name}, without files")
        at = [fault["seconds"] / 60 for fault in record.faults]
        rows = memory.get_xaxis_transform()
        memory.plot(at, [0.02 + 0.03 * k] * len(at), "|", color=colour, ms=6, transform=rows)
        for end in record.ends:
            memory.axvline(end["seconds"] / 60, color=colour, alpha=0.25, lw=0.8)
        if record.latencies:
            times, values, _ = np.array(record.latencies).T
            latency.semilogy(times / 60, 1e3 * values, ".", color=colour, ms=1.0, alpha=0.4)
            latency.plot([], [], ".", color=colour, label=name)
    memory.set_ylabel("resident MB", fontsize=8)
    memory.set_ylim(bottom=0.0)
    memory.set_title("Ticks: faults. Vertical lines: ends of processes.", fontsize=8, loc="left")
    latency.set_ylabel("ms from cloud to labels", fontsize=8)
    latency.set_xlabel("minutes", fontsize=8)
    for axes in (memory, latency):
        axes.tick_params(labelsize=8)
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(fontsize=8, frameon=False, loc="upper right")
    save_figure(figure, path)
