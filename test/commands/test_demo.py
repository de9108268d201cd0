# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from minkowski_perception.codec import decode, encode_frame
from minkowski_perception.commands import demo
from minkowski_perception.labelling.topics import MAP_TOPIC
from minkowski_perception.recordings.bags import BagReader, BagWriter
from minkowski_perception.sparse.selection import ENGINES

pytestmark = pytest.mark.system
TOPIC = "/minkowski_perception/labelled"


def test_the_demo_writes_labelled_clouds_pictures_and_a_summary(demo_run):
    summary = json.loads((demo_run.out / "summary.json").read_text())

    assert (summary["received"], summary["labelled"], summary["pending"]) == (6, 6, 0)
    assert summary["dropped"] == {}
    assert summary["device"] in ("cpu", "cuda")
    assert summary["engine"].split()[0] in ENGINES
    assert 0.0 < summary["latency_ms"]["median"] <= summary["latency_ms"]["p99"]
    assert sum(summary["label_shares"].values()) == pytest.approx(1.0)
    assert len(list(demo_run.out.glob("cloud_*.png"))) == 3
    assert (demo_run.out / "map.png").stat().st_size > 10_000
    assert f"open in a browser: {demo_run.out / 'report.html'}" in demo_run.output
    report = (demo_run.out / "report.html").read_text()
    assert "6 received = 6 labelled + 0 dropped + 0 pending" in report
    assert "Map: " in report
    with BagReader(demo_run.out / "labelled") as bag:
        topics = bag.cloud_topics()
    assert topics.pop(MAP_TOPIC) >= 1
    assert topics == {TOPIC: 6}


def test_the_summary_matches_the_labels_in_the_bag(demo_run):
    summary = json.loads((demo_run.out / "summary.json").read_text())
    with BagReader(demo_run.out / "labelled") as bag:
        clouds = [message for _, message in bag.clouds(TOPIC)]
    truth = np.concatenate([decode(m, label_field="true_label").labels for m in clouds])
    labels = np.concatenate([decode(m, label_field="label").labels for m in clouds])

    scored = truth < 19
    assert summary["accuracy"] == pytest.approx((labels == truth)[scored].mean())
    car = labels == 0
    assert summary["label_shares"].get("car", 0.0) == pytest.approx(car.mean())
    if (truth == 0).any():
        union = (car & scored) | (truth == 0)
        assert summary["iou"]["car"] == pytest.approx((car & (truth == 0)).sum() / union.sum())


def test_the_summary_is_printed_as_a_table(demo_run):
    for line in ("received    6 clouds", "labelled    6", "dropped     0", "mIoU"):
        assert line in demo_run.output


