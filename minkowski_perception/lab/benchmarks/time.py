# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What time is worth: causal networks against a 3D network that is trained alike, their twin.

Every row of the table has its twin: the 3D model with the same heads, averaging and CRF. Both
label the same frames of simulated drives that nothing was trained on. A row holds several models,
which differ in the seed of their training; each is compared with the twin of its seed. Each
network labels a frame once; its labels count as they are and averaged.

Metrics, in percent:

- all, first_seen, newly_seen, reseen, seen_often, moving, parked, beyond_30m: mIoU of these
  points. Cells of 0.4 m in the odometry frame say how often a point was seen before in its drive
  (`Sightings`): never, never and not in the first frame (in which everything is new, and nothing
  is remembered), again after more than three frames, or in three frames or more. Parked points
  are of a class that can move, and do not.
- miou25: mIoU of the 25 classes that tell moving from still (`moving.MovingScores`), without the
  first frame of a drive, in which nothing is known of motion.
- moving_ap, moving_iou, moving_calibration_error: average precision, IoU and calibration error of
  moving points, likewise.
- flicker: see `ablation`; less is better.
- frames_until_right, in frames: of the objects that appear after the first frame, the number of
  frames before most of their points are right in three frames in a row (`time_scores.delays`),
  counted from the first frame with ten points or more. 0 is best.

A gain is the mean over the seeds of the difference to the twin, in percentage points, with the
interval that holds 95 % of its bootstrap values: drives are drawn with replacement, of each LiDAR
as many as there are, for all seeds and both models together.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from itertools import islice
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch
from tqdm import tqdm

from minkowski_perception.allocator import keep_freed_memory
from minkowski_perception.device import use_threads
from minkowski_perception.frame import Frame
from minkowski_perception.lab.benchmarks import BenchmarkError
from minkowski_perception.lab.benchmarks.ablation import LIDARS, TRUTH, Rng, Stream, scenes
from minkowski_perception.lab.benchmarks.time_scores import (
    METRICS,
    RANGES,
    Counts,
    DriveObjects,
    LabelCounts,
    MotionCounts,
    SceneTruth,
    Score,
    metric_values,
    scene_truths,
)
from minkowski_perception.lab.datasets.catalogue import Dataset
from minkowski_perception.lab.evaluation.intervals import DRAWS, draws_of, interval
from minkowski_perception.lab.simulation.drive import held_out_seeds
from minkowski_perception.lab.simulation.lidar import get_lidar
from minkowski_perception.lab.simulation.noise import DriveNoise, Noise
from minkowski_perception.lab.training.calibration import GuessingSegmenter
from minkowski_perception.lab.training.recipe import Data
from minkowski_perception.lab.training.sources import cache_folder, simulated_drive
from minkowski_perception.labels import UNLABELLED, LabelSet
from minkowski_perception.metrics import none_if_nan, still_points, true_labels
from minkowski_perception.moving import (
    MOVING,
    SPEEDS,
    calls_moving,
    figures_by_bin,
    motion_figures,
)
from minkowski_perception.networks.model import load_model
from minkowski_perception.pictures import save_map
from minkowski_perception.segmenter import Segmenter, on_points
from minkowski_perception.sparse import largest

FIRST_SEED = 9100
"""Seed of the first drive.

No model was trained on these streets, but a study of designs used them: score designs that it
suggested on others.
"""

TWIN = "time_3d"
"""Name of the 3D model that models are compared with by default."""
MODELS: Mapping[str, str] = {
    TWIN: TWIN,
    "time_3d_wide": TWIN,
    "time_3d_residuals": TWIN,
    "time_3d_averaged": TWIN,
    "time_causal": TWIN,
    "time_rich": TWIN,
    "time_rich_wide": "time_3d_wide",
    "time_averaged": "time_3d_averaged",
    "time_residuals": TWIN,
    "time_residuals_averaged": "time_3d_averaged",
    "time_support": TWIN,
    "time_3d_crf": TWIN,
    "time_rich_crf": "time_3d_crf",
}
"""Twin of each model of the table, in its order; designs that were built later come later."""

