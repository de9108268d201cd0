# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Takes the clouds of a run as they are labelled, and keeps what a report shows of them.

Memory is bounded, however long the run is: a number of clouds with a number of points each, and a
number of intervals on the axis of time.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from minkowski_perception.accounting import DropReason
from minkowski_perception.frame import NANOSECONDS, Frame
from minkowski_perception.labels import UNLABELLED, LabelSet
from minkowski_perception.metrics import true_labels
from minkowski_perception.moving import MOVING
from minkowski_perception.report.thinning import thin
from minkowski_perception.scoring import View

MOST_CLOUDS = 150
"""Clouds that are kept, of a minute at 10 Hz every fourth."""
MOST_POINTS = 30_000
"""Points that are kept of a cloud."""
FARTHEST = 500.0
"""Metres from the sensor beyond which points are not shown."""
MOST_INTERVALS = 400
"""Intervals of time, each with its figures."""

RIGHT, WRONG, UNKNOWN = 0, 1, 255
"""Values of the column "agreement": predicted as the true class, or not; no true class."""

_LABELS = UNLABELLED + 1
_LONGEST_CAUSE = 300  # characters


@dataclass(frozen=True)
class Cloud:
    """A kept cloud, thinned to P points.

    Attributes:
        title: names it.
        number: of clouds before it in the run.
        seconds: from the first cloud of the run to its stamp.
        points: number of points in the recording.
        coordinates: [P, 3] float32, metres in the sensor's frame.
        pose: [4, 4], from the sensor's frame to the odometry frame, or upright if it is unknown.
        columns: by name: "label", "truth" and "agreement" [P] uint8; "confidence", "moving" and
            "intensity" [P] float32, NaN where unknown; "colour" [P, 3] uint8. All but the first
            may be absent.
        counts: numbers of all its points [256] by value, of the columns of uint8 [P].
    """

    title: str
    number: int
    seconds: float
    points: int
    coordinates: npt.NDArray[np.float32]
    pose: npt.NDArray[np.float64]
    columns: Mapping[str, npt.NDArray[Any]]
    counts: Mapping[str, npt.NDArray[np.int64]]


class Choice(Protocol):
    """Chooses which clouds are kept."""

    def wants(self, score: float) -> bool:
        """Return whether to keep the next cloud, with a score that may be NaN."""

    def keep(self, cloud: Cloud, score: float) -> None:
        """Keep the cloud that was wanted."""

    def __iter__(self) -> Iterator[Cloud]:
        """Yield the kept clouds, in the order in which they are shown."""


class EvenlySpaced:
    """Every n-th cloud; n doubles whenever more than `most` would be kept."""

    def __init__(self, most: int = MOST_CLOUDS) -> None:
        self._most = most
        self._step = 1
        self._offered = 0
        self._clouds: list[Cloud] = []

    def wants(self, score: float) -> bool:
        """Return whether it is the turn of the next cloud."""
        self._offered += 1
        return (self._offered - 1) % self._step == 0

    def keep(self, cloud: Cloud, score: float) -> None:
        """Keep a cloud."""
        self._clouds.append(cloud)
        if len(self._clouds) > self._most:
            self._step *= 2
            del self._clouds[1::2]

    def __iter__(self) -> Iterator[Cloud]:
        """Yield the clouds by time."""
        return iter(self._clouds)


