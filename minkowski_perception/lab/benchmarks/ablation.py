# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Ablation of time and CRF: small 3D and 4D networks side by side.

All label the same frames in turns: simulated drives that no network was trained on, or a recorded
sequence, each without and with `Noise`. For each case and contender the table has:

- mIoU: mean intersection over union of the classes in the truth, in percent, over the points of
  all frames, including the first of a drive, where a network has no past yet; points lost to noise
  do not count;
- movable: mean IoU of the classes that can move (`LabelSet.movable`);
- moving: mIoU of the points that truly move;
- flicker: share of the still points, in percent, whose label differs from that of the same place
  in the last frame (`pair_still_points`, by points without noise). If a recording does not say
  which points move, no class that can move counts as still;
- ms: median time of a frame, from points to labels;
- MB: largest size of the stream's state.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from importlib import resources
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from minkowski_perception.frame import Frame
from minkowski_perception.lab.benchmarks import BenchmarkError
from minkowski_perception.lab.datasets.kitti import KittiSequence
from minkowski_perception.lab.simulation.drive import HELD_OUT_SEED, held_out_seeds, simulate_drive
from minkowski_perception.lab.simulation.lidar import get_lidar
from minkowski_perception.lab.simulation.noise import Noise
from minkowski_perception.labels import UNLABELLED, LabelSet
from minkowski_perception.metrics import none_if_nan, true_labels
from minkowski_perception.networks.model import Model, load_model
from minkowski_perception.scoring import Pairs, Scorer, StillPairs
from minkowski_perception.segmenter import Segmenter
from minkowski_perception.settings import Settings

Rng = np.random.Generator

TRUTH = "semantickitti19"
LIDARS = ("hdl64", "vlp32", "vlp16")
CONDITIONS: Mapping[str, Noise | None] = {"clean": None, "under noise": Noise()}
SCENES = {"moving scenes": False, "still scenes": True}
"""Whether the sensor and all objects stand still, by case."""

_FOLDER = "lab/benchmarks/ablation_models"
MODELS = Path(str(resources.files("minkowski_perception") / _FOLDER))
"""Where the models are in a source checkout; they are not part of an installed package."""

_CAUSAL = "ablation_causal_"
ROWS: Mapping[str, str] = {
    "ablation_3d": "3D",
    "ablation_hybrid": "4D hybrid window",
    "ablation_tesseract": "4D tesseract window",
    "ablation_causal": "4D causal incremental",
}
"""Names in the table by model, in the order of the table."""


class Contender(NamedTuple):
    """A row of the table: its name, and the segmenter that labels the frames."""

    name: str
    segmenter: Segmenter


@dataclass(frozen=True)
class Stream:
    """The frames of one drive or sequence, with true labels.

    Attributes:
        case: name of the case that it belongs to.
        seed: of the noise.
        frames: the frames, with true labels.
    """

    case: str
    seed: int
    frames: Sequence[Frame]


@dataclass(frozen=True)
class Scene:
    """A frame as the contenders get it, and its truth.

    Attributes:
        frame: N points, perhaps with noise.
        truth: the frame without noise, where points that the noise loses have no label.
        pairs: still points that this frame and the last one both measured.
    """

    frame: Frame
    truth: Frame
    pairs: Pairs | None


@dataclass
class Score:
    """Scores of a contender in one case.

    Attributes:
        labels: scores of its labels.
        seconds: time to label each frame.
        state_bytes: largest size of its state.
    """

    labels: Scorer
    seconds: list[float] = field(default_factory=list)
    state_bytes: int = 0