REFINED, AVERAGED = " + CRF", " + averaging"
_HEADS = {m: m.replace("moving_calibration_error", "moving_ece") for m in METRICS} | {
    "frames_until_right": "until_right"
}
"""Heads of the columns of the table."""

Change = Callable[[Frame, Rng], Frame]
"""From a frame and random numbers of its own to the frame as it is measured."""


def _drive_noise(seed: int) -> Change:
    change = DriveNoise().of_drive(np.random.default_rng([seed, 4]))
    return lambda frame, _: change(frame)


def _pose_noise(metres: float, seed: int) -> Change:
    """Return what moves each frame's pose by Gaussian noise of a standard deviation."""

    def change(frame: Frame, rng: Rng) -> Frame:
        assert frame.pose is not None
        pose = frame.pose.copy()
        pose[:3, 3] += rng.normal(0.0, metres, 3)
        return replace(frame, pose=pose)

    return change


CONDITIONS: Mapping[str, Callable[[int], Change | None]] = {
    "clean": lambda _: None,
    "frame_noise": lambda _: Noise(),
    "drive_noise": _drive_noise,
    "pose_5cm": partial(_pose_noise, 0.05),
    "pose_10cm": partial(_pose_noise, 0.1),
    "pose_20cm": partial(_pose_noise, 0.2),
}
"""From the seed of a drive to the change of its frames, None for none, by name."""
DEFAULT_CONDITIONS = ("clean", "frame_noise", "drive_noise")

POSE_ERRORS = ("pose_5cm", "pose_10cm", "pose_20cm")
"""Conditions of the row that matters most and its twin alone."""
WINDOWED = ("clean",)
"""Conditions of the rows on windows."""


@dataclass(frozen=True)
class Labelled:
    """Outputs of a network for the N points of a frame.

    Attributes:
        labels: [N] uint8 of this frame alone, and averaged.
        seconds: from points to labels, of both.
        state_bytes: of both.
        moving: [N] probability of moving; None without that head.
    """

    labels: tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]
    seconds: tuple[float, float]
    state_bytes: tuple[int, int]
    moving: npt.NDArray[np.floating] | None


class Labeller(Protocol):
    """Labels the frames of a stream, of a single frame and averaged."""

    @property
    def label_set(self) -> LabelSet:
        """Classes of the labels."""

    def reset(self) -> None:
        """Start a new stream."""

    def label(self, frame: Frame) -> Labelled:
        """Label the next frame."""


class TimeSegmenter(GuessingSegmenter):
    """A segmenter that returns the labels of a single frame and the averaged ones together.

    A 3D network is the twin that shows what the head "moving" guesses from one frame.
    """

    def label(self, frame: Frame) -> Labelled:
        """See `Labeller.label`."""
        started = perf_counter()
        found = self.probabilities(frame)
        whole = perf_counter() - started
        labels, seconds = [], []
        for values, before in (
            (found.alone, whole - found.timings.get("average", 0.0)),
            (found.values, whole),
        ):
            started = perf_counter()
            probability, best = largest(values)
            labels.append(on_points(best.to(torch.uint8), found.voxels, UNLABELLED))
            on_points(probability, found.voxels, 0.0)  # the confidence, for its time alone
            seconds.append(before + perf_counter() - started)
        moving = found.outputs.get(MOVING)
        return Labelled(
            (labels[0], labels[1]),
            (seconds[0], seconds[1]),
            (self._execution.nbytes, self.state_bytes),
            None if moving is None else on_points(moving, found.voxels, np.nan),
        )


@dataclass(frozen=True)
class Row:
    """Models that differ in the seed of their training; two rows of the table.

    Attributes:
        name: of the model and its settings; " + averaging" follows in the second row.
        labellers: by the name of the training.
        conditions: names of those that the row takes part in.
    """

    name: str
    labellers: Mapping[str, Labeller]
    conditions: Sequence[str]


