# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Runs a model on labelled sequences and scores it.

Truth and prediction are compared in the classes of the data set and, outdoors, in seven coarse
groups of them, which compare models of different label sets (`scoring.View`).
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from typing import Protocol

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from minkowski_perception.frame import Frame
from minkowski_perception.lab.evaluation import EvaluationError, NoLabelsError
from minkowski_perception.lab.evaluation.evaluated_motion import choose_ego_motion
from minkowski_perception.labels import UNLABELLED, LabelSet
from minkowski_perception.metrics import ConfusionMatrix, true_labels
from minkowski_perception.motion.ego_motion import NoPoseError
from minkowski_perception.motion.level import Level
from minkowski_perception.moving import MOVING
from minkowski_perception.report.collector import Collector
from minkowski_perception.scoring import Scorer, StillPairs, View
from minkowski_perception.segmenter import Segmentation
from minkowski_perception.settings import AUTO

GROUPS = "outdoor_groups7"
OUTDOOR_RANGES = (10.0, 20.0, 30.0, 50.0)
INDOOR_RANGES = (1.0, 2.0, 3.0, 5.0)
"""Metres from the sensor at which one bin of range ends and the next begins."""

_INDOOR = "indoor8"


def default_ranges(truth: LabelSet) -> tuple[float, ...]:
    """Return `INDOOR_RANGES` for indoor8 and the sets that map to it, else `OUTDOOR_RANGES`."""
    indoor = LabelSet.load(_INDOOR)
    return INDOOR_RANGES if truth.name in (_INDOOR, *indoor.sources) else OUTDOOR_RANGES


def views_of(truth: LabelSet, prediction: LabelSet) -> dict[str, View]:
    """Return the view "classes" and, if the data set's classes map to groups, "groups".

    A label is mapped to the data set's classes first, if possible, and then to the group of that
    class: a pole predicted as pole is correct in a data set that counts poles as man-made.

    Args:
        truth: label set of the data set.
        prediction: label set of the model.

    Raises:
        LabelSetError: no mapping from the model's label set to the data set's.
    """
    classes = View.of(truth, prediction)
    groups = LabelSet.load(GROUPS)
    if truth.name not in groups.sources:
        return {"classes": classes}
    truth_to_group = groups.mapping_from(truth)
    prediction_to_group = truth_to_group[classes.prediction]
    if prediction.name in groups.sources:
        prediction_to_group = np.where(
            prediction_to_group == UNLABELLED, groups.mapping_from(prediction), prediction_to_group
        )
    return {"classes": classes, "groups": View(groups, truth_to_group, prediction_to_group)}


@dataclass(frozen=True)
class Example:
    """A labelled frame to show.

    Attributes:
        sequence: name of its sequence.
        index: its index there.
        frame: N points.
        truth: [N] uint8, in the data set's classes.
        labels: [N] uint8, prediction in the same.
        accuracy: share of the points with a true class that are predicted as it.
        moving: [N] probability of moving, None without that output.
    """

    sequence: str
    index: int
    frame: Frame
    truth: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.uint8]
    accuracy: float
    moving: npt.NDArray[np.float32] | None = None


@dataclass(frozen=True)
class FrameConfusions:
    """Confusion of one frame.

    Attributes:
        sequence: name of its sequence.
        counts: [K, K + 1] of `ConfusionMatrix`, by name of the view.
    """

    sequence: str
    counts: Mapping[str, npt.NDArray[np.int64]]


