# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What time is worth: causal networks against a 3D network that is trained alike, their twin.

Every row of the table has its twin: the 3D model with the same heads, averaging and CRF. Both
label the same frames of simulated drives that nothing was trained on. A row holds several models,
which differ in the seed of their training; each is compared with the twin of its seed.

Metrics, in percent:

- all, first_seen, reseen, seen_often, moving, parked, beyond_30m: mIoU of these points. Cells of
  0.4 m in the odometry frame say how often a point was seen before in its drive (`Sightings`):
  never, again after more than three frames, or in three frames or more. Parked points are of a
  class that can move, and do not.
- miou25: mIoU of the 25 classes that tell moving from still (`moving.MovingScores`), without the
  first frame of a drive, in which nothing is known of motion.
- moving_ap, moving_iou: average precision and IoU of moving points, likewise.
- flicker: see `ablation`; less is better.

A gain is the mean over the seeds of the difference to the twin, in percentage points, with the
interval that holds 95 % of its bootstrap values: drives are drawn with replacement, of each LiDAR
as many as there are, for all seeds and both models together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from itertools import product
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from minkowski_perception.frame import Frame
from minkowski_perception.lab.benchmarks import BenchmarkError
from minkowski_perception.lab.benchmarks.ablation import (
    LIDARS,
    Rng,
    Scene,
    Stream,
    contenders,
    scenes,
    simulate_in_parallel,
)
from minkowski_perception.lab.simulation.drive import held_out_seeds
from minkowski_perception.lab.simulation.lidar import get_lidar
from minkowski_perception.lab.simulation.noise import DriveNoise, Noise
from minkowski_perception.labels import LabelSet
from minkowski_perception.metrics import ConfusionMatrix, none_if_nan, true_labels
from minkowski_perception.moving import MOVING, MovingScores, motion_figures
from minkowski_perception.networks.model import load_model
from minkowski_perception.scoring import Scorer
from minkowski_perception.segmenter import Segmenter

FIRST_SEED = 9100
"""Seed of the first drive; no model was trained on these streets, no design chosen by them."""

CELL = 0.4
"""Side of the cells of `Sightings`, metres."""
OCCLUDED = 3
"""Frames for which a cell was not seen, after which it counts as seen again."""
OFTEN = 3
"""Frames in which a cell was seen often."""
FAR = 30.0
"""Metres from the sensor."""
DRAWS = 1000
"""Draws of the bootstrap."""

Change = Callable[[Frame, Rng], Frame]
"""From a frame and random numbers of its own to the frame as it is measured."""

Counts = npt.NDArray[np.int64]


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

PARTS = ("all", "first_seen", "reseen", "seen_often", "moving", "parked", "beyond_30m")
MULTI_SCAN = "miou25"
METRICS = (*PARTS, MULTI_SCAN, "moving_ap", "moving_iou", "flicker")


class Sightings:
    """How often, and when last, the cells of a drive were seen."""

    def __init__(self) -> None:
        self._keys = np.zeros(0, np.int64)
        self._times = np.zeros(0, np.int64)
        self._last = np.zeros(0, np.int64)
        self._frame = 0

    def update(
        self, points: npt.NDArray[np.floating], measured: npt.NDArray[np.bool_]
    ) -> tuple[Counts, Counts]:
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


class _GuessingSegmenter(Segmenter):
    """Gives the value of a head that needs motion even where only one frame is known.

    A 3D network, which never knows motion, is the twin that shows what the head guesses from one
    frame.
    """

    def _knows_motion(self, frame: Frame) -> bool:
        return frame.pose is not None


@dataclass(frozen=True)
class Row:
    """A row of the table.

    Attributes:
        name: of the model and its settings.
        twin: name of the row that it is compared with.
        segmenters: one for each seed of the training.
    """

    name: str
    twin: str
    segmenters: Sequence[Segmenter]


@dataclass(frozen=True)
class DriveScore:
    """What is counted in a drive.

    Attributes:
        confusions: [K, K + 1] by metric, see `ConfusionMatrix`; those of `PARTS`, and of
            `MULTI_SCAN` for models with the head "moving".
        motion: [2, B], see `MovingScores.histogram`; None without that head.
        flicker: [2] pairs that were compared, and those that changed.
    """

    confusions: Mapping[str, Counts]
    motion: Counts | None
    flicker: Counts


