# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The bond, with stand-ins for the package `bond`, which has no wheel, and for the node."""

import sys
from dataclasses import dataclass, field
from types import ModuleType, SimpleNamespace

import pytest

pytest.importorskip("rclpy", reason="needs rclpy: a ROS 2 installation or its wheels")

import rclpy
from builtin_interfaces.msg import Time
from rclpy.parameter import Parameter

from minkowski_perception.node.bond import Bond
from minkowski_perception.node.perception_node import PerceptionNode


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


@pytest.fixture
def perception_node(monkeypatch):
    """Return a function that makes a node without streams, and the calls of its bond."""
    calls, nodes = [], []
    monkeypatch.setattr(Bond, "form", lambda self: calls.append("form"))
    monkeypatch.setattr(Bond, "end", lambda self: calls.append("end"))
    context = rclpy.Context()
    rclpy.init(context=context)

    def make(autostart):
        given = [Parameter("autostart", value=autostart)]
        nodes.append(PerceptionNode(context=context, parameter_overrides=given))
        nodes[0]._channels = []
        return nodes[0], calls

    yield make
    nodes[0].destroy_node()
    rclpy.shutdown(context=context)


def test_a_node_with_a_manager_is_bonded_while_it_is_active(perception_node):
    node, calls = perception_node(autostart=False)
    for _ in range(2):
        node.on_activate(None)
        assert calls == ["form"]
        node.on_deactivate(None)
        assert calls == ["form", "end"]
        calls.clear()
    node.on_activate(None)
    node.on_shutdown(None)
    assert calls == ["form", "end"]


def test_a_node_that_starts_by_itself_has_no_bond(perception_node):
    node, calls = perception_node(autostart=True)
    node.on_activate(None)
    assert "form" not in calls