class Worst:
    """The clouds with the lowest scores; those without one (NaN) do not count."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._heap: list[tuple[float, int, Cloud]] = []  # the best of the kept ones is first

    def wants(self, score: float) -> bool:
        """Return whether the score is among the lowest so far."""
        full = len(self._heap) == self._most
        return not np.isnan(score) and (not full or -score > self._heap[0][0])

    def keep(self, cloud: Cloud, score: float) -> None:
        """Keep a cloud, instead of the best one if there are too many."""
        heapq.heappush(self._heap, (-score, -cloud.number, cloud))
        if len(self._heap) > self._most:
            heapq.heappop(self._heap)

    def __iter__(self) -> Iterator[Cloud]:
        """Yield the clouds, the worst one first."""
        return (cloud for *_, cloud in sorted(self._heap, reverse=True))


@dataclass
class Interval:
    """Figures of consecutive clouds.

    Attributes:
        number: of clouds before it in the run.
        seconds: from the first cloud of the run to its first.
        clouds: that were labelled.
        dropped: clouds that were dropped.
        labels: [256] numbers of points by label.
        latency: sum of the seconds that labelling took.
        slowest: the longest of them.
        score: sum of the clouds' scores, and how many have one.
    """

    number: int
    seconds: float
    clouds: int = 0
    dropped: int = 0
    labels: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(_LABELS, np.int64))
    latency: float = 0.0
    slowest: float = 0.0
    score: float = 0.0
    scored: int = 0

    def join(self, later: Interval) -> None:
        """Take over the figures of a later interval."""
        self.clouds += later.clouds
        self.dropped += later.dropped
        self.labels += later.labels
        self.latency += later.latency
        self.slowest = max(self.slowest, later.slowest)
        self.score += later.score
        self.scored += later.scored


class Timeline:
    """Intervals of equally many clouds; the number doubles whenever there are too many."""

    def __init__(self, most: int = MOST_INTERVALS) -> None:
        self._most = most
        self._length = 1
        self.intervals: list[Interval] = []

    def add(self, of_cloud: Interval) -> None:
        """Add the figures of the next cloud."""
        last = self.intervals[-1] if self.intervals else None
        if last is not None and last.clouds + last.dropped < self._length:
            last.join(of_cloud)
            return
        self.intervals.append(of_cloud)
        if len(self.intervals) > self._most:
            self._length *= 2
            pairs = zip(self.intervals[::2], self.intervals[1::2], strict=False)
            for interval, next_one in pairs:
                interval.join(next_one)
            self.intervals = self.intervals[::2]


class Collector:
    """What a report shows of the clouds of one run.

    Args:
        label_set: classes of the labels.
        truth_set: classes of the true labels, if any.
        choice: of the clouds to show; None for `EvenlySpaced`.

    Attributes:
        clouds: those to show.
        timeline: figures of all clouds over time.
        causes: the first cause of each reason for a dropped cloud.
    """

    def __init__(
        self,
        label_set: LabelSet,
        truth_set: LabelSet | None = None,
        choice: Choice | None = None,
    ) -> None:
        self.label_set = label_set
        self.truth_set = truth_set
        self.timeline = Timeline()
        self.causes: dict[DropReason, str] = {}
        self._seen = 0
        self._first_stamp: int | None = None
        self._seconds = 0.0
        self._choice = EvenlySpaced() if choice is None else choice
        self._view: View | None = None

    @property
    def clouds(self) -> Iterable[Cloud]:
        """The kept clouds, in the order in which they are shown."""
        return self._choice

    def add(
        self,
        frame: Frame,
        labels: npt.NDArray[np.uint8],
        outputs: Mapping[str, npt.NDArray[Any]],
        *,
        seconds: float = float("nan"),
        title: str | None = None,
        score: float = float("nan"),
    ) -> None:
        """Take the next labelled cloud.

        Args:
            frame: N points, with true labels if there are any.
            labels: [N] predicted ids.
            outputs: [N] by name, of which "confidence" and "moving" are shown.
            seconds: that labelling took.
            title: names the cloud; by default its number.
            score: of the cloud, from 0 to 1.

        Raises:
            LabelSetError: the frame has true labels, and no mapping leads to their set.
        """
        if self._first_stamp is None:
            self._first_stamp = frame.stamp
        self._seconds = (frame.stamp - self._first_stamp) / NANOSECONDS
        interval = Interval(self._seen, self._seconds, clouds=1)
        interval.labels += np.bincount(labels, minlength=_LABELS)
        if not np.isnan(seconds):
            interval.latency = interval.slowest = seconds
        if not np.isnan(score):
            interval.score, interval.scored = score, 1
        self.timeline.add(interval)
        if self._choice.wants(score):
            title = f"cloud {self._seen + 1}" if title is None else title
            self._choice.keep(self._kept(frame, labels, outputs, title), score)
        self._seen += 1

    def drop(self, reason: DropReason, cause: object) -> None:
        """Take note of a cloud that gets no labels, and why."""
        self.causes.setdefault(reason, str(cause)[:_LONGEST_CAUSE])
        self.timeline.add(Interval(self._seen, self._seconds, dropped=1))
        self._seen += 1

    def _kept(
        self,
        frame: Frame,
        labels: npt.NDArray[np.uint8],
        outputs: Mapping[str, npt.NDArray[Any]],
        title: str,
    ) -> Cloud:
        """Return a cloud with some of its points."""
        with np.errstate(over="ignore", invalid="ignore"):
            ranges = np.linalg.norm(frame.points, axis=1)
        near = np.flatnonzero(frame.measured & (ranges < FARTHEST))
        rows = near[thin(ranges[near], MOST_POINTS)]
        columns: dict[str, npt.NDArray[Any]] = {"label": labels}
        if frame.labels is not None and self.truth_set is not None:
            self._view = self._view or View.of(self.truth_set, self.label_set)
            truth = self._view.truth[true_labels(frame)]
            agrees = truth == self._view.prediction[labels]
            columns["truth"] = truth
            columns["agreement"] = np.where(
                truth == UNLABELLED, UNKNOWN, np.where(agrees, RIGHT, WRONG)
            ).astype(np.uint8)
        counts = {name: np.bincount(c, minlength=_LABELS) for name, c in columns.items()}
        for name, values in (
            ("confidence", outputs.get("confidence")),
            (MOVING, outputs.get(MOVING)),
            ("intensity", frame.intensity),
            ("colour", frame.colour),
        ):
            if values is not None:
                columns[name] = values
        pose = frame.upright if frame.pose is None else frame.pose
        return Cloud(
            title=title,
            number=self._seen,
            seconds=self._seconds,
            points=len(frame),
            coordinates=frame.points[rows],
            pose=pose,
            columns={name: column[rows] for name, column in columns.items()},
            counts=counts,
        )