@dataclass
class Score:
    """Scores of one model of a row in one condition.

    Attributes:
        drives: in the order of the streams.
        seconds: time to label each frame.
        state_bytes: largest size of the state.
    """

    drives: list[DriveScore] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    state_bytes: int = 0


Scores = Mapping[str, Mapping[str, Sequence[Score]]]
"""One for each seed, by condition and row."""


def open_rows(
    folders: Sequence[Path],
    twin: str,
    model: str,
    *,
    names: Sequence[str] | None = None,
    windows: Sequence[int] = (),
    device: str = "auto",
    engine: str = "auto",
) -> list[Row]:
    """Load the models of the rows.

    Args:
        folders: one for each seed of the training, with models of the same names.
        twin: name of the 3D model.
        model: name of the model that matters most.
        names: of further models; None for all that every folder holds.
        windows: numbers of frames; each adds a row of `model` on windows of as many.
        device: see `Segmenter`.
        engine: see `Segmenter`.

    Raises:
        BenchmarkError: a folder lacks a model.
        ModelError: a model cannot be loaded.
    """
    common = set.intersection(*({card.stem for card in f.glob("*.yaml")} for f in folders))
    further = sorted(common) if names is None else names
    chosen = list(dict.fromkeys((twin, model, *further)))
    if missing := [name for name in chosen if name not in common]:
        places = ", ".join(map(str, folders))
        raise BenchmarkError(f"no models {', '.join(missing)} in each of {places}")
    found: dict[str, Row] = {}

    def add(name: str, twin_name: str, segmenter: Segmenter) -> None:
        row = found.get(name, Row(name, twin_name, ()))
        found[name] = replace(row, segmenters=(*row.segmenters, segmenter))

    for folder in folders:
        models = {name: load_model(folder / f"{name}.yaml") for name in chosen}
        for name, each in models.items():
            for row in contenders({name: each}, device, engine, _GuessingSegmenter):
                add(row.name, twin + row.name.removeprefix(name), row.segmenter)
        for window in windows:
            segmenter = _GuessingSegmenter(
                models[model],
                execution="window",
                window=window,
                device=device,
                engine=engine,
                precision="float32",
                crf=False,
                averaging=1,
            )
            add(f"{model}, window of {window}", twin, segmenter)
    return list(found.values())


def simulated_drives(
    drives: int, frames: int, lidars: Sequence[str] = LIDARS, seed: int = FIRST_SEED
) -> list[Stream]:
    """Simulate drives along streets; the case of each is its LiDAR.

    Args:
        drives: number of drives of each LiDAR.
        frames: number of frames of each drive.
        lidars: names of LiDAR models.
        seed: of the first street.

    Raises:
        ValueError: an unknown LiDAR, or models are trained on streets of that seed.
        ImportError: Open3D, which casts the rays, is missing.
    """
    names = [get_lidar(lidar).name for lidar in lidars] * drives
    seeds = held_out_seeds(seed, len(names))
    return simulate_in_parallel(
        [(name, each, name, False) for each, name in zip(seeds, names, strict=True)], frames
    )


def measure(
    rows: Sequence[Row],
    streams: Sequence[Stream],
    truth: LabelSet,
    conditions: Sequence[str] = DEFAULT_CONDITIONS,
) -> Scores:
    """Let all models of all rows label all frames in each condition.

    Raises:
        LabelSetError: no mapping from a model's label set to the truth's.
    """
    scores: dict[str, dict[str, list[Score]]] = {
        condition: {row.name: [Score() for _ in row.segmenters] for row in rows}
        for condition in conditions
    }
    total = len(conditions) * sum(len(stream.frames) for stream in streams)
    with tqdm(desc="labelling", total=total, unit=" frames", leave=False, disable=None) as bar:
        for stream, condition in product(streams, conditions):
            runs = [
                _Run(segmenter, score, truth)
                for row in rows
                for segmenter, score in zip(
                    row.segmenters, scores[condition][row.name], strict=True
                )
            ]
            for scene, parts in _divided(
                scenes(stream, CONDITIONS[condition](stream.seed), truth), truth
            ):
                for run in runs:  # in turns, so that other processes slow all of them equally
                    run.add(scene, parts)
                bar.update()
            for run in runs:
                run.finish()
    return scores


