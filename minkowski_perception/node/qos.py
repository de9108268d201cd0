# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""QoS profiles of the node's publishers."""

from rclpy.qos import DurabilityPolicy, QoSProfile

RELIABLE = QoSProfile(depth=10)
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
