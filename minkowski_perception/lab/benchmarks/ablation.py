# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What time and the CRF are worth: small 3D and 4D networks side by side.

All see the same frames in turns, on simulated drives that no network was trained on, or on a
recorded sequence; as they are and under `Noise`. The table has for each case and each contender:

- mIoU: mean intersection over union of the classes that occur, in percent, over the points of all
  frames, the first of a drive among them, where a network has no past yet; points lost to noise
  do not count;
- movable: the mean of those classes alone whose members can move (`LabelSet.movable`);
- moving: mIoU over those points alone that truly move;
- flicker: share of the points that stand still whose label differs from that of the same place
  (`same_places`) in the frame before, in percent. Places are told by where they were measured
  without noise. On recordings that do not tell what moves, no class that can move stands still;
- ms: median time of a frame, from points to labels;
- MB: most memory that the stream's state took.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
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
from minkowski_perception.metrics import ConfusionMatrix, Flicker, same_places, standing_still
from minkowski_perception.networks.model import Model, load_model
from minkowski_perception.segmenter import Segmenter
from minkowski_perception.streaming import DEFAULT_AVERAGING

TRUTH = "semantickitti19"
LIDARS = ("hdl64", "vlp32", "vlp16")
CONDITIONS: Mapping[str, Noise | None] = {"clean": None, "under noise": Noise()}
SCENES = {"moving scenes": False, "still scenes": True}
"""Whether the sensor and all else stand still."""

MODELS = Path(str(resources.files("minkowski_perception") / "lab/benchmarks/ablation_models"))
_CAUSAL = "ablation_causal_"
ROWS: Mapping[str, str] = {
    "ablation_3d": "3D",
    "ablation_hybrid": "4D hybrid window",
    "ablation_tesseract": "4D tesseract window",
    "ablation_causal": "4D causal incremental",
}
"""What the table calls the models that belong in it, in its order."""


class Contender(NamedTuple):
    """A row of the table: what it is called, and what labels the frames."""

    name: str
    segmenter: Segmenter


@dataclass(frozen=True)
class Stream:
    """The frames of one drive or sequence, with true labels.

    Attributes:
        case: what it is a case of.
        seed: of the noise.
        frames: N of them.
    """

    case: str
    seed: int
    frames: Sequence[Frame]


@dataclass(frozen=True)
class Scene:
    """A frame as the contenders see it, and what is known of it.

    Attributes:
        index: of the frame in its stream.
        frame: N points, perhaps under noise.
        truth: [N] true labels, 255 for points that do not count.
        moving: [N] the same, of the points that move alone.
        same: rows of the frame before, and of this one, that are of the same place.
    """

    index: int
    frame: Frame
    truth: npt.NDArray[np.integer]
    moving: npt.NDArray[np.integer]
    same: tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]


class Score:
    """What a contender did in one case.

    Args:
        truth: the set of the true labels.
        said: the set of the contender's.

    Attributes:
        all: confusion of all points.
        moving: confusion of the points that move.
        flicker: by the frame's place in its stream; nothing was before the first.
        seconds: of each frame.
        state_bytes: most that the state took.

    Raises:
        LabelSetError: the contender's labels cannot be told in the truth's set.
    """

    def __init__(self, truth: LabelSet, said: LabelSet) -> None:
        self.all = ConfusionMatrix(len(truth))
        self.moving = ConfusionMatrix(len(truth))
        self.flicker: list[Flicker] = []
        self.seconds: list[float] = []
        self.state_bytes = 0
        self._told = truth.mapping_from(said)

    def add(
        self, scene: Scene, labels: npt.NDArray[np.uint8], before: npt.NDArray[np.uint8]
    ) -> None:
        """Enter labels [N] of a frame, given those of the frame before."""
        self.all.update(scene.truth, self._told[labels])
        self.moving.update(scene.moving, self._told[labels])
        if scene.index == len(self.flicker):
            self.flicker.append(Flicker())
        rows_before, rows_now = scene.same
        self.flicker[scene.index].update(before[rows_before], labels[rows_now])


def find_models(
    folder: Path = MODELS, more: Sequence[str] = ()
) -> tuple[dict[str, Model], list[str]]:
    """Models to compare, by what the table calls them, in its order.

    Args:
        folder: has those of `ROWS`, and may have causal ones with links elsewhere.
        more: names or paths of further models.

    Returns:
        the models, and a sentence for each of `ROWS` that is not there.

    Raises:
        BenchmarkError: there is no model at all.
        ModelError: one cannot be loaded.
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
                f"{name} is left out: no {card}; "
                f"minkowski-perception train config/training/{stem}.yaml --out {folder} makes it"
            )
    models |= {Path(name).stem: load_model(name) for name in more}
    if not models:
        raise BenchmarkError("\n".join(["no model to compare", *absent]))
    return models, absent


def contenders(
    models: Mapping[str, Model], device: str = "auto", engine: str = "auto"
) -> list[Contender]:
    """Rows of the table for models by name: each as it is, with its CRF, and either averaged."""
    rows = []
    for name, model in models.items():
        plain = Segmenter(
            model, device=device, engine=engine, precision="float32", crf=False, averaging=1
        )
        for crf in (False, True) if model.crf is not None else (False,):
            for averaging in (1, DEFAULT_AVERAGING):
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
        frames: most of them.

    Raises:
        BenchmarkError: it has no labels.
        DatasetError: it cannot be read.
    """
    sequence = KittiSequence(folder, truth)
    read = [sequence[index] for index in range(min(frames, len(sequence)))]
    if any(frame.labels is None for frame in read):
        raise BenchmarkError(f"sequence {folder} has no labels to score by")
    return Stream("recorded", 0, read)