Scores = dict[str, dict[str, dict[str, Score]]]
"""By condition, name of the row with its averaging, and training."""


class Chosen(NamedTuple):
    """Models of the table.

    Attributes:
        cards: by name of the model and of the training.
        twins: by name of the model.
        headline: the model that matters most.
        notices: sentences on what is left out.
    """

    cards: Mapping[str, Mapping[str, Path]]
    twins: Mapping[str, str]
    headline: str
    notices: Sequence[str]


def choose_models(
    folders: Sequence[Path],
    names: Sequence[str] | None = None,
    twin: str = TWIN,
    headline: str | None = None,
) -> Chosen:
    """Find the models of the table.

    Args:
        folders: one for each training, with models of the same names.
        names: of the models; "NAME=TWIN" names its twin too. None for all of `MODELS`.
        twin: name of the 3D model that models are compared with by default.
        headline: name of the model that matters most; None for the last 4D one of the table that
            has no CRF.

    Raises:
        BenchmarkError: the twin or the headline's model is in no folder.
    """
    twins = {twin: twin, **{n: twin if t == TWIN else t for n, t in MODELS.items()}}
    if names is not None:
        pairs = [name.partition("=") for name in names]
        twins = {twin: twin, **{n: t or twins.get(n, twin) for n, _, t in pairs}}
    if headline is not None:
        twins.setdefault(headline, twin)
    for each in list(twins.values()):
        twins.setdefault(each, twin)
    places = ", ".join(map(str, folders))
    cards = {
        name: {str(f): f / f"{name}.yaml" for f in folders if (f / f"{name}.yaml").exists()}
        for name in twins
    }
    needed = [name for name in (twin, headline) if name is not None and not cards[name]]
    if needed:
        raise BenchmarkError(f"no models {', '.join(needed)} in any of {places}")
    notices = [f"{n} is left out: it is in none of {places}" for n, c in cards.items() if not c]
    notices += [
        f"{name} is in {len(found)} of {len(folders)} folders alone"
        for name, found in cards.items()
        if 0 < len(found) < len(folders)
    ]
    cards = {name: found for name, found in cards.items() if found}
    for name in cards:
        if twins[name] not in cards:
            notices.append(f"{name} is compared with {twin}: there is no {twins[name]}")
            twins[name] = twin
    designs = [name for name in cards if "3d" not in name and not name.endswith("_crf")]
    chosen = headline or (designs[-1] if designs else twin)
    return Chosen(cards, {name: twins[name] for name in cards}, chosen, notices)


def open_rows(
    chosen: Chosen,
    conditions: Sequence[str] = DEFAULT_CONDITIONS,
    *,
    windows: Sequence[int] = (),
    device: str = "auto",
    engine: str = "auto",
) -> list[Row]:
    """Load the models of the table.

    Args:
        chosen: from `choose_models`.
        conditions: names of those that are measured.
        windows: numbers of frames; each adds a row of the headline's model on windows of as many.
        device: see `Segmenter`.
        engine: see `Segmenter`.

    Raises:
        ModelError: a model cannot be loaded.
    """
    open_segmenter = partial(TimeSegmenter, device=device, engine=engine, precision="float32")
    first = chosen.headline, chosen.twins[chosen.headline]
    rows: list[Row] = []
    windowed: dict[str, dict[str, Labeller]] = {}
    for name, cards in chosen.cards.items():
        models = {training: load_model(card) for training, card in cards.items()}
        plain = {t: open_segmenter(model, crf=False) for t, model in models.items()}
        refined: dict[str, Labeller] = {}
        for training, model in models.items():
            if model.crf is not None:
                segmenter = plain[training].another_stream()
                segmenter.crf = True
                assert isinstance(segmenter, TimeSegmenter)
                refined[training] = segmenter
        own = [each for each in conditions if name in first or each not in POSE_ERRORS]
        rows.append(Row(name, plain, own))
        if refined:
            rows.append(Row(name + REFINED, refined, own))
        if name == chosen.headline:
            windowed = {
                f"{name}, window of {length}": {
                    training: open_segmenter(model, crf=False, execution="window", window=length)
                    for training, model in models.items()
                }
                for length in windows
            }
    in_windows = [each for each in conditions if each in WINDOWED] or list(conditions[:1])
    return rows + [Row(name, each, in_windows) for name, each in windowed.items()]


