# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import json
import re

import numpy as np
import pytest

pytest.importorskip("open3d", exc_type=ImportError)

from tiny_models import save_tiny

from minkowski_perception.commands.main import main
from minkowski_perception.lab.simulation.drive import simulate_drive

NETWORKS = ("3D", "4D hybrid window", "4D tesseract window", "4D causal incremental")
ROWS = [name + averaging for name in NETWORKS for averaging in ("", " + averaging")]
ROWS += [f"4D causal incremental + CRF{averaging}" for averaging in ("", " + averaging")]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    save_tiny(folder / "ablation_3d", dimension=3)
    save_tiny(folder / "ablation_hybrid", dimension=4, kernel="hybrid")
    save_tiny(folder / "ablation_tesseract", dimension=4, kernel="cube")
    save_tiny(folder / "ablation_causal", crf=True, dimension=4, kernel="causal")
    return folder


def run(*arguments):
    return main(["benchmark", "ablation", "--device", "cpu", *map(str, arguments)])


def test_the_table_compares_all_models_on_moving_and_still_scenes_with_and_without_noise(
    models, tmp_path, capsys
):
    pytest.importorskip("matplotlib", reason="needs matplotlib for the picture")
    report, picture = tmp_path / "out" / "ablation.json", tmp_path / "out" / "ablation.png"
    size = ["--drives", 2, "--frames", 3, "--lidars", "vlp16", "--engine", "torch"]
    assert run("--models", models, *size, "--json", report, "--picture", picture) == 0

    assert picture.read_bytes().startswith(b"\x89PNG")
    cases = json.loads(report.read_text())["cases"]
    scenes = ("moving scenes", "still scenes")
    assert list(cases) == [f"{s}, {c}" for s in scenes for c in ("clean", "under noise")]
    shown = capsys.readouterr().out
    assert "left out" not in shown
    for case, rows in cases.items():
        assert list(rows) == ROWS
        assert re.search(rf"^{case} +mIoU +movable +moving +flicker +ms +MB$", shown, re.M)
        for figures in rows.values():
            assert 0.0 <= figures["miou"] <= 1.0
            assert 0.0 <= figures["flicker"] <= 1.0
            assert (figures["miou_moving"] is None) == case.startswith("still")
            assert figures["milliseconds"] > 0.0
            assert figures["compared_points"] > 1000
            first, *later = figures["flicker_by_frame"]
            assert first is None
            assert len(later) == 2
    for row in ROWS:
        assert len(re.findall(rf"^{re.escape(row)}  +[\d-]", shown, re.M)) == 4
    # Networks that look back have a larger state.
    state = {row: f["state_bytes"] for row, f in cases["moving scenes, clean"].items()}
    assert state["3D"] < min(state[row] for row in ROWS[1:])


def test_models_are_compared_on_a_recorded_sequence(models, tmp_path, capsys):
    sequence = tmp_path / "sequence"
    for name in ("velodyne", "labels"):
        (sequence / name).mkdir(parents=True)
    poses = []
    for i, frame in enumerate(simulate_drive(4008, "vlp16", 3)):
        rows = np.column_stack([frame.points, frame.intensity]).astype("<f4")
        (sequence / "velodyne" / f"{i:06d}.bin").write_bytes(rows.tobytes())
        # Ids of urban10: 0 is road, 10 is no class.
        labels = np.where(frame.labels == 8, 0, 10).astype("<u4")
        (sequence / "labels" / f"{i:06d}.label").write_bytes(labels.tobytes())
        poses.append(" ".join(map(str, frame.pose[:3].ravel())))
    (sequence / "poses_lidar.txt").write_text("\n".join(poses))
    report = tmp_path / "ablation.json"

    options = ["--sequence", sequence, "--true-label-set", "urban10", "--frames", 2]
    assert run("--models", models, *options, "--engine", "torch", "--json", report) == 0

    assert f"2 frames of {sequence}" in capsys.readouterr().out
    cases = json.loads(report.read_text())["cases"]
    assert list(cases) == ["recorded, clean", "recorded, under noise"]
    for rows in cases.values():
        iou = rows["3D"]["iou"]
        assert [name for name, value in iou.items() if value is not None] == ["road"]
        assert rows["3D"]["miou_moving"] is rows["3D"]["miou_movable"] is None


def test_missing_models_are_left_out_and_named_with_the_command_that_trains_them(tmp_path, capsys):
    save_tiny(tmp_path / "ablation_3d", dimension=3)
    size = ["--drives", 1, "--frames", 1, "--lidars", "vlp16", "--engine", "torch"]
    assert run("--models", tmp_path, *size) == 0
    shown = capsys.readouterr().out
    assert shown.count("left out") == 3
    assert re.search(r"4D hybrid window is left out: .* does not exist; to train it:", shown)
    assert "minkowski-perception train config/training/ablation_hybrid.yaml --out" in shown


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--lidars", "vlp17"], "unknown lidar 'vlp17'"),
        (["--model", "no-such"], "unknown model 'no-such'"),
        (["--sequence", "absent"], "no scans: expected absent"),
        (["--sequence", "absent", "--true-label-set", "moon"], "unknown label set 'moon'"),
    ],
)
def test_invalid_options_are_refused_in_one_line(models, options, message, capsys):
    assert run("--models", models, *options) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
