# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What became of a recording of a batch."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

import minkowski_perception
from minkowski_perception.labelling.folder import OutputFolder
from minkowski_perception.labelling.labeller import DiskFullError, Labeller, Recording
from minkowski_perception.labelling.watch import Stopped, Watch


class Status(Enum):
    """What became of a recording."""

    LABELLED = "labelled"
    FINISHED = "labelled before"
    EMPTY = "no point labelled"
    FAILED = "failed"
    STOPPED = "stopped"
    WAITING = "not begun"


@dataclass(frozen=True)
class Outcome:
    """What became of a recording.

    Attributes:
        recording: which one.
        status: what became of it.
        message: why it failed or stopped; else "".
        warnings: sentences on the recording.
        summary: content of its summary; None if it is not finished.
        disk_full: whether it stopped since no space is left.
    """

    recording: Recording
    status: Status
    message: str = ""
    warnings: tuple[str, ...] = ()
    summary: Mapping[str, Any] | None = field(default=None, repr=False)
    disk_full: bool = False


def attempt(labeller: Labeller, recording: Recording, watch: Watch) -> Outcome:
    """Label a recording; whatever goes wrong is an outcome."""
    try:
        summary = labeller.label(recording, watch)
    except Stopped as stopped:
        outcome = Outcome(recording, Status.STOPPED, str(stopped))
    except DiskFullError as error:
        outcome = Outcome(recording, Status.STOPPED, str(error), disk_full=True)
    except Exception as error:  # one recording must not end a batch
        message = str(error)
        if not type(error).__module__.startswith(f"{minkowski_perception.__name__}."):
            traceback.print_exc()  # a fault of ours
            message = f"{type(error).__name__}: {error}"
        outcome = Outcome(recording, Status.FAILED, message)
    else:
        outcome = finished(recording, summary, Status.LABELLED)
    return replace(outcome, warnings=tuple(watch.warnings))


def finished(recording: Recording, summary: Mapping[str, Any], status: Status) -> Outcome:
    """Return the outcome of a recording whose results are whole."""
    if set(summary["label_shares"]) <= {"unlabelled"}:
        status = Status.EMPTY
    return Outcome(recording, status, summary=summary)


def cut_off(recording: Recording, reason: str, status: Status) -> Outcome:
    """Return the outcome of a recording whose process has ended before it."""
    state = OutputFolder(recording.out).state()
    where = "" if state is None else f" after {state.done} of {state.total} clouds"
    return Outcome(recording, status, f"{reason}{where}")