@dataclass(frozen=True)
class Drive:
    """A simulated drive along a street.

    Attributes:
        lidar: name of its LiDAR model.
        seed: of the street.
        frames: number of frames.
        cache: folder in which simulated drives are kept; None for none.
    """

    lidar: str
    seed: int
    frames: int
    cache: Path | None = None

    def stream(self) -> Stream:
        """Simulate the drive, or read it from the cache; its case is its LiDAR."""
        data = Data((self.seed, self.seed + 1), {self.lidar: 1.0}, frames=self.frames)
        folder = None if self.cache is None else cache_folder(self.cache)
        frames = simulated_drive(
            self.seed, self.lidar, "street", data, LabelSet.load(TRUTH), folder
        )
        return Stream(self.lidar, self.seed, list(frames))


def held_out_drives(
    drives: int,
    frames: int,
    lidars: Sequence[str] = LIDARS,
    seed: int = FIRST_SEED,
    cache: Path | None = None,
) -> list[Drive]:
    """Return drives that no model is trained on.

    Args:
        drives: number of drives of each LiDAR.
        frames: number of frames of each drive.
        lidars: names of LiDAR models.
        seed: of the first street.
        cache: see `Drive`.

    Raises:
        ValueError: an unknown LiDAR, or models are trained on streets of that seed.
    """
    names = [get_lidar(lidar).name for lidar in lidars] * drives
    seeds = held_out_seeds(seed, len(names))
    return [Drive(n, each, frames, cache) for each, n in zip(seeds, names, strict=True)]


def measure(
    rows: Sequence[Row],
    streams: Sequence[Stream],
    truth: LabelSet,
    conditions: Sequence[str] = DEFAULT_CONDITIONS,
) -> Scores:
    """Let all models of all rows label all frames in each of their conditions.

    Raises:
        LabelSetError: no mapping from a model's label set to the truth's.
    """
    scores: Scores = {}
    for stream in streams:
        objects = DriveObjects.of(stream.frames, truth)
        for condition in conditions:
            runs = [
                (row.name, training, _Run(labeller, truth))
                for row in rows
                if condition in row.conditions
                for training, labeller in row.labellers.items()
            ]
            change = CONDITIONS[condition](stream.seed)
            for scene in scene_truths(scenes(stream, change, truth), objects, truth):
                for _, _, run in runs:  # in turns, so that other processes slow all of them
                    run.add(scene)
            of_rows = scores.setdefault(condition, {})
            for name, training, run in runs:
                for suffix, score in zip(("", AVERAGED), run.scores(objects), strict=True):
                    of_row = of_rows.setdefault(name + suffix, {})
                    of_row.setdefault(training, Score()).extend(score)
    return scores


class _Run:
    """A model on one drive."""

    def __init__(self, labeller: Labeller, truth: LabelSet) -> None:
        self._labeller = labeller
        self._counts = [LabelCounts(truth, labeller.label_set) for _ in range(2)]
        self._motion: MotionCounts | None = None
        self._classes = len(truth)
        self._scores = [Score(), Score()]
        labeller.reset()

    def add(self, scene: SceneTruth) -> None:
        """Label a frame, and count it."""
        found = self._labeller.label(scene.frame)
        for i, score in enumerate(self._scores):
            score.seconds.append(found.seconds[i])
            score.state_bytes = max(score.state_bytes, found.state_bytes[i])
            self._counts[i].add(scene, found.labels[i], found.moving)
        if found.moving is not None:
            if self._motion is None:
                self._motion = MotionCounts.none(self._classes)
            self._motion.add(scene, found.moving)

    def scores(self, objects: DriveObjects) -> list[Score]:
        """Return the scores of the drive, without and with averaging."""
        histogram = None if self._motion is None else self._motion.histogram
        for counts, score in zip(self._counts, self._scores, strict=True):
            score.motion = self._motion
            score.drives.append(counts.score(objects, histogram))
        return self._scores


