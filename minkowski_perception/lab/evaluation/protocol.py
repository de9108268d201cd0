# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Leave one recording out: settings are chosen without the recording that they are scored on.

Each recording is scored with the candidate settings that are best on average over all other
recordings. So its figures hold for a robot that no choice has seen, as far as the recordings
resemble it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt

from minkowski_perception.frame import Frame
from minkowski_perception.lab.datasets.catalogue import Dataset, open_dataset
from minkowski_perception.lab.evaluation import EvaluationError
from minkowski_perception.lab.evaluation.evaluation import (
    Evaluation,
    FrameConfusions,
    Labeller,
    evaluate,
    select_sequences,
)
from minkowski_perception.lab.evaluation.intervals import (
    draws_of,
    interval,
    miou_draws,
    miou_of,
)
from minkowski_perception.metrics import Calibration, none_if_nan
from minkowski_perception.schema import Range, read, read_yaml
from minkowski_perception.settings import Settings

FIGURES = ("classes", "groups", "calibration")
Figure = Literal["classes", "groups", "calibration"]


@dataclass(frozen=True)
class Part:
    """Sequences of a data set.

    Attributes:
        dataset: see `open_dataset`.
        root: folder, relative to the file's own.
        split: of the data set.
        sequences: names; all where empty.
        limit: largest number of frames of each sequence.
    """

    dataset: str
    root: str
    split: str | None = None
    sequences: tuple[str, ...] = ()
    limit: Annotated[int, Range(least=1)] | None = None


@dataclass(frozen=True)
class Choices:
    """Schema of the protocol's file.

    Attributes:
        recordings: parts of each by its name; parts of one drive belong to one recording, and
            have the same classes.
        candidates: settings of each by its name; others keep their defaults.
        by: figure that chooses: "classes" and "groups" are mIoU, "calibration" the expected error.

    Raises:
        ValueError: there are fewer than two recordings, or no candidate.
    """

    recordings: Mapping[str, tuple[Part, ...]]
    candidates: Mapping[str, Mapping[str, Any]]
    by: Figure = "groups"

    def __post_init__(self) -> None:
        """Check the numbers, and the settings of the candidates."""
        if len(self.recordings) < 2:
            raise ValueError("recordings: must be two or more, to leave one out")
        if not self.candidates:
            raise ValueError("candidates: must be one or more")
        for settings in self.candidates.values():
            Settings.from_values(settings)


def read_choices(path: Path) -> Choices:
    """Read the protocol's file.

    Raises:
        SchemaError: the file cannot be read, or a value in it is not possible.
    """
    return read(Choices, read_yaml(path))


@dataclass
class Score:
    """Counts of a candidate on a recording.

    Attributes:
        frames: confusion of each frame.
        calibration: of the labels.
    """

    frames: list[FrameConfusions] = field(default_factory=list)
    calibration: Calibration = field(default_factory=Calibration)

    def add(self, part: str, evaluation: Evaluation) -> None:
        """Count the evaluation of a part."""
        for frame in evaluation.frames:
            self.frames.append(FrameConfusions(f"{part}/{frame.sequence}", frame.counts))
        self.calibration += evaluation.scorer.calibration

    def figure(self, name: str) -> float:
        """Return one of `FIGURES`; NaN where it is unknown."""
        if name == "calibration":
            return self.calibration.expected_error
        if name not in self.frames[0].counts:
            return float("nan")
        return float(miou_of(np.sum([frame.counts[name] for frame in self.frames], axis=0)))


MakeLabeller = Callable[[Mapping[str, Any], Dataset], Labeller]
"""From the settings of a candidate and a data set to what labels its frames."""


def score_all(
    choices: Choices, folder: Path, make: MakeLabeller, ego_motion: str = "auto"
) -> dict[str, dict[str, Score]]:
    """Return the score of each recording by each candidate: `scores[candidate][recording]`.

    Args:
        choices: recordings and candidates.
        folder: that roots are relative to.
        make: makes the labellers.
        ego_motion: see `choose_ego_motion`.

    Raises:
        DatasetError, EvaluationError, LabelSetError: a recording cannot be evaluated.
    """
    # All are opened before hours of work.
    opened = {
        recording: [(part, *_opened(part, folder)) for part in parts]
        for recording, parts in choices.recordings.items()
    }
    scores: dict[str, dict[str, Score]] = {}
    for candidate, settings in choices.candidates.items():
        chosen = Settings.from_values(settings)
        for recording, found in opened.items():
            score = scores.setdefault(candidate, {}).setdefault(recording, Score())
            for part, dataset, sequences in found:
                labeller = make(settings, dataset)
                score.add(
                    part.root,
                    evaluate(
                        labeller,
                        dataset.label_set,
                        sequences,
                        part.limit,
                        ego_motion=ego_motion,
                        deskew=chosen.deskew,
                        level=chosen.level,
                    ),
                )
    return scores


