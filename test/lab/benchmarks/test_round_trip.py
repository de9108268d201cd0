# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import pytest

from minkowski_perception.lab.benchmarks.round_trip import report, table

STAGES = {
    "latency": [30.0, 31.0, 70.0],
    "queue": [1.0, 2.0, 1.0],
    "decode": [2.0, 2.0, 2.0],
    "pose": [0.0, 0.0, 0.0],
    "voxelize": [8.0, 8.0, 8.0],
    "network": [12.0, 12.0, 52.0],
    "encode": [3.0, 3.0, 3.0],
    "publish": [1.0, 1.0, 1.0],
}


@pytest.fixture
def figures():
    echo, node = [0.004, 0.005, 0.006], [0.034, 0.040, 0.075]
    return report(echo, node, STAGES, points=1000, clouds=3)


def test_what_ros_adds_is_the_round_trip_of_each_cloud_without_its_algorithm(figures):
    assert figures["node_ms"]["median"] == 40.0
    assert figures["algorithm_ms"]["median"] == 20.0
    assert figures["ros_adds_ms"] == {"median": 15.0, "low": 14.5, "high": 17.5, "least": 14.0}
    assert figures["beyond_echo_ms"] == 10.0


def test_what_no_stage_of_the_node_takes_is_other_or_transport(figures):
    parts = figures["parts_ms"]
    assert (parts["other"], parts["transport"]) == (3.0, 5.0)


def test_the_table_has_a_line_for_each_part(figures):
    shown = table(figures)
    assert "3 clouds of 1,000 points" in shown
    for name in ("round trip to the node", "bare echo", "ROS adds", *figures["parts_ms"]):
        assert name in shown
