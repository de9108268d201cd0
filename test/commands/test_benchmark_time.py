# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import json
import re
import shutil

import pytest

pytest.importorskip("open3d", exc_type=ImportError)

from tiny_models import save_tiny

from minkowski_perception.commands.main import main


def run(*arguments):
    return main(["benchmark", "time", "--device", "cpu", *map(str, arguments)])


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder, heads = tmp_path_factory.mktemp("models"), {"classes": 19, "moving": 1}
    save_tiny(folder / "time_3d", dimension=3, heads=heads)
    save_tiny(folder / "time_rich", dimension=4, kernel="causal", heads=heads)
    return folder


def test_the_table_has_gains_over_the_twin_with_intervals(models, tmp_path, capsys):
    report, more = tmp_path / "out" / "time.json", tmp_path / "2"
    shutil.copytree(models, more)
    chart, picture = tmp_path / "chart.png", tmp_path / "picture.png"
    pictures = ["--chart", chart, "--picture", picture, "--picture-frames", 2]
    size = ["--drives", 2, "--frames", 3, "--lidars", "vlp16", "--engine", "torch"]
    assert run("--models", models, more, *size, *pictures, "--json", report) == 0
    figures = json.loads(report.read_text())
    assert list(figures["gains"]) == ["clean", "frame_noise", "drive_noise"]
    for gains in figures["gains"].values():
        for metric in ("all", "first_seen", "moving", "beyond_30m", "miou25", "moving_ap"):
            gain = gains[metric]
            assert gain["low"] <= gain["high"]
            assert -100.0 <= gain["value"] <= 100.0
    assert (figures["row"], figures["twin"]) == ("time_rich + averaging", "time_3d + averaging")
    assert 0.0 <= figures["moving"]["iou"] <= 1.0
    assert figures["cost"]["over_3d"] > 0.0
    assert list(figures["rows"]) == [
        "time_3d",
        "time_3d + averaging",
        "time_rich",
        "time_rich + averaging",
    ]
    assert len(figures["rows"]["time_rich"]["trainings"]) == 2
    assert [drive["seed"] for drive in figures["drives"]] == [9100, 9101]
    assert {file.read_bytes()[:4] for file in (chart, picture)} == {b"\x89PNG"}
    shown = capsys.readouterr().out
    assert re.search(r"^clean +all +first_seen +newly_seen +reseen", shown, re.MULTILINE)
    assert len(re.findall(r"^time_rich \+ averaging +\d", shown, re.MULTILINE)) == 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--twin", "no_such"], "no models no_such in any of"),
        (["--recordings", "kitti"], "--recordings takes DATASET=ROOT, not 'kitti'"),
        (["--conditions", "rain"], "unknown condition 'rain'"),
        (["--lidars", "vlp17"], "unknown lidar 'vlp17'"),
        (["--seed", 5], "seed must be 4000 or more"),
    ],
)
def test_invalid_options_are_refused_in_one_line(models, options, message, capsys):
    assert run("--models", models, "--engine", "torch", *options) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
