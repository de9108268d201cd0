# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""System test of what a navigation stack uses of the node, over DDS."""

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs rclpy: a ROS 2 installation or its wheels")

from cloud_messages import street
from rig import NAME, RELIABLE, Rig, cloud_message
from sensor_msgs.msg import PointCloud2
from tiny_models import save_tiny

from minkowski_perception.codec import decode, field_values
from minkowski_perception.labels import LabelSet

pytestmark = pytest.mark.system

CLOUDS = "{doubtful: {except: [road], min_confidence: 0.9}, fast: {moving: 0.5, layout: xyz}}"


@pytest.fixture
def rig(tmp_path):
    heads = {"classes": 19, "moving": 1}
    save_tiny(tmp_path / "tiny", dimension=4, kernel="causal", heads=heads)
    running = Rig(
        tmp_path / "node.log",
        model=tmp_path / "tiny.yaml",
        ego_motion="none",
        clouds=f'"{CLOUDS}"',
    )
    yield running.ready()
    running.close()


def subscribed(running, name):
    """Return the list that the clouds of a topic of the node are appended to."""
    received = []
    running.node.create_subscription(PointCloud2, f"{NAME}/{name}", received.append, RELIABLE)
    running.wait_for(lambda: running.node.count_publishers(f"{NAME}/{name}") == 1)
    return received


def label(running, index):
    """Label a cloud, and return it with its labels."""
    expected = len(running.labelled) + 1
    running.publish(cloud_message(street(index)))
    running.wait_for(lambda: len(running.labelled) == expected)
    return running.labelled[-1]


def test_clouds_of_selected_points(rig):
    doubtful, fast = subscribed(rig, "doubtful"), subscribed(rig, "fast")
    sent = 0
    while not (doubtful and fast):  # until the node has found the subscribers
        labelled = label(rig, sent)
        rig.spin(0.2)
        sent += 1
        assert sent < 100
    labelled = label(rig, sent)
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
    assert rig.stop() == 0
