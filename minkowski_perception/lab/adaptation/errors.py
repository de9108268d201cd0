# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Error of an adaptation."""


class AdaptationError(ValueError):
    """Recordings that a model cannot be adapted to; the message says why, and the remedy."""
