# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Counts of `benchmark time`: labels of a drive, by parts of its points, and metrics of them.

The truth of a frame is prepared once (`SceneTruth`) for the labels of all models.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from minkowski_perception.frame import Frame
from minkowski_perception.lab.benchmarks.ablation import Scene
from minkowski_perception.lab.evaluation.intervals import miou_of
from minkowski_perception.labels import UNLABELLED, LabelSet
from minkowski_perception.metrics import true_labels
from minkowski_perception.moving import (
    BINS,
    SPEEDS,
    average_precision,
    calibration_error,
    calls_moving,
    labels_by_motion,
    moving_iou,
    probability_bins,
    speed_bins,
    true_motion,
)
from minkowski_perception.objects import MovingObjects, connected_objects
from minkowski_perception.scoring import Pairs

CELL = 0.4
"""Side of the cells of `Sightings`, metres."""
OCCLUDED = 3
"""Frames for which a cell was not seen, after which it counts as seen again."""
OFTEN = 3
"""Frames in which a cell was seen often."""
FAR = 30.0
"""Metres from the sensor."""
RANGES = (0.0, 10.0, 20.0, 30.0, 50.0, np.inf)
"""Edges of the bins of range, metres."""
LEAST_POINTS = 10
"""Points that an object must have in a frame to count there."""
STABLE = 3
"""Frames in a row in which most points of an object must be right."""
SMALL_THINGS = ("pole", "traffic-sign")
"""Classes that have objects, beside those that can move."""

PARTS = ("first_seen", "newly_seen", "reseen", "seen_often", "moving", "parked", "beyond_30m")
MULTI_SCAN = "miou25"
MOTION = ("moving_ap", "moving_iou", "moving_calibration_error")
METRICS = ("all", *PARTS, MULTI_SCAN, *MOTION, "flicker", "frames_until_right")

Counts = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


class Sightings:
    """How often, and when last, the cells of a drive were seen."""

    def __init__(self) -> None:
        self._keys = np.zeros(0, np.int64)
        self._times = np.zeros(0, np.int64)
        self._last = np.zeros(0, np.int64)
        self._frame = 0

    def update(self, points: npt.NDArray[np.floating], measured: Mask) -> tuple[Counts, Counts]:
        """Count the next frame.

        Args:
            points: [N, 3] in the odometry frame, finite.
            measured: [N] which points make their cell a seen one.

        Returns:
            [N] number of earlier frames in which each point's cell was seen, and [N] frames since
            then, 0 if it never was.
        """
        x, y, z = np.floor(points / CELL).astype(np.int64).T
        keys = (x * 4_000_003 + y) * 4_000_003 + z
        cells, of_point = np.unique(keys, return_inverse=True)
        before = np.isin(cells, self._keys)
        rows = np.searchsorted(self._keys, cells[before])
        times, gaps = np.zeros(len(cells), np.int64), np.zeros(len(cells), np.int64)
        times[before] = self._times[rows]
        gaps[before] = self._frame - self._last[rows]

        seen = np.unique(keys[measured])
        merged = np.union1d(self._keys, seen)
        old, new = np.searchsorted(merged, self._keys), np.searchsorted(merged, seen)
        counts, last = np.zeros(len(merged), np.int64), np.zeros(len(merged), np.int64)
        counts[old], last[old] = self._times, self._last
        counts[new] += 1
        last[new] = self._frame
        self._keys, self._times, self._last = merged, counts, last
        self._frame += 1
        return times[of_point], gaps[of_point]


@dataclass(frozen=True)
class DriveObjects:
    """Objects of a drive: connected cells of a class, of those that can move and `SMALL_THINGS`.

    What stands still keeps its place in the odometry frame, so its cells are those of all frames;
    what moves is followed from frame to frame (`MovingObjects`).

    Attributes:
        ids: of each frame [N], -1 for points of no object.
        speeds: of each frame [N], m/s; NaN where unknown.
        new: [I] which objects have no point in the first frame.
    """

    ids: Sequence[Counts]
    speeds: Sequence[npt.NDArray[np.float64]]
    new: Mask

    @classmethod
    def of(cls, frames: Sequence[Frame], truth: LabelSet) -> DriveObjects:
        """Find the objects of a drive of one frame or more."""
        small = [truth.names.index(name) for name in SMALL_THINGS if name in truth.names]
        things = [*truth.movable_ids, *small]
        follower = MovingObjects()
        ids, speeds = map(list, zip(*(follower.update(frame) for frame in frames), strict=True))
        moving = max(int(each.max(initial=-1)) for each in ids) + 1
        rows = [
            np.flatnonzero(np.isin(true_labels(frame), things) & (of_frame < 0))
            for frame, of_frame in zip(frames, ids, strict=True)
        ]
        pairs = list(zip(frames, rows, strict=True))
        still = connected_objects(
            np.concatenate([frame.odometry_points[own] for frame, own in pairs]),
            np.concatenate([true_labels(frame)[own] for frame, own in pairs]),
        )
        ends = np.cumsum([len(own) for own in rows])[:-1]
        for of_frame, own, found in zip(ids, rows, np.split(still, ends), strict=True):
            of_frame[own] = moving + found
        new = np.ones(moving + int(still.max(initial=-1)) + 1, np.bool_)
        new[ids[0][ids[0] >= 0]] = False
        return cls(ids, speeds, new)


