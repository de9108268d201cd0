# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import json
import sys

import numpy as np
import pytest
from tiny_models import save_tiny

from minkowski_perception.commands.main import main

NAMES = ["3D", "4D incremental", "4D window of 3", "4D window of 5", "4D window of 8"]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "tiny"
    save_tiny(path, dimension=4, kernel="causal")
    return path.with_suffix(".yaml")


def run(*arguments):
    return main(["benchmark", "temporal", *map(str, arguments)])


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux reports memory")
def test_incremental_is_compared_with_3d_and_windows(model, tmp_path, capsys):
    pytest.importorskip("open3d", exc_type=ImportError)
    pytest.importorskip("matplotlib", reason="needs matplotlib for the picture")
    report, picture = tmp_path / "out" / "temporal.json", tmp_path / "out" / "temporal.png"
    options = ["--beams", 16, "--frames", 1, "--engine", "torch", "--threads", 1, "--long", 10]
    assert run("--model", model, *options, "--json", report, "--picture", picture) == 0

    saved = json.loads(report.read_text())
    assert saved["incremental_over_3d"] > 0
    assert list(saved["window_over_incremental"]) == ["3", "5", "8"]
    assert list(saved["milliseconds"]) == list(saved["state_bytes"]) == NAMES
    assert saved["second_stream"]["state_bytes"] > 0
    assert saved["stages"]["average"] > 0
    assert not saved["random_weights"]
    assert saved["long"]["frames"] == 10
    assert picture.read_bytes().startswith(b"\x89PNG")
    shown = capsys.readouterr().out
    assert "window of 8 over incremental" in shown
    assert "A second stream" in shown
    assert "from frame 1 to 10" in shown


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux reports memory")
def test_a_recorded_sequence_runs_with_other_links(model, tmp_path, capsys):
    scans = tmp_path / "sequence" / "velodyne"
    scans.mkdir(parents=True)
    for i in range(8):
        points = np.random.default_rng(i).uniform(-9, 9, (300, 4)).astype("<f4")
        (scans / f"{i:06}.bin").write_bytes(points.tobytes())
    options = ["--sequence", scans.parent, "--frames", 1, "--engine", "torch", "--threads", 1]
    links = ["--links", "none", "none", "voxel", "cube", "cube", "--recall", 2]
    assert run("--model", model, *options, *links) == 0
    shown = capsys.readouterr().out
    assert f"1 frames of {scans.parent}; tiny with causal kernels" in shown
    assert "inputs of 5 layers on the voxels of the last 2 frames" in shown


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--links", "voxel"], "links must be 5 of 'none', 'voxel' and 'cube'"),
        (["--engine", "abacus"], "not 'abacus'"),
        (["--beams", "7"], "beams must be one of 16, 64, 128, not 7"),
        (["--sequence", "absent"], "no scans: expected absent/velodyne"),
    ],
)
def test_invalid_options_are_refused_in_one_line(model, options, message, capsys):
    assert run("--model", model, "--threads", 1, "--engine", "torch", *options) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
