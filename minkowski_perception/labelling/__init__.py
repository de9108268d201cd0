# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Labelling of recordings: one or many, into bags and the formats of other tools."""
