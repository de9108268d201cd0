# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Compares predicted labels with true ones: `Scorer`, which `label`, `train` and the lab share.

Truth and prediction are compared in *views*: label sets that both are mapped to. The view
"classes" is the truth's own label set; evaluation adds a coarser one.

A network's other per-point outputs are scored by metrics that register under the output's name:

    @output_metric("ground")
    class GroundAccuracy:
        def __init__(self, label_set: LabelSet, ranges: npt.NDArray[np.float64]) -> None: ...
        def update(self, frame, values, labels) -> None: ...
        def figures(self) -> dict[str, Any]: ...
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from minkowski_perception.frame import Frame
from minkowski_perception.labels import UNLABELLED, LabelSet
from minkowski_perception.metrics import (
    Calibration,
    ConfusionMatrix,
    Flicker,
    pair_still_points,
    still_points,
    true_labels,
)
from minkowski_perception.moving import MOVING, MovingScores

Pairs = tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]
"""Rows [P] of a frame, and rows [P] of the next one, of points that measured the same place."""


@dataclass(frozen=True)
class View:
    """A label set in which truth and prediction are compared.

    Attributes:
        label_set: the set.
        truth: [65536] uint8, its id for each true label.
        prediction: [65536] uint8, its id for each label of the model.
    """

    label_set: LabelSet
    truth: npt.NDArray[np.uint8]
    prediction: npt.NDArray[np.uint8]

    @classmethod
    def of(cls, truth: LabelSet, prediction: LabelSet) -> View:
        """Return the view in the truth's own classes.

        Raises:
            LabelSetError: no mapping from the model's label set to the truth's.
        """
        return cls(truth, truth.mapping_from(truth), truth.mapping_from(prediction))

    @property
    def never_predicted(self) -> list[str]:
        """Classes that no label of the model maps to."""
        return [n for i, n in enumerate(self.label_set.names) if not (self.prediction == i).any()]


class Confusions(dict[str, ConfusionMatrix]):
    """Confusion matrices of some points by name of the view."""

    def __init__(self, views: Mapping[str, View]) -> None:
        super().__init__({name: ConfusionMatrix(len(v.label_set)) for name, v in views.items()})
        self._views = views

    def count(self, truth: npt.NDArray[np.integer], prediction: npt.NDArray[np.integer]) -> None:
        """Count points by true label [N] and label of the model [N]."""
        for name, view in self._views.items():
            self[name].update(view.truth[truth], view.prediction[prediction])


class OutputMetric(Protocol):
    """Metric of a per-point output other than the labels."""

    def update(
        self, frame: Frame, values: npt.NDArray[Any], labels: npt.NDArray[np.uint8]
    ) -> None:
        """Count a frame of N points.

        Args:
            frame: with true labels.
            values: [N] or [N, C] of the output.
            labels: [N] predicted labels in the classes of the true ones.
        """

    def figures(self) -> Mapping[str, Any]:
        """Return the figures by name; None where nothing was counted.

        Parts by name or by range, as in `MovingScores.figures`, are further mappings or lists of
        mappings.
        """


MetricFactory = Callable[[LabelSet, npt.NDArray[np.float64]], OutputMetric]
"""From the label set of the truth and the edges of the bins of range, metres, to a metric."""

OUTPUT_METRICS: dict[str, MetricFactory] = {}
"""Metrics by name of the output that they score."""

_Metric = TypeVar("_Metric", bound=MetricFactory)


def output_metric(output: str) -> Callable[[_Metric], _Metric]:
    """Register a class as the metric of an output."""

    def register(metric: _Metric) -> _Metric:
        OUTPUT_METRICS[output] = metric
        return metric

    return register


output_metric(MOVING)(MovingScores)


