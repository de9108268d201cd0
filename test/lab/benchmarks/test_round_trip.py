# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import pytest

from minkowski_perception.lab.benchmarks.round_trip import report, table

STAGES = {
    "latency": 30.0,
    "queue": 1.0,
    "decode": 2.0,
    "pose": 0.0,
    "voxelize": 8.0,
    "network": 12.0,
    "encode": 3.0,
    "publish": 1.0,
}


@pytest.fixture
def figures():
    echo, node = [0.004, 0.005, 0.006], [0.034, 0.036, 0.035, 0.090]
    return report(echo, node, STAGES, points=1000, clouds=4)


def test_what_ros_adds_is_the_round_trip_without_the_algorithm(figures):
    assert figures["node_ms"]["median"] == 35.5
    assert figures["algorithm_ms"] == 20.0
    assert figures["ros_adds_ms"] == 15.5
    assert figures["beyond_echo_ms"] == 10.5


def test_the_parts_add_up_to_what_ros_adds(figures):
    parts = figures["parts_ms"]
    assert (parts["other"], parts["transport"]) == (3.0, 5.5)
    assert sum(parts.values()) == pytest.approx(figures["ros_adds_ms"])


def test_the_table_has_a_line_for_each_part(figures):
    shown = table(figures)
    assert "4 clouds of 1,000 points" in shown
    for name in ("round trip to the node", "bare echo", "ROS adds", *figures["parts_ms"]):
        assert name in shown