_opening: Callable[[], Sequence[Row]]
"""Of a process of `measure_in_parallel`."""


def _begin(opening: Callable[[], Sequence[Row]], threads: int) -> None:
    global _opening
    keep_freed_memory()
    use_threads(threads)
    _opening = cache(opening)


def _measure_drive(drive: Drive, conditions: Sequence[str]) -> Scores:
    return measure(_opening(), [drive.stream()], LabelSet.load(TRUTH), conditions)


def measure_in_parallel(
    opening: Callable[[], Sequence[Row]],
    drives: Sequence[Drive],
    conditions: Sequence[str] = DEFAULT_CONDITIONS,
    *,
    processes: int,
    threads: int = 1,
) -> Scores:
    """Measure drives in several processes, each of which loads all models.

    Args:
        opening: loads the rows.
        drives: to measure.
        conditions: names of conditions.
        processes: number of processes.
        threads: of each process.
    """
    scores: Scores = {}
    context = multiprocessing.get_context("spawn")  # threads of PyTorch do not survive a fork
    with ProcessPoolExecutor(processes, context, _begin, (opening, threads)) as pool:
        found = pool.map(partial(_measure_drive, conditions=conditions), drives)
        bar = tqdm(found, "labelling", len(drives), unit=" drives", leave=False, disable=None)
        for of_drive in bar:
            _merge(scores, of_drive)
    return scores


def _merge(scores: Scores, more: Scores) -> None:
    for condition, of_rows in more.items():
        for row, of_trainings in of_rows.items():
            for training, score in of_trainings.items():
                of_row = scores.setdefault(condition, {}).setdefault(row, {})
                of_row.setdefault(training, Score()).extend(score)


def draw_drives(cases: list[str], count: int = DRAWS) -> Counts:
    """Return how often each of D drives counts in each draw, [1 + count, D].

    The first draw is each drive once; the others have of each case as many as there are. If a case
    has a single drive, which would never vary, cases do not matter.
    """
    rng = np.random.default_rng(0)
    if min(map(cases.count, cases)) == 1:
        cases = [""] * len(cases)
    draws = np.ones((1 + count, len(cases)), np.int64)
    for case in sorted(set(cases)):
        columns = np.flatnonzero(np.array(cases) == case)
        draws[1:, columns] = draws_of(len(columns), count, rng)
    return draws


def false_positives(
    rows: Sequence[Row], dataset: Dataset, frames: int | None = None
) -> dict[str, dict[str, Any]]:
    """Return how often models call recorded points moving that stand still, by row and training.

    Points stand still whose class cannot move, and where the truth says what moves, others that do
    not (`metrics.still_points`). The first frame of a sequence does not count.

    Args:
        rows: of models with the head "moving".
        dataset: of recorded sequences with poses and true labels.
        frames: largest number of frames of each sequence; None for all.
    """
    counts: dict[str, dict[str, Counts]] = {}
    for row in rows:
        for training, labeller in row.labellers.items():
            found = np.zeros(2, np.int64)
            for sequence in dataset.sequences.values():
                labeller.reset()
                for number, frame in enumerate(islice(sequence, frames)):
                    if frame.intensity is not None and dataset.intensity_full_scale is not None:
                        scaled = frame.intensity / dataset.intensity_full_scale
                        frame = replace(frame, intensity=scaled)
                    moving = labeller.label(frame).moving
                    if number and moving is not None and frame.labels is not None:
                        still = still_points(true_labels(frame), frame.moving, dataset.label_set)
                        known = still & ~np.isnan(moving)
                        found += np.array([known.sum(), calls_moving(moving[known]).sum()])
            counts.setdefault(row.name, {})[training] = found
    return {
        name: {
            training: {
                "still_points": int(still),
                "false_positive_share": float(false / still) if still else None,
            }
            for training, (still, false) in of_trainings.items()
        }
        for name, of_trainings in counts.items()
    }


