# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Labelling of whole recordings, one after another, with one segmenter."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import asdict, dataclass
from functools import cached_property, partial
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
from minkowski_perception.labelling.stopped_run import (
    CannotGoOnError,
    StoppedRun,
    Times,
    save_stopped,
)
from minkowski_perception.labelling.truth import (
    doubt_about_truth,
    naming_truth_options,
    truth_set_of,
)
from minkowski_perception.labelling.watch import OutOfSpace, Stopped, Watch
from minkowski_perception.labels import LabelSet
from minkowski_perception.networks.model import model_digest
from minkowski_perception.recordings.bags import BagReader
from minkowski_perception.recordings.motion import choose_ego_motion
from minkowski_perception.recordings.scan_files import FrameReader
from minkowski_perception.segmenter import Segmenter
from minkowski_perception.settings import SETTINGS, Settings
from minkowski_perception.stream import Stream

_SPARE = 64 * 2**20
"""Bytes on the disk below which a run stops; with the state of the stream it can go on later."""


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

        A run that was stopped goes on, if nothing has changed since.

        Raises:
            BagError: the recording cannot be read.
            LabelSetError: the labels cannot be scored against the true ones.
            FolderError: the folder has other results, or cannot be written.
            Stopped: the watch stopped the work, which can go on.
            DiskFullError: little or no space is left.
        """
        work, folder = self._work, OutputFolder(recording.out)
        if recording.out.resolve() == recording.path.resolve():
            raise FolderError(f"--out is the recording itself, {recording.out}; choose another")
        made_with = work.made_with(recording)
        if folder.finished(made_with):
            return folder.summary() or {}
        try:
            return self._label(recording, watch, folder, made_with, folder.stopped())
        except CannotGoOnError as error:
            watch.warnings.clear()
            watch.warn(f"{error}; all clouds are labelled anew")
            return self._label(recording, watch, folder, made_with, None)

    def _label(
        self,
        recording: Recording,
        watch: Watch,
        folder: OutputFolder,
        made_with: dict[str, Any],
        stopped: Path | None,
    ) -> dict[str, Any]:
        """Label a recording.

        Args:
            recording: which one.
            watch: see `label`.
            folder: of its results.
            made_with: see `Work.made_with`.
            stopped: folder of the stopped run that goes on; None to begin.

        Raises:
            CannotGoOnError: the stopped run is of something else.
        """
        work = self._work
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
            segmenter, times, before = stream.segmenter, Times(), None
            depends_on = {
                **made_with,
                "version": minkowski_perception.__version__,
                "device": str(segmenter.device),
                "engine": str(segmenter.engine),
            }
            if stopped is not None:
                before = StoppedRun(stopped, depends_on)
                times = before.times
                watch.tell(f"goes on after {before.done} clouds that were labelled before")
            with before or nullcontext(), _run(folder, watch, stopped) as unfinished:
                watch.full = partial(_is_nearly_full, unfinished.path, segmenter)
                with (
                    _saved_when_stopped(unfinished, segmenter, before, times, depends_on),
                    ExitStack() as opened,
                ):
                    outputs = [
                        opened.enter_context(output)
                        for output in self._outputs(
                            recording, unfinished.path, bag, topic, stream, truth_set, watch
                        )
                    ]
                    with naming_truth_options(work.truth_field, work.dataset):
                        summary = label_bag(
                            bag,
                            topic,
                            stream,
                            outputs,
                            truth_set,
                            work.selection,
                            watch,
                            before,
                            times,
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
def _saved_when_stopped(
    unfinished: Unfinished,
    segmenter: Segmenter,
    before: StoppedRun | None,
    times: Times,
    depends_on: Mapping[str, Any],
) -> Iterator[None]:
    """Save what a run needs to go on, if it is stopped."""
    try:
        yield
    except Stopped as stop:
        if before is not None and before.folder.exists():  # it was repeating that run
            unfinished.discard()
            raise type(stop)(before.done, stop.total) from None
        save_stopped(unfinished.path, segmenter, stop.done, times, depends_on)
        raise


def _is_nearly_full(folder: Path, segmenter: Segmenter) -> bool:
    """Return whether space gets scarce for the end of the bag and the state of the stream."""
    return shutil.disk_usage(folder).free < _SPARE + 2 * segmenter.state_bytes


@contextmanager
def _run(folder: OutputFolder, watch: Watch, stopped: Path | None) -> Iterator[Unfinished]:
    """Begin a run, and note its progress, also when it fails.

    Args:
        folder: of the results.
        watch: counts the clouds.
        stopped: folder of the stopped run that goes on; None to begin.
    """
    unfinished = None
    try:
        unfinished = folder.begin(keep=stopped)
        watch.note = unfinished.note
        yield unfinished
    except BaseException as error:
        full = _is_full(error)
        scarce = full or isinstance(error, OutOfSpace)
        space = f"{'no' if full else 'little'} space is left"
        done = error.done if isinstance(error, Stopped) else watch.done
        if unfinished is not None:
            reason = space if scarce else str(error) or type(error).__name__
            with suppress(OSError):
                if full:
                    unfinished.empty()
                unfinished.note(State(done, watch.total, reason))
        if scarce:
            raise DiskFullError(
                f"{space} for {folder.path}: stopped after {done} of {watch.total} clouds"
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
