# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import json
import re

import numpy as np
import pytest

from minkowski_perception.commands import benchmark, main


@pytest.fixture
def scan(tmp_path):
    """A scan of 200 points in KITTI's format."""
    points = np.random.default_rng(0).uniform(-1, 1, (200, 4)).astype("<f4")
    path = tmp_path / "scan.bin"
    path.write_bytes(points.tobytes())
    return path


def run(*arguments):
    return main.main(["benchmark", *map(str, arguments)])


def test_every_subject_has_a_line_of_help(capsys):
    with pytest.raises(SystemExit):
        run("--help")
    shown = capsys.readouterr().out
    for subject in benchmark.SUBJECTS:
        assert re.search(rf"^ +{subject}\s+\w+,? \w+", shown, re.MULTILINE), subject


def test_networks_are_listed_with_size_multiply_adds_and_time(scan, tmp_path, capsys):
    report = tmp_path / "out" / "networks.json"
    names = ["MinkUNet18-W16", "SPVCNN-W16"]
    options = ["--networks", *names, "--scan", scan, "--voxel-size", 0.2, "--repeats", 1]
    assert run("networks", *options, "--device", "cpu", "--json", report) == 0

    shown = capsys.readouterr().out
    assert "200 points in" in shown
    saved = json.loads(report.read_text())
    assert (saved["scan"]["points"], saved["device"]) == (200, "cpu")
    assert list(saved["networks"]) == names
    figures = saved["networks"]["SPVCNN-W16"]
    assert figures["parameters"] == 5_449_267
    assert figures["published"] == {"parameters": 5.5, "macs": 30.0}
    assert figures["macs"] > saved["networks"]["MinkUNet18-W16"]["macs"] > 0
    assert f"{figures['parameters']:,}" in shown


def test_a_network_of_spvnas_is_measured_from_its_config(scan, tmp_path, capsys):
    config = {"output_channels": [32] + [16] * 8}
    for part in ("downsample", "upsample"):
        for i in range(4):
            prefix = f"{part}.{i}"
            config |= {f"{prefix}.transition": 16, f"{prefix}.feature": 1}
            config[f"{prefix}.feature.layers.0.net.layers.0"] = 16
    path = tmp_path / "net.config"
    path.write_text(json.dumps(config))
    assert run("networks", "--networks", "SPVNAS", "--config", path, "--scan", scan) == 0
    assert capsys.readouterr().out.count("SPVNAS ") == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--networks", "Net"], "unknown network 'Net'"),
        (["--networks", "SPVNAS"], "network.config: missing"),
        (["--device", "abacus"], "not 'abacus'"),
        (["--voxel-size", "0"], "0.005 to 5, not 0.0"),
        (["--config", "absent"], "cannot read net.config absent"),
    ],
)
def test_invalid_options_are_refused_in_one_line(scan, options, message, capsys):
    assert run("networks", "--scan", scan, *options) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_zero_repeats_are_refused(scan, capsys):
    with pytest.raises(SystemExit):
        run("networks", "--scan", scan, "--repeats", 0)
    assert "must be 1 or more, not 0" in capsys.readouterr().err


def test_engines_race_on_a_scan(scan, tmp_path, capsys):
    report = tmp_path / "engines.json"
    options = ["--networks", "MinkUNet14A", "--scan", scan, "--beams", 16, "--repeats", 1]
    options += ["--voxel-size", 0.5, "--races-only", "--threads", 1]
    picture = tmp_path / "engines.png"
    assert run("engines", *options, "--json", report, "--picture", picture) == 0
    assert picture.read_bytes().startswith(b"\x89PNG")
    shown = capsys.readouterr().out
    assert f"MinkUNet14A on {scan}: 200 points" in shown
    assert "MinkUNet14A on simulated 16 beams" in shown
    saved = json.loads(report.read_text())
    assert saved["threads"] == 1
    assert list(saved["ratios"]) == ["MinkUNet14A"]


def test_an_unknown_network_among_the_engines_is_refused(capsys):
    assert run("engines", "--networks", "Net", "--races-only") == 2
    assert "unknown network 'Net'; choose from MinkUNet14A" in capsys.readouterr().err


def test_memory_is_printed_with_its_rise(tmp_path, capsys):
    report = tmp_path / "memory.json"
    assert run("memory", "--frames", 20, "--points", 300, "--json", report) == 0
    assert re.search(r"from frame 2 to 20: [+-]\d+\.\d MB", capsys.readouterr().out)
    assert len(json.loads(report.read_text())["bytes"]) == 20