class Evaluation:
    """Scores, speed and worst frame of a model on one data set.

    Args:
        truth: label set of the frames.
        prediction: label set of the model.
        ranges: metres between the bins of range; None for `default_ranges`.
        collector: takes the frames with their mIoU, for a report; None without one.

    Attributes:
        collector: that of the arguments.
        scorer: scores of the labels.
        worst: the frame with the lowest accuracy.
        seconds: time to label each frame.
        points: number of points of all frames.
        ego_motion: source of the poses by sequence, and the reason for it in brackets.
        averaged: number of frames whose probabilities were averaged with those of earlier frames.
        without_pose: number of frames that were left out because the source had no pose for them,
            as `label` leaves them out.
        frames: confusion of each scored frame.

    Raises:
        LabelSetError: no mapping from the model's label set to the data set's.
    """

    def __init__(
        self,
        truth: LabelSet,
        prediction: LabelSet,
        ranges: Sequence[float] | None = None,
        collector: Collector | None = None,
    ) -> None:
        views = views_of(truth, prediction)
        self.scorer = Scorer(truth, prediction, views, ranges or default_ranges(truth))
        self.worst: Example | None = None
        self.seconds: list[float] = []
        self.points = 0
        self.ego_motion: dict[str, str] = {}
        self.averaged = 0
        self.without_pose = 0
        self.frames: list[FrameConfusions] = []
        self._truth = truth
        self.collector = collector

    def begin(self, sequence: str, ego_motion: str = "recorded") -> None:
        """Start the next sequence, with the source of its poses."""
        self._sequence = sequence
        self.ego_motion[sequence] = ego_motion
        self._pairs = StillPairs(self._truth)
        self.scorer.begin(sequence)

    def add(self, index: int, frame: Frame, prediction: Segmentation, seconds: float) -> None:
        """Count the next frame of the sequence, its prediction and the time that it took."""
        self.seconds.append(seconds)
        self.points += len(frame)
        self.averaged += "average" in prediction.timings
        if frame.labels is None or frame.pose is None:
            pairs, self._pairs = None, StillPairs(self._truth)
        else:
            pairs = self._pairs.next(frame)
        if frame.labels is not None:
            before = {name: matrix.counts.copy() for name, matrix in self.scorer.all.items()}
            self.scorer.add(
                frame, prediction.labels, prediction.confidence, pairs, prediction.outputs
            )
            counts = {n: matrix.counts - before[n] for n, matrix in self.scorer.all.items()}
            self.frames.append(FrameConfusions(self._sequence, counts))
            self._keep_worst(index, frame, prediction)
        if self.collector is not None:
            self._collect(self.collector, index, frame, prediction, seconds)

    def _collect(
        self,
        collector: Collector,
        index: int,
        frame: Frame,
        prediction: Segmentation,
        seconds: float,
    ) -> None:
        title, miou = f"{self._sequence}, frame {index}", np.nan
        if frame.labels is not None:
            matrix = ConfusionMatrix(len(self._truth))
            matrix.counts = self.frames[-1].counts["classes"]
            miou = matrix.miou
            title += f", mIoU {miou:.3f}"
        outputs = {"confidence": prediction.confidence, **prediction.outputs}
        collector.add(frame, prediction.labels, outputs, seconds=seconds, title=title, score=miou)

    def _keep_worst(self, index: int, frame: Frame, prediction: Segmentation) -> None:
        view = self.scorer.views["classes"]
        truth, predicted = true_labels(frame), view.prediction[prediction.labels]
        counted = truth < len(view.label_set)
        accuracy = float((predicted == truth)[counted].mean()) if counted.any() else 1.0
        if self.worst is None or accuracy < self.worst.accuracy:
            moving = prediction.outputs.get(MOVING)
            self.worst = Example(self._sequence, index, frame, truth, predicted, accuracy, moving)


class Labeller(Protocol):
    """Labels the frames of a stream, as `Segmenter` does."""

    @property
    def label_set(self) -> LabelSet:
        """Classes of the labels."""

    def reset(self) -> None:
        """Start a new stream."""

    def continues(self, frame: Frame) -> bool:
        """Return whether a frame continues the stream."""

    def segment(self, frame: Frame) -> Segmentation:
        """Label every point of the next frame of the stream."""