@dataclass(frozen=True)
class _Motion:
    """Truth of the D points of a frame whose motion counts.

    Attributes:
        rows: [D] of them.
        moves: [D].
        classes: [D].
        ranges: [D], bins of `RANGES`.
        fast: [F] rows among the D of points that move with known speed.
        speeds: [F], bins of `SPEEDS`.
        by_motion: [D] in the classes of the multi-scan task.
    """

    rows: npt.NDArray[np.intp]
    moves: Counts
    classes: Counts
    ranges: npt.NDArray[np.intp]
    fast: npt.NDArray[np.intp]
    speeds: npt.NDArray[np.intp]
    by_motion: Counts


@dataclass(frozen=True)
class SceneTruth:
    """Truth of a frame in a condition, prepared for counting.

    Attributes:
        frame: as it is measured.
        rows: [C] points with a true class.
        cells: [C] of the counts [2 ** P, K, K + 1] by set of `PARTS`, true and predicted class.
        pairs: see `Scene`.
        things: [T] points of objects.
        objects: [T], theirs.
        of_objects: [I] number of measured points of each object of the drive.
        labels: [N], see `true_labels`.
        motion: None for the first frame, in which nothing is known of motion.
    """

    frame: Frame
    rows: npt.NDArray[np.intp]
    cells: Counts
    pairs: Pairs | None
    things: npt.NDArray[np.intp]
    objects: Counts
    of_objects: Counts
    labels: npt.NDArray[np.uint8]
    motion: _Motion | None


def scene_truths(
    scenes: Iterator[Scene], objects: DriveObjects, truth: LabelSet
) -> Iterator[SceneTruth]:
    """Yield the truth of the scenes of a drive."""
    sightings = Sightings()
    classes = len(truth)
    for i, scene in enumerate(scenes):
        frame, labels = scene.truth, true_labels(scene.truth)
        times, gaps = sightings.update(frame.odometry_points, scene.frame.valid)
        assert frame.moving is not None
        distances = np.linalg.norm(frame.points, axis=1)
        parts: Mapping[str, Mask] = {
            "first_seen": times == 0,
            "newly_seen": (times == 0) & (i > 0),
            "reseen": gaps > OCCLUDED,
            "seen_often": times >= OFTEN,
            "moving": frame.moving,
            "parked": np.isin(labels, truth.movable_ids) & ~frame.moving,
            "beyond_30m": distances >= FAR,
        }
        member = np.zeros(len(frame), np.int64)
        for bit, name in enumerate(PARTS):
            member |= parts[name].astype(np.int64) << bit
        rows = np.flatnonzero(labels < classes)
        things = np.flatnonzero((objects.ids[i] >= 0) & (labels < classes))
        yield SceneTruth(
            scene.frame,
            rows,
            (member[rows] * classes + labels[rows]) * (classes + 1),
            scene.pairs,
            things,
            objects.ids[i][things],
            np.bincount(objects.ids[i][things], minlength=len(objects.new)),
            labels,
            _motion_of(frame, distances, objects.speeds[i], truth) if i else None,
        )


def _motion_of(
    frame: Frame,
    distances: npt.NDArray[np.floating],
    speeds: npt.NDArray[np.float64],
    truth: LabelSet,
) -> _Motion:
    motion = true_motion(frame)
    assert motion is not None
    rows = np.flatnonzero(motion != UNLABELLED)
    moves, classes, speeds = motion[rows].astype(np.int64), true_labels(frame)[rows], speeds[rows]
    fast = np.flatnonzero(~np.isnan(speeds))
    return _Motion(
        rows,
        moves,
        classes.astype(np.int64),
        np.searchsorted(RANGES[1:-1], distances[rows], side="right"),
        fast,
        speed_bins(speeds[fast]),
        labels_by_motion(truth, classes, moves == 1).astype(np.int64),
    )


