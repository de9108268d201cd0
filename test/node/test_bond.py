# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The bond, with stand-ins for the package `bond`, which has no wheel, and for the node."""

import sys
from dataclasses import dataclass, field
from types import ModuleType, SimpleNamespace

import pytest

pytest.importorskip("rclpy", reason="needs rclpy: a ROS 2 installation or its wheels")

from builtin_interfaces.msg import Time

from minkowski_perception.node.bond import Bond


@dataclass
class Status:
    """Definition of bond/msg/Status."""

    header: SimpleNamespace = field(default_factory=lambda: SimpleNamespace(stamp=Time()))
    id: str = ""
    instance_id: str = ""
    active: bool = False
    heartbeat_timeout: float = 0.0
    heartbeat_period: float = 0.0


class FakeNode:
    """Delivers what is published on the topic of bonds to the node itself, as DDS does."""

    def __init__(self, name="perception"):
        self._name = name
        self.published, self.callbacks, self.topics = [], [], set()

    def get_name(self):
        return self._name

    def get_clock(self):
        return SimpleNamespace(now=lambda: SimpleNamespace(to_msg=lambda: Time(sec=7)))

    def create_publisher(self, kind, topic, qos):
        assert kind is Status
        self.topics.add(topic)
        return SimpleNamespace(publish=self.publish)

    def create_subscription(self, kind, topic, callback, qos):
        assert kind is Status
        self.topics.add(topic)
        self.callbacks.append(callback)

    def publish(self, status):
        self.published.append(status)
        self.receive(status)

    def receive(self, status):
        for callback in self.callbacks:
            callback(status)

    @property
    def activity(self):
        return [status.active for status in self.published]


@pytest.fixture
def node(monkeypatch):
    package, messages = ModuleType("bond"), ModuleType("bond.msg")
    messages.Status = Status
    monkeypatch.setitem(sys.modules, "bond", package)
    monkeypatch.setitem(sys.modules, "bond.msg", messages)
    return FakeNode()


def manager(active, instance="manager", name="perception"):
    return Status(id=name, instance_id=instance, active=active)


def test_a_bond_beats_until_it_ends(node):
    bond = Bond(node, 0.1)
    bond.beat()
    assert node.published == []
    bond.form()
    bond.beat()
    node.receive(manager(active=True))
    bond.beat()
    bond.end()
    bond.beat()
    bond.end()
    assert node.topics == {"bond"}
    assert node.activity == [True, True, False]
    assert {status.id for status in node.published} == {"perception"}
    assert len({status.instance_id for status in node.published}) == 1
    first = node.published[0]
    assert (first.heartbeat_timeout, first.heartbeat_period) == (4.0, 0.1)
    assert first.header.stamp.sec == 7


def test_each_bond_has_an_instance_of_its_own(node):
    bond = Bond(node, 0.1)
    for _ in range(2):
        bond.form()
        bond.beat()
        bond.end()
    assert node.activity == [True, False, True, False]
    assert len({status.instance_id for status in node.published}) == 2


def test_the_end_of_the_other_side_is_answered_and_ends_the_bond(node):
    bond = Bond(node, 0.1)
    bond.form()
    node.receive(manager(active=True))
    bond.beat()
    node.receive(manager(active=False))
    node.receive(manager(active=False))
    bond.beat()
    assert node.activity == [True, False]


@pytest.mark.parametrize(
    "stray",
    [manager(False, name="other_node"), manager(False, instance="of_an_earlier_bond")],
)
def test_the_end_of_another_bond_does_not_end_this_one(node, stray):
    bond = Bond(node, 0.1)
    bond.form()
    node.receive(manager(active=True))
    node.receive(stray)
    bond.beat()
    assert node.activity == [True]


def test_without_the_package_there_is_no_bond(monkeypatch):
    monkeypatch.setitem(sys.modules, "bond", None)
    node = FakeNode()
    bond = Bond(node, 0.1)
    assert not bond.is_available
    bond.form()
    bond.beat()
    bond.end()
    assert (node.topics, node.published) == (set(), [])
