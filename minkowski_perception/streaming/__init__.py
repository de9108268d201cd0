# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0

DEFAULT_AVERAGING = 10
"""Frames; longer ones gain little, and remember more."""
