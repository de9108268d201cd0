# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Measurements of `minkowski-perception benchmark`."""


class BenchmarkError(ValueError):
    """A benchmark cannot run with its arguments; the message says why."""
