# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import json

import pytest

pytest.importorskip("rclpy", reason="needs rclpy: a ROS 2 installation or its wheels")

from tiny_models import save_tiny

from minkowski_perception.commands import main


def run(*options):
    return main.main(["benchmark", "node", *map(str, options)])


@pytest.mark.system
def test_clouds_go_to_an_echo_and_to_the_node_and_come_back(tmp_path, capsys):
    save_tiny(tmp_path / "tiny", dimension=4, kernel="causal")
    report = tmp_path / "out" / "node.json"
    options = ["--points", 300, "--clouds", 8, "--engine", "torch", "--json", report]
    assert run("--model", tmp_path / "tiny.yaml", *options) == 0
    shown = capsys.readouterr().out
    assert "8 clouds of 300 points" in shown
    saved = json.loads(report.read_text())
    assert (saved["model"], saved["engine"]) == ("tiny", "torch")
    assert 0.0 < saved["echo_ms"]["low"] <= saved["echo_ms"]["median"]
    assert 0.0 < saved["algorithm_ms"]["least"] < saved["node_ms"]["median"]
    assert saved["ros_adds_ms"]["least"] > 0.0
    assert all(ms >= 0.0 for ms in saved["parts_ms"].values())


def test_an_unknown_model_is_refused_before_a_process_starts(capsys):
    assert run("--model", "nonsense") == 2
    assert "unknown model 'nonsense'" in capsys.readouterr().err