def select_sequences(
    sequences: Mapping[str, Sequence[Frame]], names: Sequence[str] | None
) -> dict[str, Sequence[Frame]]:
    """Return the sequences with these names, or all, in the order of the data set.

    Raises:
        EvaluationError: a name is unknown; the valid ones are listed.
    """
    unknown = [name for name in names or () if name not in sequences]
    if unknown:
        raise EvaluationError(
            f"no sequence {', '.join(unknown)}; available: {', '.join(sequences)}"
        )
    return {name: sequences[name] for name in sequences if names is None or name in names}


def evaluate(
    labeller: Labeller,
    truth: LabelSet,
    sequences: Mapping[str, Sequence[Frame]],
    limit: int | None = None,
    ranges: Sequence[float] | None = None,
    *,
    ego_motion: str = AUTO,
    deskew: bool = True,
    level: bool = True,
    collector: Collector | None = None,
) -> Evaluation:
    """Label frames and score the labels.

    Args:
        labeller: is reset before each sequence.
        truth: label set of the frames' labels.
        sequences: by name. Frames without labels are part of the stream, so they are labelled
            too, but not scored.
        limit: largest number of frames of each sequence.
        ranges: see `Evaluation`.
        ego_motion: see `choose_ego_motion`.
        deskew: see `choose_ego_motion`.
        level: see `Stream`.
        collector: see `Evaluation`.

    Raises:
        NoLabelsError: no frame has labels.
        EvaluationError: no point has a known label, or the requested ego motion is not available.
        LabelSetError: no mapping from the model's label set to `truth`.
        OutOfOrderError, ValueError: see `Segmenter.segment`.
    """
    evaluation = Evaluation(truth, labeller.label_set, ranges, collector)
    scorer = evaluation.scorer
    _require_labels(sequences, limit)
    lengths = [len(s) if limit is None else min(limit, len(s)) for s in sequences.values()]
    with tqdm(desc="evaluating", total=sum(lengths), unit=" frames", disable=None) as bar:
        for (name, frames), length in zip(sequences.items(), lengths, strict=True):
            motion, stream = choose_ego_motion(islice(frames, length), ego_motion, deskew=deskew)
            evaluation.begin(name, f"{motion.name} ({motion.reason})")
            labeller.reset()
            mount = Level(level)
            for index, frame in enumerate(stream):
                bar.update()
                if not labeller.continues(frame):
                    motion.reset()
                    mount.begin()
                try:
                    located = replace(frame, pose=motion.locate(frame))
                except NoPoseError:
                    evaluation.without_pose += 1
                    continue
                # Flicker compares places, so recorded poses come first.
                scored = located if frame.pose is None else frame
                if not motion.knows_up:
                    if mount.observe(located):
                        labeller.reset()
                        tilt = f"{mount.tilt(frame.frame_id):.1f} degrees"
                        evaluation.ego_motion[name] += f", tilted by {tilt}"
                    located = mount.apply(located)
                started = time.perf_counter()
                prediction = labeller.segment(located)
                seconds = time.perf_counter() - started
                evaluation.add(index, scored, prediction, seconds)
                bar.set_postfix(mIoU=f"{scorer.all['classes'].miou:.3f}", refresh=False)
    if not scorer.points:
        raise EvaluationError(f"no point in {_listed(sequences)} has a class of '{truth.name}'")
    return evaluation


def _require_labels(sequences: Mapping[str, Sequence[Frame]], limit: int | None) -> None:
    """Check before hours of work that a frame has labels; the first of sequences come first."""
    parts = [(s, min(len(s), len(s) if limit is None else limit)) for s in sequences.values()]
    firsts = (s[0] for s, length in parts if length)
    others = (s[i] for s, length in parts for i in range(1, length))
    if all(frame.labels is None for frame in chain(firsts, others)):
        raise NoLabelsError(f"no true labels in {_listed(sequences)}")


def _listed(sequences: Mapping[str, Sequence[Frame]]) -> str:
    names = list(sequences)
    return f"sequence {names[0]}" if len(names) == 1 else f"{len(names)} sequences"
