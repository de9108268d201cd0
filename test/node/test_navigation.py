# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""System test of what a navigation stack uses of the node, over DDS."""

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs rclpy: a ROS 2 installation or its wheels")

from cloud_messages import street
from rig import NAME, RELIABLE, Rig, cloud_message
from sensor_msgs.msg import PointCloud2
from std_srvs.srv import Trigger
from tiny_models import save_tiny

from minkowski_perception.codec import decode, field_values
from minkowski_perception.labels import LabelSet

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("navigation")]  # they share a node

CLOUDS = "{doubtful: {except: [road], min_confidence: 0.9}, fast: {moving: 0.5, layout: xyz}}"


@pytest.fixture(scope="module")
def rig(tmp_path_factory):
    folder = tmp_path_factory.mktemp("navigation")
    heads = {"classes": 19, "moving": 1}
    save_tiny(folder / "tiny", dimension=4, kernel="causal", heads=heads)
    running = Rig(
        folder / "node.log",
        model=folder / "tiny.yaml",
        ego_motion="none",
        clouds=f'"{CLOUDS}"',
        entropy=True,
    )
    yield running.ready()
    assert running.stop() == 0
    running.close()


def subscribed(running, name):
    """Return the list that the clouds of a topic of the node are appended to."""
    received = []
    running.node.create_subscription(PointCloud2, f"{NAME}/{name}", received.append, RELIABLE)
    running.wait_for(lambda: running.node.count_publishers(f"{NAME}/{name}") == 1)
    return received


def label(running):
    """Label the next cloud of a street, and return it with its labels."""
    expected = len(running.labelled) + 1
    running.publish(cloud_message(street(expected)))
    running.wait_for(lambda: len(running.labelled) == expected)
    return running.labelled[-1]


def test_clouds_of_selected_points(rig):
    doubtful, fast = subscribed(rig, "doubtful"), subscribed(rig, "fast")
    for _ in range(100):  # until the node has found the subscribers
        labelled = label(rig)
        rig.spin(0.2)
        if doubtful and fast:
            break
    labelled = label(rig)
    stamp = labelled.header.stamp
    rig.wait_for(lambda: all(c[-1].header.stamp == stamp for c in (doubtful, fast)))

    road = LabelSet.load("semantickitti19").names.index("road")
    is_road = (field_values(labelled, "label") == road) & (
        field_values(labelled, "confidence") >= 0.9
    )
    points = decode(labelled).points
    assert doubtful[-1].header == labelled.header
    np.testing.assert_array_equal(decode(doubtful[-1]).points, points[~is_road])
    moves = field_values(labelled, "moving") > 0.5
    np.testing.assert_array_equal(decode(fast[-1]).points, points[moves])
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
