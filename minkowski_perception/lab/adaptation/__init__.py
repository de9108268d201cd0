# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Adaptation of a model to unlabelled recordings (docs/adapt.md)."""
