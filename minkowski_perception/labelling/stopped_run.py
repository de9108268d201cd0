# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""A run over a recording that was stopped, and goes on.

The clouds that it labelled are repeated: all but the network runs again over them, so poses,
counts, statistics and outputs are those of a run that was not stopped. Their labels are in the bag
of the stopped run; the memory of the network after them is in a file beside it.
"""

from __future__ import annotations

import json
import shutil
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from minkowski_perception.codec import field_values
from minkowski_perception.files import write_whole
from minkowski_perception.frame import Frame, nanoseconds
from minkowski_perception.labelling.folder import BAG, MEMORY
from minkowski_perception.labelling.topics import LABELLED_TOPIC
from minkowski_perception.recordings.bags import BagError, BagReader
from minkowski_perception.segmenter import Segmentation, Segmenter
from minkowski_perception.stream import Dropped, Labelled, Stream

_LATENCIES = "latencies"


class CannotGoOnError(ValueError):
    """A stopped run cannot go on: its recording, its settings or its files have changed."""


@dataclass
class Times:
    """Times of a run.

    Attributes:
        seconds: that it took.
        latencies: seconds of each labelled cloud; 8 bytes a cloud is all that grows with a
            recording.
    """

    seconds: float = 0.0
    latencies: array[float] = field(default_factory=lambda: array("d"))


def save_stopped(
    folder: Path, segmenter: Segmenter, done: int, times: Times, made_with: Mapping[str, Any]
) -> None:
    """Save what a stopped run needs to go on, beside its bag.

    Args:
        folder: of the run.
        segmenter: after the last cloud.
        done: clouds that were processed.
        times: of the run.
        made_with: all that the labels depend on, as JSON.

    Raises:
        OSError: the file cannot be written.
    """
    latencies = torch.tensor(times.latencies, dtype=torch.float64)
    run = {"done": done, "seconds": times.seconds, "made_with": made_with}
    content = save({**segmenter.state(), _LATENCIES: latencies}, {"run": json.dumps(run)})
    write_whole(folder / MEMORY, content)


class StoppedRun:
    """The clouds of a stopped run, in their order; use it in a `with` statement.

    Args:
        folder: of the run.
        made_with: all that the labels depend on now, as JSON.

    Attributes:
        folder: of the run; it is removed when the run goes on.
        done: clouds that the run processed.
        times: of the run.

    Raises:
        CannotGoOnError: the labels depend on something else now, or a file cannot be read.
    """

    def __init__(self, folder: Path, made_with: Mapping[str, Any]) -> None:
        self.folder = folder
        try:
            with safe_open(folder / MEMORY, "pt") as file:
                run = json.loads(file.metadata()["run"])
                self._memory = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            latencies = self._memory.pop(_LATENCIES).tolist()
            before, done, seconds = run["made_with"], run["done"], run["seconds"]
        except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
            raise CannotGoOnError(f"{folder / MEMORY} cannot be read: {error}") from error
        if keys := [k for k in {**before, **made_with} if before.get(k) != made_with.get(k)]:
            raise CannotGoOnError(f"the run that was stopped had other {', '.join(keys)}")
        self.done: int = done
        self.times = Times(seconds, array("d", latencies))
        self._latencies = iter(latencies)
        self._reader: BagReader | None = None
        self._clouds: Iterator[Any] = iter(())
        self._next: Any = None

    def __enter__(self) -> StoppedRun:
        try:
            if self.times.latencies:
                self._reader = BagReader(self.folder / BAG).__enter__()
                self._clouds = (cloud for _, cloud in self._reader.clouds(LABELLED_TOPIC))
            self._next = next(self._clouds, None)
        except BagError as error:
            raise CannotGoOnError(str(error)) from error
        return self

    def __exit__(self, *exception: object) -> None:
        if self._reader is not None:
            self._reader.__exit__(*exception)

    def label(self, stream: Stream, message: Any, received_at: int) -> Labelled:
        """Return what `Stream.label` does, with the labels and the latency of the stopped run.

        Raises:
            Dropped: the cloud was dropped then too.
            CannotGoOnError: the cloud, or what became of it, is not the same.
        """
        before = self._next
        taken = False

        def segment(frame: Frame) -> Segmentation:
            nonlocal taken
            if before is None or nanoseconds(before.header.stamp) != frame.stamp:
                return stream.segmenter.segment(frame)  # it failed, and fails again
            taken = True
            return stream.segmenter.recall(frame, _outputs(before))

        try:
            labelled = stream.label(message, received_at, segment)
        except Dropped:
            if taken:
                raise self._changed() from None
            raise
        if not taken or not np.array_equal(
            np.frombuffer(labelled.cloud.data, np.uint8), before.data
        ):
            raise self._changed()
        try:
            self._next = next(self._clouds, None)
        except BagError as error:
            raise CannotGoOnError(str(error)) from error
        return replace(labelled, timings={"before": next(self._latencies)})

    def end(self, segmenter: Segmenter) -> None:
        """Let the segmenter go on after the clouds, and remove the folder of the stopped run.

        Raises:
            CannotGoOnError: a cloud was not repeated, or the memory is not that of the network.
        """
        if self._next is not None:
            raise self._changed()
        try:
            segmenter.restore_memory(self._memory)
        except (ValueError, KeyError) as error:
            raise CannotGoOnError(f"{self.folder / MEMORY} does not fit: {error}") from error
        self._memory = {}
        shutil.rmtree(self.folder)

    def _changed(self) -> CannotGoOnError:
        return CannotGoOnError("the clouds are not those of the run that was stopped")


def _outputs(message: Any) -> dict[str, Any]:
    """Return what `append_fields` appended to a cloud, by name, without the colour."""
    names = [field.name for field in message.fields]
    further = names[names.index("rgb") + 1 :]
    return {name: field_values(message, name) for name in ("label", "confidence", *further)}
