# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What is counted while a model labels frames whose truth is known.

Truth and labels are compared in *views*: in the classes of the data set, and in coarse groups of
them where there are such. A view tells both in one label set, so that a model of other classes
than the data set's is scored in the finest that the data set tells apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from minkowski_perception.frame import Frame
from minkowski_perception.labels import UNLABELLED, LabelSet
from minkowski_perception.metrics import (
    Calibration,
    ConfusionMatrix,
    Flicker,
    same_places,
    standing_still,
)
from minkowski_perception.segmenter import Segmentation

GROUPS = "outdoor_groups7"
OUTDOOR_RANGES = (10.0, 20.0, 30.0, 50.0)
INDOOR_RANGES = (1.0, 2.0, 3.0, 5.0)
"""Metres from the sensor, between the bins that ranges are told in."""


@dataclass(frozen=True)
class View:
    """A label set that truth and labels are compared in.

    Attributes:
        label_set: the set.
        truth: [65536] uint8, its ids by true label.
        said: [65536] uint8, its ids by label of the model.
    """

    label_set: LabelSet
    truth: npt.NDArray[np.uint8]
    said: npt.NDArray[np.uint8]

    @property
    def never_said(self) -> list[str]:
        """Classes that the model cannot say, as it has none that is told as them."""
        return [n for i, n in enumerate(self.label_set.names) if not (self.said == i).any()]


def views_of(truth: LabelSet, said: LabelSet) -> dict[str, View]:
    """Return the views of labels: "classes", and "groups" where the data set's classes have them.

    In groups a label is first told in the data set's classes, if it can be, and then as their
    group is: who calls a pole a pole is right where poles are part of what is man-made.

    Args:
        truth: the data set's.
        said: the model's.

    Raises:
        LabelSetError: the model's labels cannot be told in the data set's classes.
    """
    classes = View(truth, truth.mapping_from(truth), truth.mapping_from(said))
    groups = LabelSet.load(GROUPS)
    if truth.name not in groups.sources:
        return {"classes": classes}
    of_truth = groups.mapping_from(truth)
    told = of_truth[classes.said]
    if said.name in groups.sources:
        told = np.where(told == UNLABELLED, groups.mapping_from(said), told)
    return {"classes": classes, "groups": View(groups, of_truth, told)}


class Agreement:
    """Confusion of some points in each view."""

    def __init__(self, views: Mapping[str, View]) -> None:
        self._views = views
        self._confusion = {name: ConfusionMatrix(len(v.label_set)) for name, v in views.items()}

    def __getitem__(self, view: str) -> ConfusionMatrix:
        return self._confusion[view]

    def update(self, truth: npt.NDArray[np.integer], said: npt.NDArray[np.integer]) -> None:
        """Count points by their true labels [N] and those of the model [N]."""
        for name, view in self._views.items():
            self._confusion[name].update(view.truth[truth], view.said[said])

    def miou(self) -> dict[str, float | None]:
        """Mean IoU in each view, None where no point has a true class."""
        return {name: known(confusion.miou) for name, confusion in self._confusion.items()}


@dataclass(frozen=True)
class Example:
    """A labelled frame to look at.

    Attributes:
        sequence: name of its sequence.
        index: its place there.
        frame: N points.
        truth: [N] uint8, in the data set's classes.
        labels: [N] uint8, in the same.
        accuracy: share of the points with a true class that got it.
    """

    sequence: str
    index: int
    frame: Frame
    truth: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.uint8]
    accuracy: float


