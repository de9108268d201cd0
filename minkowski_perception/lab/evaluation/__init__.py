# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Evaluation of a model on labelled sequences: figures, pictures and a report."""


class EvaluationError(ValueError):
    """The evaluation is not possible; the message says why."""


class NoLabelsError(EvaluationError):
    """No frame has labels to score by."""