def save_drive(path: Path, card: Path, drive: Drive, device: str = "auto") -> None:
    """Write a PNG of a drive from above: the map that a model remembers, and what it finds moving.

    Args:
        path: of the file.
        card: of the model.
        drive: to label.
        device: see `Segmenter`.

    Raises:
        MissingPackageError: Matplotlib is not installed.
    """
    model = load_model(card)
    segmenter = Segmenter(model, device=device, precision="float32", map=True, map_moving=False)
    moving, positions = [], []
    for frame in drive.stream().frames:
        found = segmenter.segment(frame)
        values = found.outputs.get(MOVING, np.full(len(frame), np.nan))
        moving.append(frame.odometry_points[calls_moving(values)])
        assert frame.pose is not None
        positions.append(frame.pose[:3, 3])
    remembered = segmenter.labelled_map()
    assert remembered is not None
    save_map(
        path,
        remembered.points,
        remembered.labels,
        model.label_set,
        model.input.voxel_size,
        f"{model.name}, {drive.frames} frames of {drive.lidar}: the map, and what moved",
        moving,
        np.stack(positions),
    )


def report(
    twins: Mapping[str, str],
    scores: Scores,
    drives: Sequence[Drive],
    headline: str,
    truth: LabelSet,
) -> dict[str, Any]:
    """Return all figures.

    Args:
        twins: of the models, by name.
        scores: of `measure`.
        drives: that were measured.
        headline: name of the row whose gains, cost and motion come first.
        truth: label set of the frames.

    Raises:
        BenchmarkError: there are fewer than two drives, which give no interval.
    """
    if len(drives) < 2:
        raise BenchmarkError("intervals need two drives or more")
    draws = draw_drives([drive.lidar for drive in drives])
    names = list(dict.fromkeys(name for of_rows in scores.values() for name in of_rows))
    figures: dict[str, dict[str, Any]] = {}
    for name in names:
        twin = _twin_of(name, twins, names)
        figures[name] = {"twin": twin, "values": {}, "gains": {}, "moving": {}}
    for condition, of_rows in scores.items():
        values = {
            name: {t: metric_values(score.drives, draws) for t, score in of_row.items()}
            for name, of_row in of_rows.items()
        }
        for name, own in values.items():
            row = figures[name]
            twins_values = values.get(row["twin"], {})
            means = {m: float(np.mean([v[m][0] for v in own.values()])) for m in METRICS}
            row["values"][condition] = {m: none_if_nan(value) for m, value in means.items()}
            row["moving"][condition] = _motion(of_rows[name].values(), truth)
            pairs = [(own[t], twins_values[t]) for t in own if t in twins_values]
            if pairs and name != row["twin"]:
                row["gains"][condition] = {m: _gain(pairs, m) for m in METRICS}
    for name, row in figures.items():
        row |= _cost(scores, name, row["twin"])
    chosen = figures[headline]
    first = next(iter(chosen["moving"].values()))
    return {
        "row": headline,
        "twin": chosen["twin"],
        "gains": chosen["gains"],
        "moving": first,
        "cost": {key: chosen[key] for key in ("over_3d", "milliseconds", "state_bytes")},
        "drives": [
            {"lidar": drive.lidar, "seed": drive.seed, "frames": drive.frames} for drive in drives
        ],
        "frame_noise": asdict(Noise()),
        "drive_noise": asdict(DriveNoise()),
        "rows": figures,
    }


