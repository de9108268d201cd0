# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Labelling of many recordings: finished ones are skipped, and a failure does not end the rest."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from minkowski_perception.labelling.batch import Batch
from minkowski_perception.labelling.folder import FolderError, OutputFolder
from minkowski_perception.labelling.labeller import Recording, Work
from minkowski_perception.labelling.outcome import Outcome, Status, finished
from minkowski_perception.labelling.progress import ProgressBar, print_aside
from minkowski_perception.labelling.stopping import StopSignals

_SAVE = 5.0
"""Seconds between two versions of the batch's files."""
_SHOWN = 3
"""Recordings at work that the progress names."""

Pool = Callable[
    [Sequence[Recording], Callable[[], bool], Callable[[list[Recording]], None]], Iterator[Outcome]
]
"""Yields the outcomes of recordings; see `run_on_processes`."""


def label_fleet(
    recordings: Sequence[Recording], work: Work, pool: Pool, out: Path, signals: StopSignals
) -> Batch:
    """Label recordings, and write the files of the batch.

    Args:
        recordings: all of them.
        work: what is done with each.
        pool: labels those that are not finished.
        out: folder of the batch's files.
        signals: end the work when one arrives.

    Raises:
        ModelError: the model is missing.
    """
    batch = Batch(recordings, work.command_line)
    waiting = []
    for recording in recordings:
        outcome = _known(recording, work)
        if outcome is None:
            waiting.append(recording)
        else:
            batch.add(outcome)
            _report(outcome)
    out.mkdir(parents=True, exist_ok=True)
    bar = ProgressBar("labelling", len(recordings), "recordings", len(recordings) - len(waiting))

    def show(at_work: list[Recording]) -> None:
        bar.show(batch.done, ", ".join(map(_progress, at_work[:_SHOWN])))

    saved = time.monotonic()
    try:
        for outcome in pool(waiting, signals.received, show):
            batch.add(outcome)
            _report(outcome)
            if time.monotonic() - saved > _SAVE:
                batch.save(out)
                saved = time.monotonic()
    finally:
        bar.close()
        batch.save(out)
    return batch


def _known(recording: Recording, work: Work) -> Outcome | None:
    """Return the outcome of a recording before the work begins; None if there is work."""
    folder = OutputFolder(recording.out)
    try:
        if not folder.finished(work.made_with(recording)):
            return None
    except FolderError as error:
        return Outcome(recording, Status.FAILED, str(error))
    return finished(recording, folder.summary() or {}, Status.FINISHED)


def _report(outcome: Outcome) -> None:
    name = outcome.recording.name
    for warning in outcome.warnings:
        print_aside(f"{name}: {warning}")
    if outcome.message:
        print_aside(f"{name}: {outcome.status.value}: {outcome.message}")
    elif outcome.status is Status.EMPTY:
        print_aside(f"{name}: no point was labelled")


def _progress(recording: Recording) -> str:
    state = OutputFolder(recording.out).state()
    counts = "begins" if state is None or not state.total else f"{state.done}/{state.total}"
    return f"{recording.name} {counts}"
