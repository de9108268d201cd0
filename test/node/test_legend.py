# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import sys

import pytest

pytest.importorskip("visualization_msgs", reason="needs the ROS messages")

from minkowski_perception.labels import LabelSet
from minkowski_perception.node.legend import label_info, legend_markers

LABELS = LabelSet.load("urban10")


def test_the_legend_shows_every_class_in_its_colour_and_frame():
    markers = legend_markers(LABELS, "lidar").markers
    assert [m.text for m in markers] == list(LABELS.names)
    assert len({(m.ns, m.id) for m in markers}) == len(LABELS)
    assert {m.header.frame_id for m in markers} == {"lidar"}
    for marker, colour in zip(markers, LABELS.colours, strict=True):
        shown = (marker.color.r, marker.color.g, marker.color.b)
        assert [round(255 * c) for c in shown] == list(colour)
        assert marker.color.a == 1.0
    heights = [m.pose.position.z for m in markers]
    assert heights == sorted(heights, reverse=True)


def test_label_info_is_none_without_vision_msgs(monkeypatch):
    monkeypatch.setitem(sys.modules, "vision_msgs", None)
    monkeypatch.setitem(sys.modules, "vision_msgs.msg", None)
    assert label_info(LABELS) is None


def test_label_info_names_every_class_and_unlabelled():
    pytest.importorskip("vision_msgs", reason="vision_msgs is not installed")
    info = label_info(LABELS)
    assert {c.class_id: c.class_name for c in info.class_map}[255] == "unlabelled"
    assert len(info.class_map) == len(LABELS) + 1
