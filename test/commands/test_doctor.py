# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import json

import pytest

pytest.importorskip("rosbags", reason="bags need the rosbags package")

from cloud_messages import write_bag
from tiny_models import save_tiny

from minkowski_perception.commands.main import main


@pytest.fixture
def model(tmp_path):
    save_tiny(tmp_path / "tiny", dimension=3)
    return tmp_path / "tiny.yaml"


def test_findings_are_printed_and_written_as_json(tmp_path, model, capsys):
    bag = write_bag(tmp_path / "bag")

    status = main(["doctor", str(bag), "--model", str(model), "--json", str(tmp_path / "f.json")])

    report = json.loads((tmp_path / "f.json").read_text())
    assert status == 0
    assert report["failed"] == 0
    assert list(report["sections"]) == ["this machine", f"model {model}", f"recording {bag}"]
    names = [finding["name"] for section in report["sections"].values() for finding in section]
    assert {"python", "packages", "torch", "engine torch", "clouds", "motion"} <= set(names)
    assert f"0 failed, {report['warnings']} warnings" in capsys.readouterr().out


def test_the_status_is_1_if_something_fails(tmp_path, model, capsys):
    bag = write_bag(tmp_path / "bag", scale=1000.0)

    assert main(["doctor", str(bag), "--model", str(model)]) == 1
    assert "-> divide x, y, z by 1000" in capsys.readouterr().out


def test_a_model_that_cannot_be_loaded_fails(tmp_path, capsys):
    assert main(["doctor", "--model", str(tmp_path / "none.yaml")]) == 1
    assert "-> choose another with --model: indoor_depth" in capsys.readouterr().out


def test_a_recording_and_the_graph_cannot_be_checked_together(tmp_path):
    assert main(["doctor", str(tmp_path), "--ros"]) == 2