def _twin_of(name: str, twins: Mapping[str, str], rows: Sequence[str]) -> str:
    """Return the row that a row is compared with: the twin, with CRF and averaging like it.

    A row with CRF whose twin has none is compared with the twin as it is.
    """
    model = name.partition(" + ")[0].partition(",")[0]
    averaged = AVERAGED * name.endswith(AVERAGED)
    refined = twins[model] + REFINED + averaged
    return refined if REFINED in name and refined in rows else twins[model] + averaged


def _cost(scores: Scores, name: str, twin: str) -> dict[str, Any]:
    """Return the cost of a row in the first condition that it took part in."""
    of_rows = next(of_rows for of_rows in scores.values() if name in of_rows)
    own, other = of_rows[name], of_rows.get(twin, {})
    ratios = [
        a / b
        for training in own
        if training in other
        for a, b in zip(own[training].seconds, other[training].seconds, strict=True)
    ]
    return {
        "trainings": list(own),
        "milliseconds": 1e3 * median(s for score in own.values() for s in score.seconds),
        "over_3d": median(ratios) if ratios else None,
        "state_bytes": max(score.state_bytes for score in own.values()),
    }


def _gain(
    pairs: Sequence[tuple[Mapping[str, npt.NDArray[np.float64]], ...]], metric: str
) -> dict[str, float] | None:
    """Return the mean difference between a row and its twin over the seeds, with its interval.

    None where a value is missing.
    """
    gains = np.mean([own[metric] - twin[metric] for own, twin in pairs], axis=0)
    value, ends = float(gains[0]), interval(gains[1:])
    if np.isnan(value) or ends is None:
        return None
    return {"value": value, "low": ends[0], "high": ends[1]}


def _motion(scores: Iterable[Score], truth: LabelSet) -> dict[str, Any]:
    """Return the figures of moving points over all drives and seeds, as shares."""
    counts = [score.motion for score in scores if score.motion is not None]
    total = sum(counts, start=MotionCounts.none(len(truth)))
    still = total.histogram[0]
    by_class = {n: motion_figures(c) for n, c in zip(truth.names, total.by_class, strict=True)}
    return {
        **motion_figures(total.histogram),
        "by_class": {name: each for name, each in by_class.items() if each["points"]},
        "by_range": figures_by_bin(RANGES, total.by_range),
        "by_speed": figures_by_bin(SPEEDS, [np.stack([still, b]) for b in total.by_speed]),
    }


def table(figures: Mapping[str, Any]) -> str:
    """Return the figures of `report` as lines of text; * marks gains whose interval excludes 0."""
    rows: Mapping[str, Any] = figures["rows"]
    wide = max(map(len, rows)) + 2
    lines = []
    for condition in dict.fromkeys(c for row in rows.values() for c in row["values"]):
        lines += ["", f"{condition:<{wide}}" + "".join(f"{_HEADS[m]:>14}" for m in METRICS)]
        for name, row in rows.items():
            if condition not in row["values"]:
                continue
            gains = row["gains"].get(condition, {})
            cells = [
                _cell(row["values"][condition][metric], gains.get(metric)) for metric in METRICS
            ]
            lines.append(f"{name:<{wide}}" + "".join(f"{cell:>14}" for cell in cells))
    lines += ["", f"{'cost':<{wide}}{'ms':>14}{'over 3D':>14}{'MB':>14}"]
    for name, row in rows.items():
        over = "-" if row["over_3d"] is None else f"{row['over_3d']:.2f}"
        cells = [f"{row['milliseconds']:.1f}", over, f"{row['state_bytes'] / 1e6:.2f}"]
        lines.append(f"{name:<{wide}}" + "".join(f"{cell:>14}" for cell in cells))
    return "\n".join(lines[1:])


def _cell(value: float | None, gain: Mapping[str, float] | None) -> str:
    if value is None:
        return "-"
    if gain is None:
        return f"{value:.1f}"
    mark = "*" if gain["low"] > 0.0 or gain["high"] < 0.0 else " "
    return f"{value:.1f} {gain['value']:+.1f}{mark}"
