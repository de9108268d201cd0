# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""How good a model is on labelled sequences: figures, pictures and a report."""


class EvaluationError(ValueError):
    """There is nothing to evaluate by; the message says why."""
