# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The report of a recording as an HTML file."""

from __future__ import annotations

from pathlib import Path

from minkowski_perception.checks.contents import model_facts
from minkowski_perception.labelling.output import Output
from minkowski_perception.labels import LabelSet
from minkowski_perception.networks.model import Model
from minkowski_perception.report.collector import Collector
from minkowski_perception.report.payload import Voxels
from minkowski_perception.report.run import write_run
from minkowski_perception.stream import Dropped, Labelled, MapCloud
from minkowski_perception.summary import Summary


class ReportFile(Output):
    """Report of a recording; it keeps a bounded part of the clouds until the end.

    Args:
        path: file to write.
        model: that labels the clouds.
        truth_set: classes of their true labels, if they have any.
        command: line that began the work.
    """

    def __init__(self, path: Path, model: Model, truth_set: LabelSet, command: str) -> None:
        self._path = path
        self._model = model
        self._command = command
        self._collector = Collector(model.label_set, truth_set)

    def add(self, labelled: Labelled, received_at: int) -> None:
        """See `Output.add`."""
        result = labelled.result
        self._collector.add(
            labelled.frame,
            result.labels,
            {"confidence": result.confidence, **result.outputs},
            seconds=sum(labelled.timings.values()),
        )

    def drop(self, dropped: Dropped) -> None:
        """See `Output.drop`."""
        self._collector.drop(dropped.reason, dropped)

    def finish(self, found: MapCloud | None, summary: Summary) -> None:
        """Write the report."""
        voxels = None
        if found is not None:
            size = self._model.input.voxel_size
            voxels = Voxels(found.voxels.points, found.voxels.labels, size)
        write_report(self._path, summary, self._collector, self._model, self._command, voxels)


def write_report(
    path: Path,
    summary: Summary,
    collector: Collector,
    model: Model,
    command: str,
    voxels: Voxels | None,
) -> None:
    """Write the report of a run by a model; see `write_run`."""
    digest = model.card.get("sha256")
    write_run(path, summary, collector, model_facts(model), digest, command, voxels)
