# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Labelling of the clouds of one topic, as a node would that loses none."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from minkowski_perception.accounting import DropReason
from minkowski_perception.frame import NANOSECONDS
from minkowski_perception.labelling.output import Output
from minkowski_perception.labelling.stopped_run import CannotGoOnError, StoppedRun, Times
from minkowski_perception.labelling.watch import Watch
from minkowski_perception.labels import LabelSet
from minkowski_perception.plausibility import doubtful_unit
from minkowski_perception.recordings.bags import BagReader
from minkowski_perception.recordings.scan_files import FrameReader
from minkowski_perception.stream import Dropped, Stream
from minkowski_perception.summary import LabelStatistics, Summary


class UnsuitableModelError(ValueError):
    """The clouds of a recording lack a field that the model needs."""


@dataclass(frozen=True)
class Selection:
    """Which clouds of a recording are labelled; by default all.

    Attributes:
        start: seconds from the first cloud to the first that may be taken.
        frames: largest number of clouds; None for no limit.
        every: takes each cloud of this number, and leaves those between.
    """

    start: float = 0.0
    frames: int | None = None
    every: int = 1

    def clouds(self, bag: BagReader | FrameReader, topic: str) -> Iterator[tuple[int, Any]]:
        """Yield receive time, nanoseconds, and message of the selected clouds, in time order.

        Raises:
            BagError: the cloud topic is missing, or the recording is corrupt.
        """
        since = None
        if self.start > 0.0:
            first, _ = next(bag.clouds(topic), (0, None))
            since = first + round(self.start * NANOSECONDS)
        stop = None if self.frames is None else self.frames * self.every
        return islice(bag.clouds(topic, since=since), 0, stop, self.every)

    def most(self, clouds: int) -> int:
        """Return the largest number of clouds that can be selected from so many."""
        selected = -(-clouds // self.every)
        return selected if self.frames is None else min(selected, self.frames)


def label_bag(
    bag: BagReader | FrameReader,
    topic: str,
    stream: Stream,
    outputs: Iterable[Output],
    truth_set: LabelSet,
    selection: Selection | None = None,
    watch: Watch | None = None,
    before: StoppedRun | None = None,
    times: Times | None = None,
) -> Summary:
    """Label the clouds of a topic as a node would that loses none.

    Clouds that cannot be labelled are counted by reason; the first of each reason is reported.

    Args:
        bag: where the clouds are: a bag, or frames.
        topic: which of them.
        stream: at its start; its truth field names the true labels.
        outputs: take the labelled clouds, each in turn.
        truth_set: label set of the true labels.
        selection: which clouds; by default all.
        watch: gets warnings and the progress, and may stop the work between two clouds.
        before: a stopped run that goes on; None to begin.
        times: of the run, up to date after each cloud: those of `before`, if it goes on; None for
            new ones.

    Raises:
        LabelSetError: no mapping from the model's label set to `truth_set`.
        BagError: the bag is corrupt.
        UnsuitableModelError: the first cloud lacks a field that the model needs.
        Stopped: the watch stopped the work.
        CannotGoOnError: the clouds are not those of the stopped run.
        OSError: an output cannot be written.
    """
    selection = selection or Selection()
    watch = watch or Watch()
    times = times or Times()
    segmenter, accounting = stream.segmenter, stream.accounting
    outputs = list(outputs)
    statistics = LabelStatistics(segmenter.label_set, truth_set)
    doubt = ""
    started = time.perf_counter() - times.seconds
    watch.begin(selection.most(bag.cloud_topics()[topic]))
    for receive_time, message in selection.clouds(bag, topic):
        accounting.received()
        arrived = time.perf_counter()
        try:
            if before is None:
                labelled = stream.label(message, receive_time)
                times.latencies.append(time.perf_counter() - arrived)
            else:
                labelled = before.label(stream, message, receive_time)
        except Dropped as drop:
            if drop.reason is DropReason.UNSUITABLE and accounting.snapshot().received == 1:
                raise UnsuitableModelError(f"first cloud of {topic}: {drop}") from drop
            if accounting.snapshot().dropped[drop.reason] == 1:
                watch.warn(f"first cloud dropped as {drop.reason.value}: {drop}")
            for output in outputs:
                output.drop(drop)
        else:
            frame = labelled.frame
            if not doubt and (doubt := doubtful_unit(frame)):
                watch.warn(f"warning: {doubt}")
            for output in outputs:
                output.add(labelled, receive_time)
            stream.delivered(labelled)
            statistics.add(frame, labelled.result.labels, labelled.result.outputs)
        times.seconds = time.perf_counter() - started
        if before is not None and accounting.snapshot().received == before.done:
            before.end(segmenter)
            before = None
        watch.step()
    if before is not None:
        raise CannotGoOnError(f"the recording has less than {before.done} clouds now")
    motion = stream.ego_motion
    return Summary.of(
        bag=str(bag.path),
        topic=topic,
        model=segmenter.model.name,
        device=str(segmenter.device),
        engine=str(segmenter.engine),
        axes=str(segmenter.axes),
        ego_motion=motion.name,
        ego_motion_reason=motion.reason,
        ego_motion_coasted=motion.coasted,
        counts=accounting.snapshot(),
        seconds=times.seconds,
        latencies=times.latencies,
        statistics=statistics,
    )
