# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import json
import sys

import pytest

from minkowski_perception.commands import main
from minkowski_perception.lab.benchmarks import exactness
from minkowski_perception.sparse.engines import minkowski_engine
from minkowski_perception.sparse.engines.base import EngineError

SMALL = ["--width", "0.25", "--voxel-size", "0.5"]


@pytest.fixture
def installed():
    pytest.importorskip("open3d")
    try:
        minkowski_engine.import_minkowski_engine()
    except EngineError as error:
        pytest.skip(str(error))


def run(*options):
    return main.main(["benchmark", "exactness", *map(str, options)])


def test_every_network_is_compared_on_every_engine(installed, tmp_path, capsys):
    report = tmp_path / "out" / "exactness.json"
    assert run(*SMALL, "--json", report) == 0
    shown = capsys.readouterr().out
    assert "Compared with MinkowskiEngine 0.5.4" in shown
    saved = json.loads(report.read_text())
    compared = {(row["network"], row["engine"]) for row in saved["differences"]}
    for name, dimension, kernel in exactness.CASES:
        assert (f"{name} {dimension}D {kernel}", "torch") in compared
    assert all(row["difference"] < saved["limit"] for row in saved["differences"])
    assert shown.count("exact\n") == len(saved["differences"])


def test_the_exit_status_is_1_if_a_network_is_not_exact(installed, monkeypatch, capsys):
    monkeypatch.setattr(exactness, "CASES", exactness.CASES[:1])
    monkeypatch.setattr(exactness, "LIMIT", 0.0)
    assert run(*SMALL) == 1
    assert "not below 0.0" in capsys.readouterr().out


def test_without_minkowski_engine_the_error_points_to_the_docs(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "MinkowskiEngine", None)
    minkowski_engine.import_minkowski_engine.cache_clear()
    assert run(*SMALL) == 2
    error = capsys.readouterr().err
    assert "cannot import MinkowskiEngine" in error
    assert "docs/engines.md" in error
    assert error.count("\n") == 1