def _divided(
    scenes: Iterator[Scene], truth: LabelSet
) -> Iterator[tuple[Scene, dict[str, npt.NDArray[np.bool_]]]]:
    """Yield the scenes of a drive, each with the points [N] bool of the parts."""
    sightings = Sightings()
    for scene in scenes:
        frame = scene.truth
        times, gaps = sightings.update(frame.odometry_points, scene.frame.valid)
        assert frame.moving is not None
        movable = np.isin(true_labels(frame), truth.movable_ids)
        yield (
            scene,
            {
                "first_seen": times == 0,
                "reseen": gaps > OCCLUDED,
                "seen_often": times >= OFTEN,
                "parked": movable & ~frame.moving,
                "beyond_30m": np.linalg.norm(frame.points, axis=1) >= FAR,
            },
        )


class _Run:
    """A model on one drive."""

    def __init__(self, segmenter: Segmenter, score: Score, truth: LabelSet) -> None:
        self._segmenter = segmenter
        self._score = score
        self._scorer = Scorer(truth, segmenter.label_set)
        self._first = True
        segmenter.reset()

    def add(self, scene: Scene, parts: Mapping[str, npt.NDArray[np.bool_]]) -> None:
        """Label a frame, and count it."""
        score = self._score
        started = perf_counter()
        found = self._segmenter.segment(scene.frame)
        score.seconds.append(perf_counter() - started)
        score.state_bytes = max(score.state_bytes, self._segmenter.state_bytes)
        outputs = dict(found.outputs)
        if self._first and MOVING in outputs:
            outputs[MOVING] = np.full_like(outputs[MOVING], np.nan)
        self._first = False
        self._scorer.add(
            scene.truth, found.labels, pairs=scene.pairs, outputs=outputs, parts=parts
        )

    def finish(self) -> None:
        """Add the drive to the score."""
        scorer, motion = self._scorer, self._scorer.outputs.get(MOVING)
        found = {"all": scorer.all, "moving": scorer.moving, **scorer.parts}
        confusions = {name: matrices["classes"].counts for name, matrices in found.items()}
        flicker = np.array([scorer.flicker.compared, scorer.flicker.changed])
        if isinstance(motion, MovingScores):
            confusions[MULTI_SCAN] = motion.multi_scan.counts
            self._score.drives.append(DriveScore(confusions, motion.histogram, flicker))
        else:
            self._score.drives.append(DriveScore(confusions, None, flicker))


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
        chosen = rng.integers(len(columns), size=(count, len(columns)))
        draws[1:, columns] = [np.bincount(each, minlength=len(columns)) for each in chosen]
    return draws


def metric_values(
    drives: Sequence[DriveScore], draws: Counts
) -> dict[str, npt.NDArray[np.float64]]:
    """Return each metric in each draw [R], in percent; NaN where nothing was counted.

    Args:
        drives: D of them.
        draws: [R, D], see `draw_drives`.
    """
    nothing = np.full(len(draws), np.nan)
    values = dict.fromkeys(METRICS, nothing)
    for name in drives[0].confusions:
        totals = np.tensordot(draws, np.stack([drive.confusions[name] for drive in drives]), 1)
        values[name] = 100.0 * np.array([_miou(total) for total in totals])
    histograms = [drive.motion for drive in drives if drive.motion is not None]
    if histograms:
        found = [motion_figures(total) for total in np.tensordot(draws, np.stack(histograms), 1)]
        for name, figure in (("moving_ap", "average_precision"), ("moving_iou", "iou")):
            shares = [np.nan if f[figure] is None else f[figure] for f in found]
            values[name] = 100.0 * np.array(shares)
    compared, changed = (draws @ np.stack([drive.flicker for drive in drives])).T
    values["flicker"] = np.where(compared > 0, 100.0 * changed / np.maximum(compared, 1), np.nan)
    return values


