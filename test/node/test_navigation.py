# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""System test of what a navigation stack uses of the node, over DDS, as the documentation says."""

import numpy as np
import pytest
import yaml

pytest.importorskip("rclpy", reason="needs rclpy: a ROS 2 installation or its wheels")

from cloud_messages import street
from doc_snippets import ROOT, snippets
from rclpy.qos import ReliabilityPolicy
from rig import NAME, RELIABLE, Rig, cloud_message
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import Float32
from std_srvs.srv import Trigger
from tiny_models import save_tiny

from minkowski_perception.clouds import read_clouds, select
from minkowski_perception.codec import decode, field_values
from minkowski_perception.labels import LabelSet
from minkowski_perception.node.timing_publishers import STAGES
from minkowski_perception.segmenter import Segmentation
from minkowski_perception.settings import Settings

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("navigation")]  # they share a node

HEADS = {"classes": 19, "moving": 1}
LABELS = LabelSet.load("semantickitti19")
ROBOT, NODE = ROOT / "docs" / "robot.md", ROOT / "docs" / "node.md"

SOURCE_KEYS = {
    "topic",
    "data_type",
    "marking",
    "clearing",
    "min_obstacle_height",
    "max_obstacle_height",
    "obstacle_max_range",
    "raytrace_max_range",
}
"""Parameters of an observation source (docs.nav2.org) that do not name a frame."""


def snippet(page, name):
    """Return the YAML block of a page with a name."""
    [found] = [s.text for s in snippets(page) if s.text.startswith(f"# {name}\n")]
    return found


CLOUDS = yaml.safe_load(snippet(NODE, "my_clouds.yaml"))["/**"]["ros__parameters"]["clouds"]


@pytest.fixture(scope="module")
def rig(tmp_path_factory):
    folder = tmp_path_factory.mktemp("navigation")
    save_tiny(folder / "tiny", dimension=4, kernel="causal", heads=HEADS)
    parameters = folder / "my_clouds.yaml"
    parameters.write_text(snippet(NODE, "my_clouds.yaml"))
    running = Rig(
        folder / "node.log",
        parameters_file=parameters,
        model=folder / "tiny.yaml",
        ego_motion="none",
        entropy=True,
        timing=True,
    )
    yield running.ready()
    assert running.stop() == 0
    running.close()


def subscribed(running, name, kind=PointCloud2):
    """Return the list that the messages of a topic of the node are appended to."""
    received = []
    running.node.create_subscription(kind, f"{NAME}/{name}", received.append, RELIABLE)
    running.wait_for(lambda: running.node.count_publishers(f"{NAME}/{name}") == 1)
    return received


def label(running):
    """Label the next cloud of a street, and return it with its labels."""
    expected = len(running.labelled) + 1
    running.publish(cloud_message(street(expected)))
    running.wait_for(lambda: len(running.labelled) == expected)
    return running.labelled[-1]


def test_clouds_of_selected_points(rig):
    expected = select(read_clouds(CLOUDS), LABELS, HEADS)
    assert list(expected) == ["ground", "obstacles", "static", "dynamic"]
    received = {name: subscribed(rig, name) for name in expected}
    for _ in range(100):  # until the node has found the subscribers
        labelled = label(rig)
        rig.spin(0.2)
        if all(received.values()):
            break
    labelled = label(rig)
    stamp = labelled.header.stamp
    rig.wait_for(lambda: all(c[-1].header.stamp == stamp for c in received.values()))

    frame = decode(labelled)
    found = Segmentation(
        *(field_values(labelled, name) for name in ("label", "confidence")),
        LABELS,
        {},
        1,
        1,
        {"moving": field_values(labelled, "moving")},
    )
    for name, selection in expected.items():
        cloud = received[name][-1]
        assert cloud.header == labelled.header
        points = frame.points[selection.rows(frame, found)]
        np.testing.assert_array_equal(decode(cloud).points, points, name)
    divided = sum(received[name][-1].width for name in ("static", "dynamic"))
    assert divided == np.count_nonzero(frame.measured) > 0  # the motion is known
    assert float(rig.fresh_values()["clouds_ms"]) > 0.0


def test_the_labelled_cloud_has_the_entropy(rig):
    labelled = label(rig)
    assert [f.name for f in labelled.fields][-3:] == ["rgb", "moving", "entropy"]
    entropy = field_values(labelled, "entropy")
    assert ((entropy >= 0.0) & (entropy <= np.log(19) + 1e-6)).all()


def test_a_new_stream_begins_on_request(rig):
    label(rig)
    assert not np.isnan(field_values(label(rig), "moving")).any()
    answer = rig.call(Trigger, "reset", Trigger.Request())
    assert (answer.success, answer.message) == (True, "a new stream begins with the next cloud")
    rig.wait_for(lambda: rig.values.get("resets_requested") == "1")
    assert np.isnan(field_values(label(rig), "moving")).all()  # it has no past
    assert not np.isnan(field_values(label(rig), "moving")).any()
    assert rig.fresh_values()["resets_requested"] == "1"


def test_the_time_of_each_stage_is_a_number_to_plot(rig):
    latency = subscribed(rig, "timing/latency", Float32)
    for _ in range(100):  # until the node has found the subscriber
        label(rig)
        rig.spin(0.2)
        if latency:
            break
    assert latency[-1].data > 0.0
    stages = {key.removesuffix("_ms") for key in rig.fresh_values() if key.endswith("_ms")}
    assert stages <= {*STAGES}


def test_the_configurations_for_navigation_name_what_the_node_publishes(rig):
    costmap = yaml.safe_load(snippet(ROBOT, "nav2_costmap.yaml"))
    costmap = costmap["local_costmap"]["local_costmap"]["ros__parameters"]
    layer = costmap["voxel_layer"]
    sources = {name: layer[name] for name in layer["observation_sources"].split()}
    assert {*costmap["plugins"]} <= {*costmap}
    assert costmap["global_frame"] == Settings().fixed_frame
    assert [(s["marking"], s["clearing"]) for s in sources.values()] == [
        (True, False),
        (False, True),
    ]
    for source in sources.values():
        assert {*source} <= SOURCE_KEYS  # no frame: Nav2 takes that of the clouds
        assert source["data_type"] == PointCloud2.__name__
    assert f"cloud_topic:={sources['clearing']['topic']}" in ROBOT.read_text()

    slam = yaml.safe_load(snippet(ROBOT, "lio_sam.yaml"))["/**"]["ros__parameters"]
    for topic in (sources["marking"]["topic"], slam["pointCloudTopic"]):
        rig.wait_for(lambda topic=topic: rig.node.count_publishers(topic) == 1)
        [publisher] = rig.node.get_publishers_info_by_topic(topic)
        assert publisher.topic_type == "sensor_msgs/msg/PointCloud2"
        assert publisher.qos_profile.reliability == ReliabilityPolicy.RELIABLE  # suits both
        assert f"{publisher.node_namespace}{publisher.node_name}" == NAME

    manager = yaml.safe_load(snippet(ROBOT, "lifecycle_manager.yaml"))
    parameters = manager["lifecycle_manager_perception"]["ros__parameters"]
    assert parameters["node_names"] == [NAME.removeprefix("/")]