class Scorer:
    """Scores of a model's labels over the frames of some streams.

    Points without a measurement or without a true class do not count. A point that has a true
    class and gets no label is a miss.

    Args:
        truth: label set of the frames.
        prediction: label set of the model.
        views: label sets to compare in, by name; None for "classes" alone.
        ranges: metres from the sensor at which one bin of range ends and the next begins.

    Attributes:
        views: label sets to compare in, by name.
        ranges: edges of the bins of range, from 0 to infinity.
        all: confusion of all points.
        moving: of the points that truly move.
        by_range: of the points of each bin of range.
        parts: of points that the caller chooses, by the names given to `add`.
        by_sequence: of the points of each sequence, by the name given to `begin`.
        calibration: in the truth's classes, of points with a label and a true class.
        flicker_by_frame: flicker in the model's own classes by number of the frame in its stream.
        outputs: metrics of the further outputs that came with labels and have one.

    Raises:
        LabelSetError: no mapping from the model's label set to the truth's.
    """

    def __init__(
        self,
        truth: LabelSet,
        prediction: LabelSet,
        views: Mapping[str, View] | None = None,
        ranges: Sequence[float] = (),
    ) -> None:
        self.views = {"classes": View.of(truth, prediction)} if views is None else views
        self.ranges = np.array([0.0, *ranges, np.inf])
        self.all = Confusions(self.views)
        self.moving = Confusions(self.views)
        self.by_range = [Confusions(self.views) for _ in self.ranges[1:]]
        self.parts: dict[str, Confusions] = {}
        self.by_sequence: dict[str, Confusions] = {}
        self.calibration = Calibration()
        self.flicker_by_frame: list[Flicker] = []
        self.outputs: dict[str, OutputMetric] = {}
        self._current = [self.all]
        self._frame = 0
        self._labels_before: npt.NDArray[np.uint8] | None = None

    def begin(self, sequence: str) -> None:
        """Start a stream, whose points count in `by_sequence[sequence]` too."""
        parts = self.by_sequence.setdefault(sequence, Confusions(self.views))
        self._current = [self.all, parts]
        self._frame = 0
        self._labels_before = None

    def add(
        self,
        frame: Frame,
        labels: npt.NDArray[np.uint8],
        confidence: npt.NDArray[np.floating] | None = None,
        pairs: Pairs | None = None,
        outputs: Mapping[str, npt.NDArray[Any]] | None = None,
        parts: Mapping[str, npt.NDArray[np.bool_]] | None = None,
    ) -> None:
        """Count the next frame of the stream.

        Args:
            frame: N points with true labels.
            labels: [N] predicted labels.
            confidence: [N] of the labels, 0 to 1; None to leave calibration out.
            pairs: points that the last frame and this one both measured (`StillPairs`); None to
                leave flicker out.
            outputs: further outputs [N] or [N, C] by name.
            parts: which points [N] count in `self.parts` too, by name.
        """
        truth = true_labels(frame)
        for confusions in self._current:
            confusions.count(truth, labels)
        if frame.moving is not None:
            self.moving.count(truth[frame.moving], labels[frame.moving])
        for name, chosen in (parts or {}).items():
            part = self.parts.setdefault(name, Confusions(self.views))
            part.count(truth[chosen], labels[chosen])
        if len(self.by_range) > 1:
            self._add_ranges(frame, truth, labels)
        if confidence is not None:
            self._add_calibration(truth, labels, confidence)
        self._add_flicker(labels, pairs)
        classes = self.views["classes"]
        for name, values in (outputs or {}).items():
            if name in OUTPUT_METRICS and name not in self.outputs:
                self.outputs[name] = OUTPUT_METRICS[name](classes.label_set, self.ranges)
            if name in self.outputs:
                self.outputs[name].update(frame, values, classes.prediction[labels])

    def _add_ranges(
        self, frame: Frame, truth: npt.NDArray[np.integer], labels: npt.NDArray[np.uint8]
    ) -> None:
        distances = np.linalg.norm(frame.points, axis=1)
        bins = np.searchsorted(self.ranges[1:-1], distances, side="right")
        for i, confusions in enumerate(self.by_range):
            confusions.count(truth[bins == i], labels[bins == i])

    def _add_calibration(
        self,
        truth: npt.NDArray[np.integer],
        labels: npt.NDArray[np.uint8],
        confidence: npt.NDArray[np.floating],
    ) -> None:
        view = self.views["classes"]
        counts = (truth < len(view.label_set)) & (labels != UNLABELLED)
        correct = view.prediction[labels] == truth
        self.calibration.update(confidence[counts], correct[counts])

    def _add_flicker(self, labels: npt.NDArray[np.uint8], pairs: Pairs | None) -> None:
        if self._frame == len(self.flicker_by_frame):
            self.flicker_by_frame.append(Flicker())
        if pairs is not None and self._labels_before is not None:
            rows_before, rows = pairs
            flicker = self.flicker_by_frame[self._frame]
            flicker.update(self._labels_before[rows_before], labels[rows])
        self._frame += 1
        self._labels_before = labels

    @property
    def flicker(self) -> Flicker:
        """Flicker over all frames."""
        return sum(self.flicker_by_frame, Flicker())

    @property
    def points(self) -> int:
        """Number of points that count."""
        return self.all["classes"].points


class StillPairs:
    """Pairs of points that two consecutive frames of a stream both measured.

    Args:
        label_set: set of the true labels.
    """

    def __init__(self, label_set: LabelSet) -> None:
        self._label_set = label_set
        self._before: tuple[Frame, npt.NDArray[np.bool_]] | None = None

    def next(self, frame: Frame) -> Pairs | None:
        """Return the pairs of the last frame and this one; None for the first frame."""
        still = still_points(true_labels(frame), frame.moving, self._label_set)
        before, self._before = self._before, (frame, still)
        return None if before is None else pair_still_points(before[0], frame, before[1], still)
