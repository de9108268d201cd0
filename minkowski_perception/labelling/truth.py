# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Label set of the true labels in recordings, and what users are told of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from minkowski_perception.labels import LabelSet, LabelSetError
from minkowski_perception.schema import SchemaError, read_yaml
from minkowski_perception.summary import Summary

DEFAULT_SET = "semantickitti19"
SIMULATION = "simulation.yaml"
"""Note of `simulate` beside its recordings; `labels` is the name of their label set."""

_DOUBTFUL = 0.05
"""Mean IoU below which the true labels are probably of another set."""


def truth_set_of(recording: Path, given: LabelSet | None) -> LabelSet:
    """Return the label set of the true labels in a recording.

    It is the given one, or else that of `simulate`, whose recordings have a note beside them, or
    else `DEFAULT_SET`.
    """
    if given is not None:
        return given
    with suppress(SchemaError, LabelSetError, TypeError, KeyError):
        return LabelSet.load(read_yaml(recording.resolve().parent / SIMULATION)["labels"])
    return LabelSet.load(DEFAULT_SET)


def doubt_about_truth(summary: Summary, truth_set: LabelSet, field: str) -> str:
    """Return a warning if the labels agree with the true ones almost nowhere; "" otherwise."""
    if summary.miou is None or summary.miou >= _DOUBTFUL:
        return ""
    return (
        f"warning: the labels hardly ever agree with the true ones in field '{field}' (mIoU "
        f"{summary.miou:.3f}), which are taken for those of label set '{truth_set.name}': if they "
        "are of another, name it with --true-label-set; minkowski-perception label-sets lists them"
    )


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