@dataclass(frozen=True)
class DriveScore:
    """What is counted in a drive.

    Attributes:
        confusions: [K, K + 1] by metric, see `ConfusionMatrix`: of "all", of `PARTS`, and of
            `MULTI_SCAN` for models with the head "moving".
        motion: [2, B], see `MovingScores.histogram`; None without that head.
        flicker: [2] pairs that were compared, and those that changed.
        delay: [2] new objects, and the sum of the frames until each is right, see `delays`.
    """

    confusions: Mapping[str, Counts]
    motion: Counts | None
    flicker: Counts
    delay: Counts


@dataclass
class MotionCounts:
    """Numbers of points by bin of probability, and by class, range and speed.

    Attributes:
        by_class: [K, 2, B].
        by_range: [R, 2, B].
        by_speed: [S, B], moving points.
    """

    by_class: Counts
    by_range: Counts
    by_speed: Counts

    @classmethod
    def none(cls, classes: int) -> MotionCounts:
        """Return counts of no points."""
        return cls(
            np.zeros((classes, 2, BINS), np.int64),
            np.zeros((len(RANGES) - 1, 2, BINS), np.int64),
            np.zeros((len(SPEEDS) - 1, BINS), np.int64),
        )

    def __add__(self, other: MotionCounts) -> MotionCounts:
        return MotionCounts(
            self.by_class + other.by_class,
            self.by_range + other.by_range,
            self.by_speed + other.by_speed,
        )

    @property
    def histogram(self) -> Counts:
        """[2, B] of all points."""
        return np.asarray(self.by_range.sum(axis=0))

    def add(self, scene: SceneTruth, moving: npt.NDArray[np.floating]) -> None:
        """Count the probabilities [N] of moving in a frame; NaN where unknown."""
        motion = scene.motion
        if motion is None:
            return
        values = moving[motion.rows]
        known = ~np.isnan(values)
        bins = np.zeros(len(values), np.int64)
        bins[known] = probability_bins(values[known])
        for counts, groups in ((self.by_class, motion.classes), (self.by_range, motion.ranges)):
            cells = ((2 * groups + motion.moves) * BINS + bins)[known]
            counts += np.bincount(cells, minlength=counts.size).reshape(counts.shape)
        fast = motion.fast[known[motion.fast]]
        cells = motion.speeds[known[motion.fast]] * BINS + bins[fast]
        self.by_speed += np.bincount(cells, minlength=self.by_speed.size).reshape(-1, BINS)


class LabelCounts:
    """Counts the labels of a model in a drive.

    Args:
        truth: label set of the frames.
        prediction: label set of the model.
    """

    def __init__(self, truth: LabelSet, prediction: LabelSet) -> None:
        self._truth = truth
        self._table = truth.mapping_from(prediction)[: UNLABELLED + 1]
        classes = len(truth)
        self._cells = np.zeros(2 ** len(PARTS) * classes * (classes + 1), np.int64)
        self._multi = classes + len(truth.divided_by_motion)
        self._multi_scan = np.zeros((self._multi, self._multi + 1), np.int64)
        self._flicker = np.zeros(2, np.int64)
        self._before: npt.NDArray[np.uint8] | None = None
        self._seen: list[Mask] = []
        self._right: list[Mask] = []

    def add(
        self,
        scene: SceneTruth,
        labels: npt.NDArray[np.uint8],
        moving: npt.NDArray[np.floating] | None,
    ) -> None:
        """Count the next frame.

        Args:
            scene: its truth.
            labels: [N] of the model's set.
            moving: [N] probability of moving, NaN where unknown; None without that head.
        """
        classes, predicted = len(self._truth), self._table[labels]
        columns = np.minimum(predicted[scene.rows], classes)
        self._cells += np.bincount(scene.cells + columns, minlength=len(self._cells))
        if scene.pairs is not None and self._before is not None:
            before, now = scene.pairs
            changed = np.count_nonzero(self._before[before] != labels[now])
            self._flicker += np.array([len(now), changed])
        self._before = labels
        right = predicted[scene.things] == scene.labels[scene.things]
        hits = np.bincount(scene.objects[right], minlength=len(scene.of_objects))
        self._seen.append(scene.of_objects >= LEAST_POINTS)
        self._right.append(2 * hits > scene.of_objects)
        if scene.motion is not None and moving is not None:
            self._add_motion(scene.motion, predicted, moving)

    def _add_motion(
        self,
        motion: _Motion,
        predicted: npt.NDArray[np.uint8],
        moving: npt.NDArray[np.floating],
    ) -> None:
        values = moving[motion.rows]
        known = ~np.isnan(values)
        columns = labels_by_motion(self._truth, predicted[motion.rows], calls_moving(values))
        cells = motion.by_motion * (self._multi + 1) + np.minimum(columns, self._multi)
        found = np.bincount(cells[known], minlength=self._multi_scan.size)
        self._multi_scan += found.reshape(self._multi_scan.shape)

    def score(self, objects: DriveObjects, motion: Counts | None) -> DriveScore:
        """Return the counts of the drive.

        Args:
            objects: of the drive.
            motion: see `DriveScore`.
        """
        classes = len(self._truth)
        by_set = self._cells.reshape(-1, classes, classes + 1)
        sets = np.arange(len(by_set))
        confusions = {"all": by_set.sum(axis=0)}
        for bit, name in enumerate(PARTS):
            confusions[name] = by_set[(sets >> bit) & 1 == 1].sum(axis=0)
        if motion is not None:
            confusions[MULTI_SCAN] = self._multi_scan
        found = delays(np.stack(self._seen)[:, objects.new], np.stack(self._right)[:, objects.new])
        return DriveScore(
            confusions, motion, self._flicker, np.array([len(found), found.sum()], np.int64)
        )