def simulated_streams(
    drives: int, frames: int, lidars: Sequence[str] = LIDARS, seed: int = HELD_OUT_SEED
) -> list[Stream]:
    """Simulate streets with all that moves, and the same streets standing still.

    Args:
        drives: of each LiDAR.
        frames: of each drive.
        lidars: names of their models.
        seed: of the first street.

    Raises:
        ValueError: no LiDAR has that name, or models are trained on streets of that seed.
        ImportError: Open3D, which casts the rays, is missing.
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
    """Let all contenders label all frames, clean and under noise.

    Args:
        rows: contenders.
        streams: whose frames have labels of the truth's set.
        truth: what all labels are scored in.

    Returns:
        scores by case and contender.

    Raises:
        LabelSetError: a contender's labels cannot be told in the truth's set.
    """
    total = len(CONDITIONS) * sum(len(stream.frames) for stream in streams)
    scores: dict[str, dict[str, Score]] = {}
    with tqdm(desc="labelling", total=total, unit=" frames", leave=False, disable=None) as bar:
        for stream, (condition, noise) in product(streams, CONDITIONS.items()):
            case = f"{stream.case}, {condition}"
            if case not in scores:
                scores[case] = {row.name: Score(truth, row.segmenter.label_set) for row in rows}
            last: dict[str, npt.NDArray[np.uint8]] = {}
            for row in rows:
                row.segmenter.reset()
            for scene in _scenes(stream, noise, truth):
                # In turns, so that whatever else the machine does slows all of them alike.
                for row in rows:
                    score = scores[case][row.name]
                    started = time.perf_counter()
                    labels = row.segmenter.segment(scene.frame).labels
                    score.seconds.append(time.perf_counter() - started)
                    score.state_bytes = max(score.state_bytes, row.segmenter.state_bytes)
                    score.add(scene, labels, last.get(row.name, labels))
                    last[row.name] = labels
                bar.update()
    return scores


def _scenes(stream: Stream, noise: Noise | None, truth: LabelSet) -> Iterator[Scene]:
    """Frames of a stream under noise, if any, with what is known of them."""
    before, still_before = stream.frames[0], np.zeros(len(stream.frames[0]), dtype=bool)
    for index, clean in enumerate(stream.frames):
        assert clean.labels is not None
        rng = np.random.default_rng([stream.seed, 3, index])
        frame = clean if noise is None else noise(clean, rng)
        labels = np.where(frame.valid, clean.labels, UNLABELLED)
        moves = np.zeros(len(labels), dtype=bool) if clean.moving is None else clean.moving
        still = standing_still(labels, clean.moving, truth)
        same = same_places(before, clean, still_before, still)
        yield Scene(index, frame, labels, np.where(moves, labels, UNLABELLED), same)
        before, still_before = clean, still


def report(scores: Mapping[str, Mapping[str, Score]], truth: LabelSet) -> dict[str, Any]:
    """All figures, for machines to read: shares from 0 to 1, None where there is nothing."""
    return {
        "noise": asdict(Noise()),
        "label_set": truth.name,
        "cases": {
            case: {name: _figures(score, truth) for name, score in rows.items()}
            for case, rows in scores.items()
        },
    }


def _figures(score: Score, truth: LabelSet) -> dict[str, Any]:
    iou = score.all.iou
    changed, compared = (
        sum(getattr(f, n) for f in score.flicker) for n in ("changed", "compared")
    )
    return {
        "miou": _known(score.all.miou),
        "miou_movable": _mean(iou[truth.movable_ids]),
        "miou_moving": _known(score.moving.miou),
        "flicker": changed / compared if compared else None,
        "milliseconds": 1e3 * median(score.seconds),
        "state_bytes": score.state_bytes,
        "iou": dict(zip(truth.names, map(_known, iou.tolist()), strict=True)),
        "flicker_by_frame": [_known(flicker.share) for flicker in score.flicker],
        "compared_points": compared,
    }


def _known(value: float) -> float | None:
    return None if np.isnan(value) else value


def _mean(values: npt.NDArray[np.float64]) -> float | None:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else None


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
