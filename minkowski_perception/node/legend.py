# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Legend of the labels: markers for RViz, and LabelInfo for other nodes."""

from __future__ import annotations

from typing import Any

from visualization_msgs.msg import Marker, MarkerArray

from minkowski_perception.frame import Axes
from minkowski_perception.labels import UNLABELLED, LabelSet
from minkowski_perception.legend import legend_entries
from minkowski_perception.view import View


def legend_markers(label_set: LabelSet, view: View, frame_id: str, axes: Axes) -> MarkerArray:
    """Return markers with each class name in its colour, in a column beside the sensor.

    Args:
        label_set: names and colours.
        view: where the names stand.
        frame_id: of the clouds.
        axes: of that frame.
    """
    array = MarkerArray()
    for entry in legend_entries(label_set, view, axes):
        marker = Marker()
        marker.header.frame_id = frame_id
        marker.ns = label_set.name
        marker.id = entry.id
        marker.type = Marker.TEXT_VIEW_FACING
        marker.action = Marker.ADD
        marker.frame_locked = True
        marker.text = entry.name
        marker.scale.z = entry.height
        where = marker.pose.position
        where.x, where.y, where.z = entry.position
        marker.pose.orientation.w = 1.0
        marker.color.r, marker.color.g, marker.color.b = entry.colour
        marker.color.a = 1.0
        array.markers.append(marker)
    return array


def label_info(label_set: LabelSet) -> Any | None:
    """Return a vision_msgs/LabelInfo of the label set; None if vision_msgs is not installed."""
    try:
        from vision_msgs.msg import LabelInfo, VisionClass
    except ImportError:
        return None
    info = LabelInfo()
    names = [*label_set.names, "unlabelled"]
    ids = [*range(len(label_set)), UNLABELLED]
    info.class_map = [
        VisionClass(class_id=class_id, class_name=name)
        for class_id, name in zip(ids, names, strict=True)
    ]
    return info
