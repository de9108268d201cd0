# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The SROS 2 policy of the node: its form, and that it allows what the node does and no more."""

import fnmatch
import os
import time
from pathlib import Path
from xml.etree import ElementTree

import pytest

pytest.importorskip("rclpy", reason="needs rclpy: a ROS 2 installation or its wheels")

import rclpy
from rclpy.lifecycle import TransitionCallbackReturn
from tiny_models import save_tiny

from minkowski_perception.node.perception_node import PerceptionNode

FILE = Path(__file__).parents[2] / "config" / "security" / "policy.xml"

# Elements of a policy of version 0.2.0, with their attributes and the elements inside.
FORM = {
    "policy": ({"version"}, {"enclaves"}),
    "enclaves": (set(), {"enclave"}),
    "enclave": ({"path"}, {"profiles"}),
    "profiles": (set(), {"profile"}),
    "profile": ({"ns", "node"}, {"topics", "services"}),
    "topics": ({"publish", "subscribe"}, {"topic"}),
    "services": ({"reply", "request"}, {"service"}),
    "topic": (set(), set()),
    "service": (set(), set()),
}

ONLY_SOMETIMES = {
    "/bond": "needs bond, and a manager",
    "/minkowski_perception/dynamic": "models with the output `moving` have it",
    "/minkowski_perception/label_info": "needs vision_msgs",
    "/minkowski_perception/get_type_description": "since Jazzy",
    "/clock": "with use_sim_time",
    "/tf": "needs tf2_ros",
    "/tf_static": "needs tf2_ros",
}
"""Names in the policy that this node may lack, and why."""


@pytest.fixture(scope="module")
def policy():
    return ElementTree.parse(FILE).getroot()


def test_the_policy_has_the_form_of_sros_2(policy):
    assert policy.attrib == {"version": "0.2.0"}
    for element in policy.iter():
        attributes, inside = FORM[element.tag]
        assert set(element.attrib) <= attributes
        assert {child.tag for child in element} <= inside
        assert bool(len(element)) == bool(inside), f"<{element.tag}>"
        if element.tag in ("topics", "services"):
            assert list(element.attrib.values()) == ["ALLOW"]
        if not inside:
            assert element.text == element.text.strip() != ""


def test_the_policy_is_for_one_enclave_and_one_node(policy):
    [enclave] = policy.iter("enclave")
    [profile] = policy.iter("profile")
    assert enclave.get("path") == "/minkowski_perception"
    assert profile.attrib == {"ns": "/", "node": "minkowski_perception"}


def allowed(policy, element, rule):
    """Return the full names that the policy allows for a rule, such as publish."""
    names = [name.text for group in policy.iter(element) if group.get(rule) for name in group]
    assert len(set(names)) == len(names)
    return {"/" + n.replace("~", "minkowski_perception").lstrip("/") for n in names}


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    folder = tmp_path_factory.mktemp("security")
    save_tiny(folder / "tiny", dimension=4, kernel="causal")
    parameters = {"model": str(folder / "tiny.yaml"), "engine": "torch", "autostart": False}
    parameters |= {"map": True, "timing": True, "ego_motion": "auto"}
    context = rclpy.Context()
    # A domain of its own: in the others, tests before have nodes of the same name, killed or not.
    worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")
    rclpy.init(context=context, domain_id=215 + int(worker) % 16)
    values = [rclpy.Parameter(name, value=value) for name, value in parameters.items()]
    node = PerceptionNode(context=context, parameter_overrides=values)
    assert node.trigger_configure() == TransitionCallbackReturn.SUCCESS
    yield node
    node.stop()
    node.destroy_node()
    rclpy.shutdown(context=context)


@pytest.mark.parametrize(
    ("element", "rule", "names_of"),
    [
        ("topics", "publish", "get_publisher_names_and_types_by_node"),
        ("topics", "subscribe", "get_subscriber_names_and_types_by_node"),
        ("services", "reply", "get_service_names_and_types_by_node"),
        ("services", "request", "get_client_names_and_types_by_node"),
    ],
)
def test_the_policy_allows_what_the_node_has_and_no_more(policy, node, element, rule, names_of):
    wanted = allowed(policy, element, rule)
    deadline = time.monotonic() + 120.0
    needed = wanted - ONLY_SOMETIMES.keys()
    found = []
    while not all(fnmatch.filter(found, name) for name in needed) and time.monotonic() < deadline:
        time.sleep(0.05)
        listed = getattr(node, names_of)(node.get_name(), node.get_namespace())
        found = [name for name, _ in listed]
    forbidden = [name for name in found if not any(fnmatch.fnmatch(name, w) for w in wanted)]
    assert not forbidden, "add them to config/security/policy.xml"
    unused = [name for name in needed if not fnmatch.filter(found, name)]
    assert not unused, "remove them from config/security/policy.xml"
