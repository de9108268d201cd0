# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Topics of a labelled bag; all but the classes and the odometry are the same as the node's."""

LABELLED_TOPIC = "/minkowski_perception/labelled"
"""The labelled clouds."""
MAP_TOPIC = "/minkowski_perception/map"
"""The map."""
LEGEND_TOPIC = "/minkowski_perception/legend"
"""Class names in their colours, as markers."""
CLASSES_TOPIC = "/minkowski_perception/classes"
"""Ids, names and colours of the classes, as JSON in a std_msgs/String."""
ODOMETRY_TOPIC = "/minkowski_perception/odometry"
"""Poses of the sensor that are not among those of the recording."""
