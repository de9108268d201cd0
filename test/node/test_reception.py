# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
from types import SimpleNamespace

import pytest

pytest.importorskip("rclpy", reason="needs rclpy: a ROS 2 installation or its wheels")

from rclpy.qos import QoSProfile
from sensor_msgs.msg import PointCloud2

from minkowski_perception.node import reception as module
from minkowski_perception.node.reception import Reception


class Node:
    """Stands for a node with one subscription, on a topic of so many publishers."""

    publishers = 1

    def create_subscription(self, kind, topic, callback, qos, event_callbacks=None):
        self.callback, self.events = callback, event_callbacks
        return SimpleNamespace(topic_name=f"/{topic}")

    def count_publishers(self, topic):
        return self.publishers


@pytest.fixture
def node():
    return Node()


def receive(node, number, frame_id="lidar"):
    message = PointCloud2()
    message.header.frame_id = frame_id
    node.callback(message, {"publication_sequence_number": number})


def new(node):
    return Reception(node, "cloud", QoSProfile(depth=1), lambda message: None)


def lose(node, count):
    node.events.message_lost(SimpleNamespace(total_count=9, total_count_change=count))


def test_a_jump_of_the_numbers_is_a_loss_and_a_new_publisher_is_none(node):
    reception = new(node)
    for number in (7, 8, 11, 12, 1, 2, 4):
        receive(node, number)
    lose(node, 3)  # the same losses, as the middleware counts them
    assert reception.lost == 3


def test_the_numbers_of_several_publishers_are_not_compared(node):
    reception = new(node)
    node.publishers = 2
    for number in (1000, 5, 1001, 6):
        receive(node, number)
    assert reception.lost == 0
    lose(node, 3)
    assert reception.lost == 3


def test_a_publisher_that_comes_and_goes_is_no_loss(node):
    reception = new(node)
    for number in (1000, 1001, 1, 1002, 2, 1003, 1004, 1007):
        receive(node, number)  # the graph does not show the second one
    assert reception.lost == 2


def test_without_numbers_the_event_of_the_middleware_counts(node):
    reception = new(node)
    receive(node, None)
    lose(node, 2)
    assert reception.lost == 2


def test_a_middleware_without_the_event_is_no_error(node):
    create = node.create_subscription

    def refuses(*args, event_callbacks=None):
        if event_callbacks is not None:
            raise module.UnsupportedEventTypeError("not supported")
        return create(*args)

    node.create_subscription = refuses
    reception = new(node)
    receive(node, 1)
    receive(node, 3)
    assert reception.lost == 1


def test_the_frames_are_those_of_the_last_seconds(node, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    reception = new(node)
    receive(node, 1, "rear")
    now[0] += 3.0
    receive(node, 2, "front")
    assert reception.frames == ["front", "rear"]
    now[0] += 3.0
    assert reception.frames == ["front"]
    for i in range(1000):
        receive(node, i, f"frame{i}")
    assert len(reception.frames) <= 8


def test_clouds_of_other_frames_are_passed_over_and_none_without_a_frame_to_look_for(node):
    received = []
    reception = Reception(node, "cloud", QoSProfile(depth=1), received.append, "rear")
    for number, frame_id in enumerate(("front", "rear", "front", "rear")):
        receive(node, number, frame_id)
    assert [message.header.frame_id for message in received] == ["rear", "rear"]
    assert (reception.passed_over, reception.lost) == (2, 0)
    assert reception.frames == ["front", "rear"]
