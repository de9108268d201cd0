# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

pytest.importorskip("rosbags", reason="bags need the rosbags package")

from cloud_messages import street, write_bag
from tiny_models import save_tiny

from minkowski_perception.checks.recording import recording
from minkowski_perception.codec import encode_frame
from minkowski_perception.recordings.bags import BagWriter
from minkowski_perception.segmenter import Segmenter


@pytest.fixture(scope="module")
def segmenter(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "tiny"
    save_tiny(path, dimension=3)
    return Segmenter.load(path.with_suffix(".yaml"), engine="torch", device="cpu")


def by_name(findings):
    return {finding.name: finding for finding in findings}


def test_a_good_recording_has_topics_motion_and_labels(tmp_path, segmenter):
    found = by_name(recording(write_bag(tmp_path / "bag"), segmenter))

    assert found["topics"].found == "clouds: /points (14); odometry: /odom (15)"
    assert "from bag odometry, in frame 'odom': 2.6 m, at most 2.0 m/s" in found["motion"].found
    assert "mean confidence" in found["labels"].found
    assert "one comes every 100 ms" in found["speed"].found
    assert not [f for f in found.values() if f.state == "fail"]


def test_each_cloud_topic_is_checked(tmp_path):
    bag = write_bag(tmp_path / "bag", number=3, topics=("/front", "/rear"))

    names = [finding.name for finding in recording(bag)]

    assert names.count("clouds") == 2
    assert {"/front", "/rear"} <= set(names)
    assert [finding.name for finding in recording(bag, topic="/rear")].count("clouds") == 1


def test_clouds_without_poses_are_counted(tmp_path):
    path = tmp_path / "bag"
    with BagWriter(path) as bag:
        for frame in map(street, range(10)):
            bag.write_cloud("/points", encode_frame(frame), frame.stamp, frame.frame_id)
        for frame in map(street, range(5)):
            bag.write_odometry("/odom", frame.stamp, np.eye(4), "odom", "lidar")

    found = by_name(recording(path))["motion"]

    assert found.state == "warn"
    assert "5 of 10 clouds have no pose" in found.found


def test_a_file_that_is_no_recording_fails_with_the_reason(tmp_path):
    (found,) = recording(tmp_path / "none.bag")

    assert found.state == "fail"
    assert "no such file" in found.found


def test_a_recording_without_clouds_fails(tmp_path):
    found = by_name(recording(write_bag(tmp_path / "bag", topics=())))

    assert found["topics"].state == "fail"


def test_a_folder_of_scans_is_a_recording(tmp_path):
    for index in range(3):
        points = np.column_stack([street(index).points, street(index).intensity])
        points.astype("<f4").tofile(tmp_path / f"{index:06d}.bin")

    found = by_name(recording(tmp_path))

    assert found["topics"].found == f"clouds: {tmp_path.name} (3)"
    assert "3 in 0.2 s, 10.0 Hz, 600 points" in found["clouds"].found


def test_what_a_recording_lost_is_warned_of(tmp_path):
    (file,) = write_bag(tmp_path / "bag", number=200).glob("*.mcap")  # of several chunks
    cut = tmp_path / "cut.mcap"
    cut.write_bytes(file.read_bytes()[: file.stat().st_size * 9 // 10])

    assert by_name(recording(cut))["losses"].state == "warn"
