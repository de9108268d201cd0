# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import sys

import numpy as np
import pytest

pytest.importorskip("visualization_msgs", reason="needs the ROS messages")

from minkowski_perception.frame import upright
from minkowski_perception.labels import LabelSet
from minkowski_perception.node.legend import label_info, legend_markers
from minkowski_perception.view import INDOORS

LABELS = LabelSet.load("urban10")


@pytest.mark.parametrize("axes", ["ros", "optical"])
def test_the_legend_shows_every_class_in_its_colour_upright_in_the_frame_of_the_clouds(axes):
    markers = legend_markers(LABELS, INDOORS, "sensor", axes).markers
    assert [m.text for m in markers] == list(LABELS.names)
    assert len({(m.ns, m.id) for m in markers}) == len(LABELS)
    assert {m.header.frame_id for m in markers} == {"sensor"}
    for marker, colour in zip(markers, LABELS.shown_colours, strict=True):
        shown = (marker.color.r, marker.color.g, marker.color.b)
        assert [round(255 * c) for c in shown] == list(colour)
        assert marker.color.a == 1.0
        assert marker.scale.z == INDOORS.text
    positions = [m.pose.position for m in markers]
    places = np.array([[p.x, p.y, p.z] for p in positions]) @ upright(axes)[:3, :3].T
    np.testing.assert_allclose(places, INDOORS.places(len(LABELS)), atol=1e-12)


def test_label_info_is_none_without_vision_msgs(monkeypatch):
    monkeypatch.setitem(sys.modules, "vision_msgs", None)
    monkeypatch.setitem(sys.modules, "vision_msgs.msg", None)
    assert label_info(LABELS) is None


def test_label_info_names_every_class_and_unlabelled():
    pytest.importorskip("vision_msgs", reason="vision_msgs is not installed")
    info = label_info(LABELS)
    assert {c.class_id: c.class_name for c in info.class_map}[255] == "unlabelled"
    assert len(info.class_map) == len(LABELS) + 1
