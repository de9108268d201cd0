# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""System tests of several sensors in one node, in its own process."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs rclpy: a ROS 2 installation or its wheels")

from rig import RELIABLE, assert_balanced, cloud_message
from sensor_msgs.msg import PointCloud2
from tiny_models import save_tiny
from visualization_msgs.msg import MarkerArray

from minkowski_perception.codec import decode
from minkowski_perception.segmenter import Segmenter
from minkowski_perception.trial import trial_frame

pytestmark = pytest.mark.system

START = 1_700_000_000 * 10**9


def frame(index, frame_id, seed=0):
    """Frame of a street, a tenth of a second after the one before, in front of a sensor."""
    made = trial_frame(2000, seed)
    return replace(made, stamp=START + index * 10**8, frame_id=frame_id, pose=np.eye(4))


def test_two_lidars_and_a_camera_are_labelled_by_two_models_in_one_node(tiny_rig, tmp_path):
    save_tiny(tmp_path / "indoor", dimension=3, labels="indoor8")
    indoor = tmp_path / "indoor.yaml"
    running = tiny_rig(
        "count_loads",
        streams="[front, rear, camera]",
        timing=True,
        **{"rear.cloud_topic": "rear/points", "rear.averaging": 1},
        **{"camera.cloud_topic": "camera/points", "camera.model": indoor},
    ).ready()
    models = {"front": tmp_path / "tiny.yaml", "rear": tmp_path / "tiny.yaml", "camera": indoor}
    topics = {"front": "cloud", "rear": "rear/points", "camera": "camera/points"}
    senders, labelled, legends = {}, {name: [] for name in models}, {name: [] for name in models}
    for name in models:
        root, subscribe = f"/minkowski_perception/{name}", running.node.create_subscription
        senders[name] = running.node.create_publisher(PointCloud2, topics[name], RELIABLE)
        subscribe(PointCloud2, f"{root}/labelled", labelled[name].append, RELIABLE)
        subscribe(MarkerArray, f"{root}/legend", legends[name].append, running.latched)
        running.wait_for(lambda name=name: senders[name].get_subscription_count() > 0)
        running.wait_for(lambda root=root: running.node.count_publishers(f"{root}/labelled") > 0)

    frames = {name: [frame(i, name, seed) for i in range(3)] for seed, name in enumerate(models)}
    for index in range(3):
        for name, sender in senders.items():
            sender.publish(cloud_message(frames[name][index]))
        running.wait_for(lambda n=index + 1: all(len(each) == n for each in labelled.values()))

    for name, model in models.items():
        averaging = 1 if name == "rear" else 10
        segmenter = Segmenter.load(model, engine="torch", averaging=averaging)
        for sent, received in zip(frames[name], labelled[name], strict=True):
            assert received.header.frame_id == name
            found = decode(received, label_field="label").labels
            assert np.array_equal(found, segmenter.segment(sent).labels), name
    running.fresh_values()
    assert {e.name: e.hardware_id for e in running.entries.values()} == {
        "minkowski_perception: front": "/cloud",
        "minkowski_perception: rear": "/rear/points",
        "minkowski_perception: camera": "/camera/points",
    }
    for name in models:
        values = running.stream(name)
        assert (values["received"], values["labelled"], values["dropped"]) == ("3", "3", "0")
        assert float(values["turn_ms"]) >= 0.0
    assert [running.stream(name)["averaging"] for name in models] == ["10", "1", "10"]
    assert [running.stream(name)["model"] for name in models] == ["tiny", "tiny", "indoor"]
    running.wait_for(lambda: all(legends.values()))
    assert running.log.read_text().count("loads ") == 2
    assert running.node.count_publishers("/minkowski_perception/labelled") == 0
    assert running.node.count_publishers("/minkowski_perception/rear/timing/turn") == 1

    assert running.set_parameter("averaging", 5)
    assert running.set_parameter("crf", False)
    for name, sender in senders.items():
        sender.publish(cloud_message(frame(4, name)))
    running.wait_for(lambda: all(len(each) == 4 for each in labelled.values()))
    running.fresh_values()
    assert [running.stream(name)["averaging"] for name in models] == ["5", "1", "5"]
    assert running.stop() == 0
    assert {name: running.stream(name)["state"] for name in models} == dict.fromkeys(
        models, "finalized"
    )


def test_two_frames_of_one_topic_are_two_streams_and_share_a_slow_machine(tiny_rig):
    running = tiny_rig(
        "slow", streams="[front, rear]", **{"front.by_frame": "a", "rear.by_frame": "b"}
    ).ready()
    names, sent = ("front", "rear"), 0

    def both_are_labelled_and_superseded():
        """Publish a cloud of each frame, and look at the counts of the last report."""
        nonlocal sent
        for frame_id in "ab":
            running.clouds.publish(cloud_message(frame(sent, frame_id)))
        sent += 1
        running.spin(0.1)
        counts = [running.stream(name) for name in names]
        return all(
            int(values[key]) >= 4
            for values in counts
            for key in ("labelled", "dropped_superseded")
        )

    running.wait_for(both_are_labelled_and_superseded)
    running.wait_for(lambda: all(running.stream(name)["pending"] == "0" for name in names))
    running.fresh_values()
    front, rear = map(running.stream, names)
    for values in (front, rear):
        assert_balanced(values)
        assert int(values["received"]) <= sent
        assert "resets_frame_changed" not in values
    fewer, more = sorted(int(values["labelled"]) for values in (front, rear))
    assert 2 * fewer >= more
    assert running.entries["minkowski_perception: rear"].hardware_id == "/cloud (b)"