def test_a_second_run_replaces_only_the_files_of_the_first(demo_run, drive, command, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(demo_run.out, out)
    (out / "notes.log").write_text("mine")
    before = (out / "labelled" / "labelled.mcap").read_bytes()

    done = command("demo", "--bag", drive, "--out", out, "--realtime")

    assert done.returncode == 0, done.stderr
    summary = json.loads((out / "summary.json").read_text())
    assert summary["labelled"] >= 1
    assert summary["labelled"] + sum(summary["dropped"].values()) == 6
    assert set(summary["dropped"]) <= {"superseded", "no_pose"}
    assert (out / "notes.log").read_text() == "mine"
    assert (out / "labelled" / "labelled.mcap").read_bytes() != before


def test_dropped_clouds_are_counted_as_by_the_label_command(drive, command, tmp_path):
    pytest.importorskip("rclpy", reason="needs rclpy: a ROS 2 installation or its wheels")
    with BagReader(drive) as bag, BagWriter(tmp_path / "bag") as writer:
        poses = bag.poses("lidar")
        for stamp, pose in poses[:-1]:  # no pose after the last cloud
            writer.write_odometry("/odometry", stamp, pose, "odom", "lidar")
        for i, (_, message) in enumerate(bag.clouds("/points")):
            frame = decode(message)
            cloud = encode_frame(frame)
            if i == 2:
                cloud = replace(cloud, point_step=1)
            writer.write_cloud("/points", cloud, frame.stamp, frame.frame_id)

    played = command("demo", "--bag", tmp_path / "bag", "--out", tmp_path / "demo")
    labelled = command("label", tmp_path / "bag", "--out", tmp_path / "label")

    assert played.returncode == labelled.returncode == 0, played.stderr + labelled.stderr
    for out in ("demo", "label"):
        summary = json.loads((tmp_path / out / "summary.json").read_text())
        assert (summary["received"], summary["labelled"]) == (6, 4), out
        assert summary["dropped"] == {"malformed": 1, "no_pose": 1}, out


def test_all_clouds_of_a_recorded_drive_are_labelled(shared_data, command, tmp_path):
    bag = shared_data / "ika_bag_mcap"
    truth = ("--true-label-field", "label", "--true-label-set", "urban10")
    done = command("demo", "--bag", bag, "--out", tmp_path, *truth)

    assert done.returncode == 0, done.stderr
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert (summary["received"], summary["labelled"]) == (32, 32)
    assert set(summary["iou"]) <= {
        "road",
        "sidewalk-terrain",
        "building",
        "pole-barrier-cone",
        "vegetation",
        "person",
        "two-wheeler",
        "car",
        "truck",
        "bus",
    }
    assert summary["miou"] is not None


def test_a_bag_with_several_cloud_topics_needs_a_choice(command, drive, tmp_path):
    with BagReader(drive) as reader, BagWriter(tmp_path / "two") as writer:
        for _, message_type, when, cdr in reader.raw(["/points"]):
            for topic in ("/front", "/rear"):
                writer.write_raw(topic, message_type, when, cdr)

    done = command("demo", "--bag", tmp_path / "two", "--out", tmp_path / "out")

    assert done.returncode == 2
    assert "/front (6 messages), /rear (6 messages)" in done.stderr
    assert not (tmp_path / "out").exists()


def test_the_error_of_a_node_that_ends_shows_the_end_of_its_log(
    drive, tmp_path, monkeypatch, capsys
):
    pytest.importorskip("rclpy", reason="needs rclpy: a ROS 2 installation or its wheels")
    monkeypatch.setenv("RMW_IMPLEMENTATION", "rmw_unknown")
    from minkowski_perception.commands.main import main

    assert main(["demo", "--bag", str(drive), "--out", str(tmp_path)]) == 1
    printed = capsys.readouterr().err
    assert "ended with status 1" in printed
    assert "rmw_unknown" in printed


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_no_process_survives_an_interrupted_demo(drive, tmp_path, number):
    pytest.importorskip("rclpy", reason="needs rclpy: a ROS 2 installation or its wheels")
    command = [sys.executable, "-m", "minkowski_perception.commands.main", "demo"]
    running = subprocess.Popen([*command, "--bag", drive, "--out", tmp_path])
    children = Path(f"/proc/{running.pid}/task/{running.pid}/children")
    deadline = time.monotonic() + 60
    while len(children.read_text().split()) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    started = [int(pid) for pid in children.read_text().split()]
    running.send_signal(number)

    assert running.wait(30) == 128 + number
    assert not [pid for pid in started if os.path.exists(f"/proc/{pid}")]


def test_the_drive_is_simulated_once(tmp_path, monkeypatch):
    pytest.importorskip("open3d", reason="needs open3d to simulate clouds")
    monkeypatch.setattr(demo, "DRIVE_FRAMES", 2)
    path = demo._simulated_drive(tmp_path / "drives")
    before = [(file.name, file.stat().st_mtime_ns) for file in path.iterdir()]

    assert demo._simulated_drive(tmp_path / "drives") == path
    assert [(file.name, file.stat().st_mtime_ns) for file in path.iterdir()] == before
    assert [file.name for file in path.parent.iterdir()] == ["demo_drive"]
    with BagReader(path) as bag:
        assert bag.cloud_topics() == {"/points": 2}
        frames = [decode(m, label_field="true_label") for _, m in bag.clouds("/points")]
        assert [stamp for stamp, _ in bag.poses("lidar")] == [frame.stamp for frame in frames]
    assert all((frame.labels < 19).mean() > 0.9 for frame in frames)