def _miou(counts: Counts) -> float:
    matrix = ConfusionMatrix(len(counts))
    matrix.counts = counts
    return matrix.miou


def report(
    rows: Sequence[Row], scores: Scores, streams: Sequence[Stream], headline: str
) -> dict[str, Any]:
    """Return all figures.

    Args:
        rows: of the table.
        scores: of `measure`.
        streams: the drives.
        headline: name of the row whose gains, cost and motion come first.

    Raises:
        BenchmarkError: there are fewer than two drives, which give no interval.
    """
    if len(streams) < 2:
        raise BenchmarkError("intervals need two drives or more")
    draws = draw_drives([stream.case for stream in streams])
    figures: dict[str, dict[str, Any]] = {
        row.name: {"twin": row.twin, "seeds": len(row.segmenters), "values": {}, "gains": {}}
        for row in rows
    }
    for condition, of_rows in scores.items():
        values = {
            name: [metric_values(score.drives, draws) for score in of_seeds]
            for name, of_seeds in of_rows.items()
        }
        for row in rows:
            own, twin = values[row.name], values.get(row.twin)
            means = {metric: np.mean([v[metric][0] for v in own]) for metric in METRICS}
            figures[row.name]["values"][condition] = {m: none_if_nan(v) for m, v in means.items()}
            if twin is not None and row.name != row.twin:
                figures[row.name]["gains"][condition] = {m: _gain(own, twin, m) for m in METRICS}
    first = next(iter(scores.values()))
    for row in rows:
        of_row, of_twin = first[row.name], first.get(row.twin, ())
        seconds = [s for score in of_row for s in score.seconds]
        twin_seconds = [s for score in of_twin for s in score.seconds]
        figures[row.name] |= {
            "milliseconds": 1e3 * median(seconds),
            "over_3d": median(a / b for a, b in zip(seconds, twin_seconds, strict=True))
            if twin_seconds
            else None,
            "state_bytes": max(score.state_bytes for score in of_row),
        }
    chosen = figures[headline]
    return {
        "row": headline,
        "twin": chosen["twin"],
        "gains": chosen["gains"],
        "moving": _motion(first[headline]),
        "cost": {
            "over_3d": chosen["over_3d"],
            "milliseconds": chosen["milliseconds"],
            "state_bytes": chosen["state_bytes"],
        },
        "drives": [{"lidar": s.case, "seed": s.seed, "frames": len(s.frames)} for s in streams],
        "frame_noise": asdict(Noise()),
        "drive_noise": asdict(DriveNoise()),
        "rows": figures,
    }


def _gain(
    own: Sequence[Mapping[str, npt.NDArray[np.float64]]],
    twin: Sequence[Mapping[str, npt.NDArray[np.float64]]],
    metric: str,
) -> dict[str, float] | None:
    """Return the mean difference between a row and its twin over the seeds, with its interval.

    None where a value is missing.
    """
    pairs = zip(own, twin, strict=True)
    value, *drawn = np.mean([a[metric] - b[metric] for a, b in pairs], axis=0)
    if np.isnan(value):
        return None
    low, high = np.nanpercentile(drawn, [2.5, 97.5])
    return {"value": float(value), "low": float(low), "high": float(high)}


def _motion(scores: Sequence[Score]) -> dict[str, Any]:
    """Return the figures of moving points over all drives, as shares; the mean of the seeds."""
    names = ("iou", "precision", "recall", "average_precision", "false_positive_share")
    totals = [
        sum((d.motion for d in score.drives if d.motion is not None), start=np.zeros((), int))
        for score in scores
    ]
    found = [motion_figures(total) for total in totals if total.ndim]
    return {
        name: float(np.mean([each[name] for each in found]))
        if found and all(each[name] is not None for each in found)
        else None
        for name in names
    }


def table(figures: Mapping[str, Any]) -> str:
    """Return the figures of `report` as lines of text; * marks gains whose interval excludes 0."""
    rows: Mapping[str, Any] = figures["rows"]
    wide = max(map(len, rows)) + 2
    lines = []
    for condition in rows[figures["row"]]["values"]:
        lines += ["", f"{condition:<{wide}}" + "".join(f"{name:>14}" for name in METRICS)]
        for name, row in rows.items():
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
