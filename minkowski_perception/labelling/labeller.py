# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Labelling of whole recordings, one after another, with one segmenter."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import minkowski_perception
from minkowski_perception.allocator import separate_large_arrays
from minkowski_perception.labelling.cloud_pictures import Pictures
from minkowski_perception.labelling.context import RecordedContext
from minkowski_perception.labelling.exports import open_export
from minkowski_perception.labelling.folder import (
    BAG,
    REPORT,
    FolderError,
    OutputFolder,
    State,
    Unfinished,
)
from minkowski_perception.labelling.labelled_bag import LabelledBag
from minkowski_perception.labelling.map_file import MapFile
from minkowski_perception.labelling.output import Output
from minkowski_perception.labelling.report_file import ReportFile
from minkowski_perception.labelling.run import Selection, label_bag
from minkowski_perception.labelling.truth import (
    doubt_about_truth,
    naming_truth_options,
    truth_set_of,
)
from minkowski_perception.labelling.watch import Watch
from minkowski_perception.labels import LabelSet
from minkowski_perception.networks.model import model_digest
from minkowski_perception.recordings.bags import BagReader
from minkowski_perception.recordings.motion import choose_ego_motion
from minkowski_perception.recordings.scan_files import FrameReader
from minkowski_perception.segmenter import Segmenter
from minkowski_perception.settings import SETTINGS, Settings
from minkowski_perception.stream import Stream


class DiskFullError(Exception):
    """No space is left for the results."""


@dataclass(frozen=True)
class Recording:
    """A recording, and where its results go.

    Attributes:
        name: short, for people.
        path: of a bag, scans, or the root of a data set.
        out: folder of the results.
        topic: cloud topic, or sequence of the data set; None for the only one.
        map: file of the map; None for none.
    """

    name: str
    path: Path
    out: Path
    topic: str | None = None
    map: Path | None = None


@dataclass(frozen=True)
class Work:
    """What is done with each recording.

    Attributes:
        settings: of the segmenter.
        open: opens a recording.
        load: loads the segmenter.
        truth_field: field of true labels, which clouds may lack; "" for no truth.
        truth_set: label set of that field; None for that of each recording, see `truth_set_of`.
        ego_motion: see `choose_ego_motion`.
        odometry_topic: see `choose_ego_motion`.
        selection: which clouds.
        exports: names of formats; see `EXPORTS`.
        pictures: number of clouds that are drawn.
        report: whether to write a report.
        dataset: name of the data set; None for bags and scans.
        command_line: for the summary.
    """

    settings: Settings
    open: Callable[[Path], BagReader | FrameReader]
    load: Callable[[Settings], Segmenter]
    truth_field: str
    truth_set: LabelSet | None
    ego_motion: str
    odometry_topic: str | None
    selection: Selection
    exports: tuple[str, ...]
    pictures: int
    report: bool
    dataset: str | None
    command_line: str

    @cached_property
    def _made_with(self) -> dict[str, Any]:
        settings = {
            name: getattr(self.settings, name)
            for name, setting in SETTINGS.items()
            if not setting.node_only and name != "threads"  # these do not change the labels
        }
        return {
            **settings,
            "weights": model_digest(self.settings.model),
            "dataset": self.dataset,
            "ego_motion": self.ego_motion,
            "odometry_topic": self.odometry_topic,
            "true_label_field": self.truth_field,
            **asdict(self.selection),
            "exports": list(self.exports),
            "pictures": self.pictures,
            "report": self.report,
        }

    def made_with(self, recording: Recording) -> dict[str, Any]:
        """Return all that the results of a recording depend on, as JSON.

        Raises:
            ModelError: the model is missing.
        """
        size = None
        if self.dataset is None:
            files = recording.path.rglob("*") if recording.path.is_dir() else [recording.path]
            size = sum(
                file.stat().st_size
                for file in files
                if file.is_file() and recording.out not in file.parents
            )
        return {
            **self._made_with,
            "recording": recording.path.name,
            "true_label_set": truth_set_of(recording.path, self.truth_set).name,
            "recording_bytes": size,
            "topic": recording.topic,
            "map": None if recording.map is None else recording.map.name,
        }


