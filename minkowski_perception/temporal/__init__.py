# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0

DEFAULT_AVERAGING = 5
"""Frames; what `benchmark ablation` found best of 1 to 5, at next to no cost."""
