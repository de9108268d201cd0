# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What `minkowski-perception benchmark` measures."""


class BenchmarkError(ValueError):
    """A benchmark cannot run on what it was given; the message says what and why."""