class Labeller:
    """Labels recordings; the segmenter is loaded once.

    Args:
        work: what is done with each.
    """

    def __init__(self, work: Work) -> None:
        separate_large_arrays()
        self._work = work
        self._segmenter: Segmenter | None = None

    def label(self, recording: Recording, watch: Watch) -> dict[str, Any]:
        """Label a recording, unless that is done; return the content of its summary.

        Raises:
            BagError: the recording cannot be read.
            LabelSetError: the labels cannot be scored against the true ones.
            FolderError: the folder has other results, or cannot be written.
            Stopped: the watch stopped the work; what was labelled stays in the folder.
            DiskFullError: no space is left.
        """
        work, folder = self._work, OutputFolder(recording.out)
        if recording.out.resolve() == recording.path.resolve():
            raise FolderError(f"--out is the recording itself, {recording.out}; choose another")
        made_with = work.made_with(recording)
        if folder.finished(made_with):
            return folder.summary() or {}
        truth_set = truth_set_of(recording.path, work.truth_set)
        with work.open(recording.path) as bag:
            known_losses = bag.losses
            for loss in known_losses:
                watch.warn(f"warning: {loss}")
            topic = bag.choose_cloud_topic(recording.topic)
            motion = choose_ego_motion(
                bag, topic, work.ego_motion, work.odometry_topic, deskew=work.settings.deskew
            )
            stream = Stream(
                self._new_stream(),
                motion,
                truth_field=work.truth_field,
                level=work.settings.level,
            )
            with _run(folder, watch) as unfinished:
                with ExitStack() as opened:
                    outputs = [
                        opened.enter_context(output)
                        for output in self._outputs(
                            recording, unfinished.path, bag, topic, stream, truth_set, watch
                        )
                    ]
                    with naming_truth_options(work.truth_field, work.dataset):
                        summary = label_bag(
                            bag, topic, stream, outputs, truth_set, work.selection, watch
                        )
                    found = stream.map()
                    for output in outputs:
                        output.finish(found, summary)
                for loss in bag.losses:
                    if loss not in known_losses:  # damage that was found on the way
                        watch.warn(f"warning: {loss}")
                if doubt := doubt_about_truth(summary, truth_set, work.truth_field):
                    watch.warn(doubt)
                for sentence in stream.level.sentences():
                    watch.warn(sentence)
                for warning in stream.domain.warnings:
                    watch.warn(f"unlike the training of the model: {warning}")
                content = {
                    **asdict(summary),
                    "warnings": watch.warnings,
                    "version": minkowski_perception.__version__,
                    "command": work.command_line,
                    "made_with": made_with,
                }
                unfinished.finish(content)
        return content

    def _new_stream(self) -> Segmenter:
        if self._segmenter is None:
            self._segmenter = self._work.load(self._work.settings)
            return self._segmenter
        return self._segmenter.another_stream()

    def _outputs(
        self,
        recording: Recording,
        folder: Path,
        bag: BagReader | FrameReader,
        topic: str,
        stream: Stream,
        truth_set: LabelSet,
        watch: Watch,
    ) -> Iterator[Output]:
        work, label_set = self._work, stream.segmenter.label_set
        context = RecordedContext(bag, watch.warn)
        yield LabelledBag(folder / BAG, label_set, stream.ego_motion, context)
        if recording.map is not None:
            yield MapFile(recording.map)
        for name in work.exports:
            yield open_export(name, folder, label_set)
        if work.pictures:
            clouds = work.selection.most(bag.cloud_topics()[topic])
            yield Pictures(folder, label_set, recording.name, work.pictures, clouds)
        if work.report:
            model = stream.segmenter.model
            yield ReportFile(folder / REPORT, model, truth_set, work.command_line)


@contextmanager
def _run(folder: OutputFolder, watch: Watch) -> Iterator[Unfinished]:
    """Begin a run, and note its progress, also when it fails."""
    unfinished = None
    try:
        unfinished = folder.begin()
        watch.note = unfinished.note
        yield unfinished
    except BaseException as error:
        full = _is_full(error)
        if unfinished is not None:
            reason = "no space is left" if full else str(error) or type(error).__name__
            with suppress(OSError):
                if full:
                    unfinished.empty()
                unfinished.note(State(watch.done, watch.total, reason))
        if full:
            raise DiskFullError(
                f"no space is left for {folder.path} after {watch.done} of {watch.total} clouds"
            ) from error
        if isinstance(error, OSError):
            raise FolderError(f"cannot write {folder.path}: {error.strerror}") from error
        raise


def _is_full(error: BaseException | None) -> bool:
    """Return whether an exception, or one that it comes from, is that of a full disk."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        error = error.__cause__ or error.__context__
    return False
