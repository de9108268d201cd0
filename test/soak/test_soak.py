# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import json
import signal

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs rclpy: a ROS 2 installation or its wheels")

import soak
from soak_faults import FAULTS
from soak_report import missed, report, save_picture, slope
from soaked_node import Record

SHORT = (
    "mutated_clouds",
    "a_jump_of_the_odometry",
    "the_engine_fails_twice",
    "the_worker_ends",
    "a_walk_through_the_lifecycle",
    "killed",
)
"""Faults of a short soak, in this order."""


@pytest.mark.system
def test_a_node_recovers_from_a_sequence_of_faults_and_its_counts_are_balanced(tmp_path):
    soak.save_tiny(tmp_path / "tiny", dimension=4, kernel="causal", crf=True)
    node = soak.start("twenty", tmp_path, points=300, seed=0)
    rng = np.random.default_rng(0)
    try:
        assert node.ready()
        for name in SHORT:
            node.inject(name, FAULTS[name], rng)
        node.stop()
    finally:
        node.close()
    figures = report({"twenty": node.record}, 30.0, 0, [1.0])
    assert figures["unbalanced"] == figures["crashes"] == 0, figures
    assert figures["recovered"]["count"] == figures["faults"] == len(SHORT), figures
    assert figures["by_fault"]["the_worker_ends"]["rises"]["errors"] == 1
    assert figures["nodes"]["twenty"]["statuses"] == {str(-signal.SIGKILL): 1, "0": 1}
    assert figures["nodes"]["twenty"]["answered"] > 0


def record_of(seconds=1800, rise=0.0, ends=()):
    """Return the record of a node whose memory rises by so many MB an hour."""
    record = Record(sent=seconds, reports=seconds)
    for t in range(seconds):
        peak = 300.0 if t % 100 == 0 else 0.0
        resident = 500.0 + rise * t / 3600 + peak
        record.samples.append((float(t), resident, 18, 0, resident - 200.0))
        record.latencies.append((float(t), 0.02 if t % 50 else 0.5, t % 50 != 0))
    record.ends.extend(ends)
    return record


def fault(**changes):
    usual = {"fault": "a_gap", "seconds": 5.0, "lasted": 1.0, "recovery": 0.1}
    return {**usual, "rises": {"resets_gap": 1}, "seen": True, **changes}


def figures_of(record):
    return report({"ten": record}, 1800.0, 0, [1.0, 2.0])


@pytest.mark.parametrize("rise", [0.0, 3.0, 40.0])
def test_the_slope_is_that_of_the_memory_whatever_its_peaks(rise):
    record = record_of(rise=rise)
    assert slope(record) == slope(record, column=4) == pytest.approx(rise, abs=0.1)


def test_memory_that_rises_only_while_it_warms_up_has_no_slope():
    record = record_of()
    record.samples = [(t, min(m + t, 700.0), *more) for t, m, *more in record.samples]
    assert slope(record) == pytest.approx(0.0, abs=0.1)


def test_memory_of_several_processes_has_no_slope():
    record = record_of()
    record.samples = [(t, m, f, int(t > 500), own) for t, m, f, _, own in record.samples]
    assert slope(record) is None


def test_a_report_without_faults_misses_no_goal(tmp_path):
    record = record_of()
    record.faults = [fault(), fault(recovery=2.0)]
    figures = figures_of(record)
    assert missed(figures) == []
    assert figures["latency"]["p99_ms"] == 20.0  # without those of clouds during a fault
    assert figures["by_fault"]["a_gap"]["rises"] == {"resets_gap": 2}
    assert json.loads(json.dumps(figures)) == figures
    pytest.importorskip("matplotlib", reason="needs matplotlib for pictures")
    save_picture(tmp_path / "soak.png", {"ten": record}, figures)
    assert (tmp_path / "soak.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("change", "goal"),
    [
        (lambda r: setattr(r, "unbalanced", 3), "3 reports are not balanced"),
        (
            lambda r: r.ends.append({"seconds": 9, "status": -11, "expected": False, "log": ""}),
            "1 processes ended unexpectedly",
        ),
        (lambda r: r.faults.append(fault(recovery=None)), "1 faults were not recovered"),
        (lambda r: r.faults.append(fault(recovery=9.0)), "took longer than 5 s, up to 9.0 s"),
        (lambda r: r.faults.append(fault(seen=False)), "1 faults had no effect"),
        (
            lambda r: setattr(r, "samples", record_of(rise=20.0).samples),
            "rises by 20.0 MB an hour",
        ),
        (
            # Of its own, while the system takes back the memory of files.
            lambda r: setattr(
                r, "samples", [(t, 500.0, *x, m) for t, m, *x, _ in record_of(rise=9.0).samples]
            ),
            "rises by 9.0 MB an hour",
        ),
    ],
)
def test_each_goal_that_is_missed_is_named(change, goal):
    record = record_of()
    change(record)
    [named] = missed(figures_of(record))
    assert goal in named
