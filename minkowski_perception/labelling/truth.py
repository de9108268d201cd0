# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Options of the true labels in the errors about them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from minkowski_perception.labels import LabelSetError


@contextmanager
def naming_truth_options(field: str, dataset: str | None = None) -> Iterator[None]:
    """Add to errors of label sets the options that avoid them.

    Args:
        field: of the true labels.
        dataset: name of the data set, whose label set is fixed; None for bags and scans.

    Raises:
        LabelSetError: the context raised one.
    """
    try:
        yield
    except LabelSetError as error:
        source, choice = f"field '{field}'", "give their label set with --true-label-set, or "
        if dataset is not None:
            source, choice = f"data set '{dataset}'", ""
        raise LabelSetError(
            f"cannot score against the true labels in {source}: {error}; {choice}ignore them "
            "with --true-label-field ''"
        ) from error