def find_models(
    folder: Path = MODELS, more: Sequence[str] = ()
) -> tuple[dict[str, Model], list[str]]:
    """Load the models to compare.

    Args:
        folder: holds the models of `ROWS`, and perhaps causal ones with other links.
        more: names or paths of further models.

    Returns:
        the models by their names in the table, in its order; and sentences on missing models of
        `ROWS`, which say where to get them.

    Raises:
        BenchmarkError: there is no model at all.
        ModelError: a model cannot be loaded.
    """
    rows = dict(ROWS)
    for card in sorted(folder.glob(f"{_CAUSAL}*.yaml")):
        links = card.stem.removeprefix(_CAUSAL).replace("_", " ")
        rows[card.stem] = f"4D causal, {links} links"
    models, absent = {}, []
    for stem, name in rows.items():
        card = folder / f"{stem}.yaml"
        if card.exists():
            models[name] = load_model(card)
        else:
            absent.append(
                f"{name} is left out: {card} does not exist; to train it: "
                f"minkowski-perception train config/training/{stem}.yaml --out {folder}"
            )
    if not models:
        absent = [
            f"the ablation's models are not in {folder}: an installed package does not include "
            f"them. They are in a source checkout, in minkowski_perception/{_FOLDER}: give that "
            "folder as --models DIR"
        ]
    models |= {Path(name).stem: load_model(name) for name in more}
    if not models:
        raise BenchmarkError(absent[0])
    return models, absent


def contenders(
    models: Mapping[str, Model],
    device: str = "auto",
    engine: str = "auto",
    kind: type[Segmenter] = Segmenter,
) -> list[Contender]:
    """Return the rows of the table: each model without and with its CRF, and both averaged."""
    rows = []
    for name, model in models.items():
        plain = kind(
            model, device=device, engine=engine, precision="float32", crf=False, averaging=1
        )
        for crf in (False, True) if model.crf is not None else (False,):
            for averaging in (1, Settings.averaging):
                segmenter = plain.another_stream()
                segmenter.averaging = averaging
                if crf:
                    segmenter.crf = True
                row = name + " + CRF" * crf + " + averaging" * (averaging > 1)
                rows.append(Contender(row, segmenter))
    return rows


def recorded_stream(folder: Path, truth: LabelSet, frames: int) -> Stream:
    """Read the first frames of a sequence.

    Args:
        folder: of the sequence, see `KittiSequence`.
        truth: the set of its labels.
        frames: largest number of frames.

    Raises:
        BenchmarkError: the sequence has no true labels.
        DatasetError: the sequence cannot be read.
    """
    sequence = KittiSequence(folder, truth)
    read = [sequence[index] for index in range(min(frames, len(sequence)))]
    if any(frame.labels is None for frame in read):
        raise BenchmarkError(f"sequence {folder} has no true labels")
    return Stream("recorded", 0, read)


def simulated_streams(
    drives: int, frames: int, lidars: Sequence[str] = LIDARS, seed: int = HELD_OUT_SEED
) -> list[Stream]:
    """Simulate drives along streets, and the same streets with everything standing still.

    Args:
        drives: number of drives of each LiDAR.
        frames: number of frames of each drive.
        lidars: names of LiDAR models.
        seed: of the first street.

    Raises:
        ValueError: an unknown LiDAR, or models are trained on streets of that seed.
        MissingPackageError: Open3D, which casts the rays, is missing.
    """
    models = [get_lidar(lidar) for lidar in lidars for _ in range(drives)]
    seeds = held_out_seeds(seed, len(models))
    cases = [
        (case, each, m.name) for case in SCENES for each, m in zip(seeds, models, strict=True)
    ]
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        made = pool.map(partial(_simulate, frames=frames), *zip(*cases, strict=True))
        bar = tqdm(made, "simulating", len(cases), unit=" drives", leave=False, disable=None)
        return list(bar)


def _simulate(case: str, seed: int, lidar: str, frames: int) -> Stream:
    return Stream(case, seed, list(simulate_drive(seed, lidar, frames, still=SCENES[case])))


