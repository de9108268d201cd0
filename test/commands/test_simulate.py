# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Runs of the command line."""

import argparse
from pathlib import Path

import numpy as np
import pytest
import yaml

pytest.importorskip("open3d", exc_type=ImportError)

from minkowski_perception.codec import decode
from minkowski_perception.commands.main import main
from minkowski_perception.commands.simulate import add_arguments
from minkowski_perception.lab.datasets.kitti import KittiSequence
from minkowski_perception.lab.simulation.recording import SCENES
from minkowski_perception.labels import LabelSet
from minkowski_perception.recordings.bags import BagReader


def simulate(out: Path, *arguments: str) -> int:
    return main(["simulate", "--out", str(out), *arguments])


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file()
    }


def test_drives_are_written_as_sequences_reproducibly(tmp_path, capsys):
    arguments = ("--lidar", "vlp16", "--drives", "2", "--frames", "3", "--seed", "7")
    for name in ("first", "second"):
        assert simulate(tmp_path / name, *arguments) == 0
        assert "6 clouds in" in capsys.readouterr().out
    first = contents(tmp_path / "first")
    assert first == contents(tmp_path / "second")
    assert len(first) == 2 * (2 * 3 + 3) + 1
    label_set = LabelSet.load("semantickitti19")
    one, other = (
        KittiSequence(tmp_path / "first" / "sequences" / name, label_set) for name in ("00", "01")
    )
    assert len(one) == len(other) == 3
    assert one[0].points.shape != other[0].points.shape
    assert len(set(one[0].labels)) > 4
    summary = yaml.safe_load((tmp_path / "first" / "simulation.yaml").read_text())
    assert summary["seeds"] == [7, 8]
    assert (summary["scene"], summary["sensor"]) == ("street", "vlp16")


def test_rooms_are_written_as_bags_reproducibly(tmp_path):
    arguments = ("--scene", "room", "--frames", "2", "--workers", "1")
    for name in ("first", "second"):
        assert simulate(tmp_path / name, *arguments) == 0
    assert contents(tmp_path / "first") == contents(tmp_path / "second")
    with BagReader(tmp_path / "first" / "00") as bag:
        frames = [decode(m, label_field="true_label") for _, m in bag.clouds("/points")]
        poses = bag.poses("camera_depth_optical_frame")
    assert len(frames) == len(poses) == 2
    assert frames[0].colour is not None
    assert np.isin(frames[0].labels, [*range(8), 255]).all()


def test_skewed_drives_have_times_of_points_and_pictures_are_drawn_on_request(tmp_path):
    assert simulate(tmp_path, "--skew", "--lidar", "vlp16", "--frames", "1", "--pictures") == 0
    assert (tmp_path / "00.png").read_bytes().startswith(b"\x89PNG")
    with BagReader(tmp_path / "00") as bag:
        [frame] = [decode(message) for _, message in bag.clouds("/points")]
    assert 0.09 < np.ptp(frame.time) < 0.1


@pytest.mark.parametrize(
    ("arguments", "cause"),
    [
        (("--camera", "kinect"), "scene 'street' cannot be simulated with a depth camera"),
        (("--lidar", "nope"), "unknown lidar 'nope'; choose one of hdl32"),
        (("--scene", "room", "--camera", "nope"), "unknown camera 'nope'; choose one of d435"),
        (("--scene", "room", "--format", "kitti"), "cannot store colour; use --format bag"),
        (("--skew", "--format", "kitti"), "cannot store times of points; use --format bag"),
        (("--scene", "hall", "--skew"), "skew is only available in the scenes street, yard"),
    ],
)
def test_contradicting_options_are_refused_before_anything_is_written(
    tmp_path, capsys, arguments, cause
):
    assert simulate(tmp_path / "out", *arguments) == 2
    error = capsys.readouterr().err
    assert cause in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_every_scene_is_a_choice():
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    for scene in SCENES:
        assert parser.parse_args(["--out", "x", "--scene", scene]).scene == scene


def test_existing_recordings_are_not_overwritten(tmp_path, capsys):
    (tmp_path / "sequences" / "01").mkdir(parents=True)
    assert simulate(tmp_path, "--drives", "2", "--frames", "1") == 2
    assert "01 already exists" in capsys.readouterr().err