def _opened(part: Part, folder: Path) -> tuple[Dataset, dict[str, Sequence[Frame]]]:
    dataset = open_dataset(part.dataset, folder / part.root, part.split)
    return dataset, select_sequences(dataset.sequences, part.sequences or None)


def chosen_without(
    values: npt.NDArray[np.float64], lower_is_better: bool = False
) -> npt.NDArray[np.intp]:
    """Return the best candidate for each recording by the mean over all others, [R].

    Args:
        values: [C, R], of each candidate on each recording.
        lower_is_better: whether the least mean is the best.

    Raises:
        EvaluationError: the figure is unknown for a recording.
    """
    if np.isnan(values).any():
        raise EvaluationError("the figure that chooses is unknown for a recording")
    others = values.sum(axis=1, keepdims=True) - values
    return np.asarray((others if lower_is_better else -others).argmin(axis=0))


def report(choices: Choices, scores: Mapping[str, Mapping[str, Score]]) -> dict[str, Any]:
    """Return the figures by recording, their means with 95 % intervals over recordings."""
    candidates, recordings = list(choices.candidates), list(choices.recordings)
    values = {
        name: np.array([[scores[c][r].figure(name) for r in recordings] for c in candidates])
        for name in FIGURES
    }
    lower = choices.by == "calibration"
    chosen = chosen_without(values[choices.by], lower)
    rows = {}
    for column, (recording, row) in enumerate(zip(recordings, chosen, strict=True)):
        frames = scores[candidates[row]][recording].frames
        rows[recording] = {
            "candidate": candidates[row],
            "frames": len(frames),
            **{name: none_if_nan(values[name][row, column]) for name in FIGURES},
            "intervals": {
                view: interval(miou_draws(frames, view, "frames")) for view in frames[0].counts
            },
        }
    weights = draws_of(len(recordings)) / len(recordings)
    means = {}
    for name in FIGURES:
        held_out = values[name][chosen, range(len(recordings))]
        means[name] = {
            "mean": none_if_nan(held_out.mean()),
            "interval": interval(weights @ held_out),
        }
    average = values[choices.by].mean(axis=1)
    in_view = int(average.argmin() if lower else average.argmax())
    return {
        "protocol": "leave-one-recording-out",
        "by": choices.by,
        "recordings": rows,
        "means": means,
        "all_in_view": {
            "candidate": candidates[in_view],
            **{name: none_if_nan(values[name][in_view].mean()) for name in FIGURES},
        },
        "candidates": {
            candidate: {
                name: dict(zip(recordings, map(none_if_nan, values[name][row]), strict=True))
                for name in FIGURES
            }
            for row, candidate in enumerate(candidates)
        },
    }


def text(found: Mapping[str, Any]) -> str:
    """Return the figures of `report` for a terminal."""
    rows = [["recording", "candidate", "frames", "mIoU", "groups", "95 % interval", "error"]]
    for name, row in found["recordings"].items():
        ends = row["intervals"].get("groups") or row["intervals"]["classes"]
        rows.append(
            [
                name,
                row["candidate"],
                str(row["frames"]),
                *map(_figure, (row["classes"], row["groups"])),
                "-" if ends is None else f"{ends[0]:.3f} to {ends[1]:.3f}",
                _figure(row["calibration"]),
            ]
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(cell.ljust(wide) for cell, wide in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    lines.append("")
    for name, label in zip(FIGURES, ("mIoU", "mIoU of groups", "calibration error"), strict=True):
        mean = found["means"][name]
        if mean["mean"] is not None:
            low, high = mean["interval"]
            lines.append(
                f"{label:<18} {mean['mean']:.3f}  {low:.3f} to {high:.3f} over recordings"
            )
    view = found["all_in_view"]
    lines += ["", f"with all recordings in view: {view['candidate']}, {_all(view)}"]
    return "\n".join(lines)


def _all(view: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {_figure(view[name])}" for name in FIGURES)


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