def compare(
    rows: Sequence[Contender], streams: Sequence[Stream], truth: LabelSet
) -> dict[str, dict[str, Score]]:
    """Let all contenders label all frames, without and with noise.

    Args:
        rows: contenders.
        streams: whose frames have labels of the truth's set.
        truth: label set in which all labels are scored.

    Returns:
        scores by case and name of the contender.

    Raises:
        LabelSetError: no mapping from a contender's label set to the truth's.
    """
    total = len(CONDITIONS) * sum(len(stream.frames) for stream in streams)
    scores: dict[str, dict[str, Score]] = {}
    with tqdm(desc="labelling", total=total, unit=" frames", leave=False, disable=None) as bar:
        for stream, (condition, noise) in product(streams, CONDITIONS.items()):
            case = f"{stream.case}, {condition}"
            if case not in scores:
                scores[case] = {
                    row.name: Score(Scorer(truth, row.segmenter.label_set)) for row in rows
                }
            for row in rows:
                row.segmenter.reset()
                scores[case][row.name].labels.begin(case)
            for scene in scenes(stream, noise, truth):
                # In turns, so that other processes slow all of them equally.
                for row in rows:
                    score = scores[case][row.name]
                    started = time.perf_counter()
                    labels = row.segmenter.segment(scene.frame).labels
                    score.seconds.append(time.perf_counter() - started)
                    score.state_bytes = max(score.state_bytes, row.segmenter.state_bytes)
                    score.labels.add(scene.truth, labels, pairs=scene.pairs)
                bar.update()
    return scores


def scenes(
    stream: Stream, noise: Callable[[Frame, Rng], Frame] | None, truth: LabelSet
) -> Iterator[Scene]:
    """Yield the frames of a stream, with noise if any, and their truth.

    Args:
        stream: of simulated or recorded frames.
        noise: from a frame and its own random numbers to the frame as it is measured.
        truth: label set of the frames.
    """
    pairs = StillPairs(truth)
    for index, clean in enumerate(stream.frames):
        rng = np.random.default_rng([stream.seed, 3, index])
        frame = clean if noise is None else noise(clean, rng)
        measured = replace(clean, labels=np.where(frame.valid, true_labels(clean), UNLABELLED))
        yield Scene(frame, measured, pairs.next(measured))


def report(scores: Mapping[str, Mapping[str, Score]], truth: LabelSet) -> dict[str, Any]:
    """Return all figures: shares from 0 to 1, None if nothing was counted."""
    return {
        "noise": asdict(Noise()),
        "label_set": truth.name,
        "cases": {
            case: {name: _figures(score, truth) for name, score in rows.items()}
            for case, rows in scores.items()
        },
    }


def _figures(score: Score, truth: LabelSet) -> dict[str, Any]:
    scores = score.labels
    matrix, flicker = scores.all["classes"], scores.flicker
    return {
        "miou": none_if_nan(matrix.miou),
        "miou_movable": _mean(matrix.iou[truth.movable_ids]),
        "miou_moving": none_if_nan(scores.moving["classes"].miou),
        "flicker": none_if_nan(flicker.share),
        "milliseconds": 1e3 * median(score.seconds),
        "state_bytes": score.state_bytes,
        "iou": dict(zip(truth.names, map(none_if_nan, matrix.iou), strict=True)),
        "flicker_by_frame": [none_if_nan(flicker.share) for flicker in scores.flicker_by_frame],
        "compared_points": flicker.compared,
    }


def _mean(values: npt.NDArray[np.float64]) -> float | None:
    present = values[~np.isnan(values)]
    return float(present.mean()) if len(present) else None


def table(figures: Mapping[str, Any]) -> str:
    """Return the figures of `report` as lines of text."""
    cases: Mapping[str, Mapping[str, Any]] = figures["cases"]
    wide = max(len(name) for case, rows in cases.items() for name in (case, *rows)) + 1
    heads = ("mIoU", "movable", "moving", "flicker", "ms", "MB")
    lines = []
    for case, rows in cases.items():
        lines += ["", f"{case:<{wide}}" + "".join(f"{head:>9}" for head in heads)]
        for name, row in rows.items():
            shares = [row[key] for key in ("miou", "miou_movable", "miou_moving", "flicker")]
            cells = [f"{'-' if s is None else f'{100 * s:.1f}':>9}" for s in shares]
            cells += [f"{row['milliseconds']:>9.1f}", f"{row['state_bytes'] / 1e6:>9.2f}"]
            lines.append(f"{name:<{wide}}" + "".join(cells))
    return "\n".join(lines[1:])
