# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Topics of a labelled bag, the same as the node's."""

LABELLED_TOPIC = "/minkowski_perception/labelled"
"""The labelled clouds."""
MAP_TOPIC = "/minkowski_perception/map"
"""The map."""
