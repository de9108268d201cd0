# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Engines: who multiplies features by weights along a kernel map."""
