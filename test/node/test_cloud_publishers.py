# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs rclpy: a ROS 2 installation or its wheels")

import rclpy
from rig import RELIABLE, cloud_message
from sensor_msgs.msg import PointCloud2

from minkowski_perception.clouds import Cloud, Selection, select
from minkowski_perception.codec import decode, encode_frame
from minkowski_perception.frame import Frame
from minkowski_perception.labels import LabelSet
from minkowski_perception.node.channel import _selections
from minkowski_perception.node.cloud_publishers import CloudPublishers
from minkowski_perception.node.parameters import ConfigurationError
from minkowski_perception.segmenter import Segmentation
from minkowski_perception.settings import Settings
from minkowski_perception.stream import Labelled

INDOOR = LabelSet.load("indoor8")
CLOUDS = {
    "floor": Cloud(classes=("floor",)),
    "dynamic": Cloud(moving=0.5),
    "near": Cloud(range=(None, 1.5), layout="xyz"),
}


@pytest.fixture
def bench():
    """A node that owns the publishers, and what subscribers receive by topic."""
    context = rclpy.Context()
    rclpy.init(context=context)
    owner = rclpy.create_node("owner", context=context)
    reader = rclpy.create_node("reader", context=context)
    executor = rclpy.executors.SingleThreadedExecutor(context=context)
    executor.add_node(reader)
    publishers = CloudPublishers(owner, select(CLOUDS, INDOOR, ["moving"]), "~/{}".format)
    received = {}

    def wait_for(condition):
        deadline = time.monotonic() + 60.0
        while not condition():
            assert time.monotonic() < deadline
            executor.spin_once(timeout_sec=0.02)

    def subscribe(name):
        received[name] = []
        reader.create_subscription(PointCloud2, f"/owner/{name}", received[name].append, RELIABLE)
        publisher = publishers._clouds[name][1]
        wait_for(lambda: publisher.get_subscription_count() == 1)

    yield publishers, subscribe, received, wait_for
    publishers.close()
    executor.shutdown()
    for node in (owner, reader):
        node.destroy_node()
    rclpy.shutdown(context=context)


def labelled(pose, moving, turn=None):
    """Return a message of three points, at 1, 2 and 3 m, and its labels.

    `turn` takes the points of a tilted sensor upright, as `Level` does.
    """
    points = np.diag([1.0, 2.0, 3.0]).astype(np.float32)
    frame = Frame(points, 10**9, "lidar", intensity=np.ones(3, np.float32), pose=pose)
    found = Segmentation(
        np.array([0, 1, 0], np.uint8),
        np.ones(3, np.float32),
        INDOOR,
        {},
        1,
        1,
        {"moving": np.array(moving, np.float32)},
    )
    turn = np.eye(3) if turn is None else turn
    upright = replace(frame, points=points @ turn.T.astype(np.float32))
    result = Labelled(upright, frame, turn[2], found, encode_frame(frame), {})
    return cloud_message(frame), result


def test_each_subscribed_cloud_is_published_with_the_header_of_the_input(bench):
    publishers, subscribe, received, wait_for = bench
    assert publishers.topics == ["/owner/floor", "/owner/dynamic", "/owner/near"]
    for name in CLOUDS:
        subscribe(name)
    message, result = labelled(np.eye(4), [0.1, 0.9, np.nan])
    assert publishers.publish(message, result)
    wait_for(lambda: all(received.values()))
    distances = {
        name: np.linalg.norm(decode(cloud).points, axis=1).tolist()
        for name, [cloud] in received.items()
    }
    assert distances == {"floor": [1.0, 3.0], "dynamic": [2.0], "near": [1.0]}
    for [cloud] in received.values():
        assert cloud.header == message.header
        assert (cloud.height, cloud.is_dense) == (1, True)
    assert [f.name for f in received["floor"][0].fields] == [f.name for f in message.fields]
    assert received["near"][0].point_step == 12
    assert publishers.without_motion == []


def test_a_cloud_without_subscribers_is_not_computed(bench, monkeypatch):
    publishers, subscribe, received, wait_for = bench
    asked = []
    rows = Selection.rows
    monkeypatch.setattr(
        Selection, "rows", lambda self, *args: asked.append(self.cloud) or rows(self, *args)
    )
    message, result = labelled(np.eye(4), [0.1, 0.9, np.nan])
    assert not publishers.publish(message, result)
    assert asked == []
    subscribe("floor")
    assert publishers.publish(message, result)
    assert asked == [CLOUDS["floor"]]
    wait_for(lambda: received["floor"])


def test_moving_points_without_known_motion_are_none_and_their_cloud_is_named(bench):
    publishers, subscribe, received, wait_for = bench
    subscribe("floor")
    message, result = labelled(None, [np.nan] * 3)
    publishers.publish(message, result)
    assert publishers.without_motion == []
    subscribe("dynamic")
    publishers.publish(message, result)
    wait_for(lambda: received["dynamic"])
    assert received["dynamic"][0].width == 0
    assert publishers.without_motion == ["dynamic"]
    message, result = labelled(np.eye(4), [np.nan] * 3)
    publishers.publish(message, result)
    assert publishers.without_motion == []


def test_the_points_of_a_tilted_sensor_are_published_as_they_came(bench):
    publishers, subscribe, received, wait_for = bench
    subscribe("near")
    turn = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    message, result = labelled(np.eye(4), [0.0] * 3, turn)
    publishers.publish(message, result)
    wait_for(lambda: received["near"])
    assert decode(received["near"][0]).points.tolist() == [[1.0, 0.0, 0.0]]


@pytest.mark.parametrize(
    ("clouds", "message"),
    [
        ("{a: [flor]}", r"clouds\.a\.classes\[0\]: unknown class 'flor' .* did you mean 'floor'"),
        ("{a: {moving: 0.5}}", r"clouds\.a\.moving: the model does not tell what moves"),
        ("{a: ", "is not plain YAML"),
    ],
)
def test_clouds_that_do_not_suit_the_model_refuse_the_configuration(clouds, message):
    network = SimpleNamespace(options=SimpleNamespace(heads={"classes": len(INDOOR)}))
    segmenter = SimpleNamespace(label_set=INDOOR, model=SimpleNamespace(network=network))
    with pytest.raises(ConfigurationError, match=message):
        _selections(Settings(clouds=clouds), segmenter)