def delays(seen: Mask, right: Mask) -> Counts:
    """Return the frames until each object is stably right.

    Frames in which an object has too few points do not count. An object that is right in the first
    `STABLE` frames in a row has 0; one that never is has the number of its frames. Objects of
    fewer frames than `STABLE` are left out.

    Args:
        seen: [F, I] whether an object has enough points in a frame.
        right: [F, I] whether most of its points are right.
    """
    found = []
    for column in range(seen.shape[1]):
        own = right[seen[:, column], column]
        if len(own) < STABLE:
            continue
        runs = np.lib.stride_tricks.sliding_window_view(own, STABLE).all(axis=1)
        found.append(int(runs.argmax()) if runs.any() else len(own))
    return np.array(found, np.int64)


@dataclass
class Score:
    """Scores of one model of a row in one condition.

    Attributes:
        drives: in the order of the streams.
        motion: of all drives; None without the head "moving".
        seconds: time to label each frame.
        state_bytes: largest size of the state.
    """

    drives: list[DriveScore] = field(default_factory=list)
    motion: MotionCounts | None = None
    seconds: list[float] = field(default_factory=list)
    state_bytes: int = 0

    def extend(self, other: Score) -> None:
        """Add the scores of further drives."""
        self.drives += other.drives
        self.seconds += other.seconds
        self.state_bytes = max(self.state_bytes, other.state_bytes)
        counts = [motion for motion in (self.motion, other.motion) if motion is not None]
        self.motion = sum(counts[1:], start=counts[0]) if counts else None


def metric_values(
    drives: Sequence[DriveScore], draws: Counts
) -> dict[str, npt.NDArray[np.float64]]:
    """Return each metric in each draw [R]; NaN where nothing was counted.

    All are in percent but "frames_until_right", which is in frames.

    Args:
        drives: D of them.
        draws: [R, D], see `time.draw_drives`.
    """
    values = dict.fromkeys(METRICS, np.full(len(draws), np.nan))
    for name in drives[0].confusions:
        values[name] = 100.0 * miou_of(_drawn(draws, [d.confusions[name] for d in drives]))
    histograms = [drive.motion for drive in drives if drive.motion is not None]
    if histograms:
        totals = _drawn(draws, histograms)
        figures = (average_precision, moving_iou, calibration_error)
        values |= {name: 100.0 * f(totals) for name, f in zip(MOTION, figures, strict=True)}
    for name, factor, parts in (
        ("flicker", 100.0, [drive.flicker for drive in drives]),
        ("frames_until_right", 1.0, [drive.delay for drive in drives]),
    ):
        whole, part = _drawn(draws, parts).T
        values[name] = np.where(whole > 0, factor * part / np.maximum(whole, 1), np.nan)
    return values


def _drawn(draws: Counts, of_drives: Sequence[Counts]) -> npt.NDArray[np.float64]:
    """Return the sum of the counts of the drives in each draw, [R, ...]."""
    stacked = np.stack(of_drives)
    sums = draws.astype(float) @ stacked.reshape(len(stacked), -1).astype(float)
    return np.asarray(sums.reshape(len(draws), *stacked.shape[1:]))
