# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("rosbags", reason="bags need the rosbags package")

from minkowski_perception.codec import UINT8, Field, append_fields, encode_frame
from minkowski_perception.frame import Frame
from minkowski_perception.lab.datasets.catalogue import DatasetError, open_dataset
from minkowski_perception.labels import LabelSet
from minkowski_perception.recordings.bags import BagError, BagWriter

SECOND = 10**9
URBAN = LabelSet.load("urban10")


def as_message(frame):
    cloud = encode_frame(frame)
    cloud.header = SimpleNamespace(stamp=SimpleNamespace(sec=1, nanosec=0), frame_id="lidar")
    return cloud


def write(path, topics, labels=(0, 7, 200), poses=True):
    """Write three clouds per topic, identified by their points; the sensor moves 1 m per cloud."""
    with BagWriter(path) as bag:
        for i in range(3):
            stamp = (10 + i) * SECOND
            for number, (topic, field) in enumerate(topics.items()):
                frame = Frame(
                    points=np.full((3, 3), 10 * number + i, np.float32),
                    labels=np.array(labels, np.int32),
                    stamp=stamp,
                    frame_id="lidar",
                )
                bag.write_cloud(topic, encode_frame(frame, field), stamp, "lidar")
            if poses:
                pose = np.eye(4)
                pose[0, 3] = i
                bag.write_odometry("/odom", stamp, pose, "odom", "lidar")
    return path


def test_each_topic_with_labels_is_a_sequence_with_poses_of_the_bag(tmp_path):
    topics = {"/front": "label", "/rear": "true_label", "/bare": None}
    root = write(tmp_path / "bag", topics)
    dataset = open_dataset("bag", root, bag_labels=URBAN)
    assert {n: len(s) for n, s in dataset.sequences.items()} == {"/front": 3, "/rear": 3}
    assert dataset.label_set is URBAN
    for number, topic in enumerate(("/front", "/rear")):
        for i, frame in enumerate(dataset.sequences[topic]):
            assert (frame.points == 10 * number + i).all()
            assert frame.labels.tolist() == [0, 7, 255]
            assert frame.pose[0, 3] == i
    assert dataset.sequences["/rear"][-1].stamp == 12 * SECOND


def test_true_labels_take_precedence_over_model_labels(tmp_path):
    with BagWriter(tmp_path / "bag") as bag:
        frame = Frame(np.zeros((2, 3), np.float32), SECOND, "lidar", labels=np.array([1, 2], "u1"))
        cloud = encode_frame(frame, "true_label")
        cloud.fields.append(Field("label", offset=0, datatype=UINT8))  # invalid: bytes of x
        bag.write_cloud("/points", cloud, SECOND, "lidar")
    frame = open_dataset("bag", tmp_path / "bag", bag_labels=URBAN).sequences["/points"][0]
    assert frame.labels.tolist() == [1, 2]
    assert frame.pose is None


def test_labels_default_to_semantickitti_and_can_be_mapped_to_another_set(tmp_path):
    root = write(tmp_path / "bag", {"/points": "label"}, labels=(8, -1, 70000), poses=False)
    dataset = open_dataset("bag", root)
    assert dataset.label_set.name == "semantickitti19"
    assert dataset.sequences["/points"][0].labels.tolist() == [8, 255, 255]
    groups = LabelSet.load("outdoor_groups7")
    frame = open_dataset("bag", root, labels=groups).sequences["/points"][0]
    assert frame.labels.tolist() == [groups.names.index("ground"), 255, 255]


def test_labels_with_a_confidence_beside_them_were_made_by_a_model(tmp_path):
    frame = Frame(np.zeros((2, 3), np.float32), SECOND, "lidar")
    labels = np.array([1, 2], np.uint8)
    written = {"label": labels, "confidence": np.ones(2, np.float32)}
    for name, columns in (
        ("by_model", written),
        ("by_people", {"label": labels}),
        ("both", {**written, "true_label": labels}),
    ):
        with BagWriter(tmp_path / name) as bag:
            bag.write_cloud("/points", append_fields(as_message(frame), columns), SECOND, "lidar")
        assert open_dataset("bag", tmp_path / name).truth_by_model == (name == "by_model")


def test_a_bag_without_labels_or_with_a_split_is_refused(tmp_path):
    root = write(tmp_path / "bag", {"/points": None})
    with pytest.raises(DatasetError, match="need a field true_label or label, but /points has x"):
        open_dataset("bag", root)
    with pytest.raises(DatasetError, match="unknown split 'val': bags have no splits"):
        open_dataset("bag", root, "val")
    with pytest.raises(BagError, match="no bag at"):
        open_dataset("bag", tmp_path / "none")


def test_a_real_bag_equals_the_same_frames_in_files(shared_data):
    bag = open_dataset("bag", shared_data / "ika_bag_mcap", bag_labels=URBAN).sequences["/points"]
    files = open_dataset("ika", shared_data / "ika_vlp32").sequences["00"]
    assert len(bag) == len(files) == 32
    for i in (0, 31):
        one, other = bag[i], files[i]
        np.testing.assert_array_equal(one.labels, other.labels)
        np.testing.assert_allclose(one.points, other.points, atol=1e-6)
        np.testing.assert_allclose(one.pose, other.pose, atol=1e-5)
        assert one.stamp == other.stamp