class Tally:
    """All that is counted of the frames of one data set.

    Args:
        truth: label set of the frames.
        said: label set of the model.
        ranges: metres, between the bins of range; None for `OUTDOOR_RANGES` where there are
            groups, else `INDOOR_RANGES`.

    Attributes:
        views: what labels are compared in.
        ranges: edges of the bins of range, from 0 to infinity.
        all: agreement of all points.
        by_range: of those of each bin of range.
        by_sequence: of those of each sequence.
        calibration: in the data set's classes, of points that have a label and a true class.
        flicker: of what stands still, in the model's own classes.
        worst: the frame with the smallest share of right labels.
        seconds: that labelling took, by frame.
        points: that the frames have.

    Raises:
        LabelSetError: the model's labels cannot be told in the data set's classes.
    """

    def __init__(
        self, truth: LabelSet, said: LabelSet, ranges: Sequence[float] | None = None
    ) -> None:
        self.views = views_of(truth, said)
        usual = OUTDOOR_RANGES if "groups" in self.views else INDOOR_RANGES
        self.ranges = np.array([0.0, *(ranges or usual), np.inf])
        self.all = Agreement(self.views)
        self.by_range = [Agreement(self.views) for _ in self.ranges[1:]]
        self.by_sequence: dict[str, Agreement] = {}
        self.calibration = Calibration()
        self.flicker = Flicker()
        self.worst: Example | None = None
        self.seconds: list[float] = []
        self.points = 0
        self._truth = truth
        self._before: _Look | None = None

    @property
    def frames(self) -> int:
        """Frames that were labelled."""
        return len(self.seconds)

    @property
    def scored(self) -> int:
        """Points that have a true class."""
        return int(self.all["classes"].counts.sum())

    def begin(self, sequence: str) -> None:
        """Go on to the next sequence."""
        self.by_sequence[sequence] = Agreement(self.views)
        self._before = None

    def add(self, index: int, frame: Frame, said: Segmentation, seconds: float) -> None:
        """Enter what a model said of the next frame of the sequence, and how long that took."""
        self.seconds.append(seconds)
        self.points += len(frame)
        if frame.labels is None:
            self._before = None
            return
        truth = np.where(frame.valid, frame.labels, UNLABELLED)
        sequence = next(reversed(self.by_sequence))
        self.all.update(truth, said.labels)
        self.by_sequence[sequence].update(truth, said.labels)
        self._add_ranges(frame, truth, said.labels)
        self._add_calibration(truth, said)
        self._add_flicker(_Look(frame, self._still(frame, truth), said.labels))
        self._keep_worst(sequence, index, frame, truth, said.labels)

    def _add_ranges(
        self, frame: Frame, truth: npt.NDArray[np.integer], labels: npt.NDArray[np.uint8]
    ) -> None:
        away = np.linalg.norm(frame.points, axis=1)
        place = np.searchsorted(self.ranges[1:-1], away, side="right")
        for i, agreement in enumerate(self.by_range):
            agreement.update(truth[place == i], labels[place == i])

    def _add_calibration(self, truth: npt.NDArray[np.integer], said: Segmentation) -> None:
        view = self.views["classes"]
        counts = (truth < len(view.label_set)) & (said.labels != UNLABELLED)
        right = view.said[said.labels] == truth
        self.calibration.update(said.confidence[counts], right[counts])

    def _still(self, frame: Frame, truth: npt.NDArray[np.integer]) -> npt.NDArray[np.bool_]:
        return standing_still(truth, frame.moving, self._truth)

    def _add_flicker(self, now: _Look) -> None:
        before, self._before = self._before, now if now.frame.pose is not None else None
        if before is None or self._before is None:
            return  # nobody knows what is the same place
        rows_before, rows_now = same_places(before.frame, now.frame, before.still, now.still)
        self.flicker.update(before.labels[rows_before], now.labels[rows_now])

    def _keep_worst(
        self,
        sequence: str,
        index: int,
        frame: Frame,
        truth: npt.NDArray[np.integer],
        labels: npt.NDArray[np.uint8],
    ) -> None:
        view = self.views["classes"]
        told = view.said[labels]
        counts = truth < len(view.label_set)
        accuracy = float((told == truth)[counts].mean()) if counts.any() else 1.0
        if self.worst is None or accuracy < self.worst.accuracy:
            self.worst = Example(sequence, index, frame, truth.astype(np.uint8), told, accuracy)


@dataclass(frozen=True)
class _Look:
    """A frame, which of its points [N] stand still, and what the model said of them [N]."""

    frame: Frame
    still: npt.NDArray[np.bool_]
    labels: npt.NDArray[np.uint8]


def known(value: float) -> float | None:
    """Return the value, or None where it is not a number, for JSON."""
    return None if np.isnan(value) else float(value)
