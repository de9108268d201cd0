# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Semantic perception of 3D streams on robots: 4D sparse convolution behind a ROS 2 node."""

__version__ = "0.1.0"
