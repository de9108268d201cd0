# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Reports of an evaluation: figures for programs (JSON), tables for people (text, Markdown)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Any

import numpy as np

from minkowski_perception import __version__
from minkowski_perception.lab.evaluation.evaluation import Evaluation
from minkowski_perception.lab.evaluation.intervals import miou_difference, miou_intervals
from minkowski_perception.metrics import ConfusionMatrix, none_if_nan
from minkowski_perception.scoring import Confusions, Scorer, View

_NOTHING = "-"


@dataclass(frozen=True)
class Subject:
    """The model that was evaluated, how it ran, and on which data.

    Attributes:
        dataset: name of the data set.
        root: folder of the data set; None if it is simulated.
        split: of the data set; None for its default.
        model: name of the model.
        device: PyTorch device that it ran on.
        engine: what computed the convolutions.
        execution: "incremental" or "window N".
        crf: whether the model's CRF refined the prediction.
        averaging: frames over which each voxel's probabilities were averaged; 1 for none.
        worlds: test-time augmentations whose probabilities were averaged; 1 for none.
        truth_by_model: whether a model made the true labels.
        sha256: hash of the model's weights, hexadecimal; None if it is unknown.
        version: of this package.
        date: when the evaluation began, in ISO 8601.
        command: line that began it.
    """

    dataset: str
    root: str | None
    split: str | None
    model: str
    device: str
    engine: str
    execution: str
    crf: bool
    averaging: int
    worlds: int = 1
    truth_by_model: bool = False
    sha256: str | None = None
    version: str = __version__
    date: str = ""
    command: str = ""


def figures(subject: Subject, evaluation: Evaluation) -> dict[str, Any]:
    """Return all figures: shares from 0 to 1, None if nothing was counted (docs/evaluation.md)."""
    scorer = evaluation.scorer
    confusion, classes = scorer.all["classes"], scorer.views["classes"]
    calibration, flicker = scorer.calibration, scorer.flicker
    found: dict[str, Any] = {
        **vars(subject),
        "label_set": classes.label_set.name,
        "sequences": list(scorer.by_sequence),
        "frames": len(evaluation.seconds),
        "points": evaluation.points,
        "scored_points": scorer.points,
        "ego_motion": evaluation.ego_motion,
        "averaged_frames": evaluation.averaged,
        "frames_without_pose": evaluation.without_pose,
        **_means(confusion),
        "accuracy": none_if_nan(confusion.accuracy),
    }
    for name, view in scorer.views.items():
        matrix = scorer.all[name]
        overall = _means(matrix) if name == "groups" else {}
        found[name] = overall | _by_name(view, matrix.iou)
    found["intervals"] = {name: miou_intervals(evaluation.frames, name) for name in scorer.views}
    found["absent"] = _absent(scorer)
    found["never_predicted"] = classes.never_predicted
    found["precision"] = _by_name(classes, confusion.precision)
    found["recall"] = _by_name(classes, confusion.recall)
    found["by_range"] = [
        {
            "from": float(near),
            "to": None if np.isinf(far) else float(far),
            "points": confusions["classes"].points,
            "accuracy": none_if_nan(confusions["classes"].accuracy),
            "miou": _miou(confusions),
        }
        for (near, far), confusions in zip(pairwise(scorer.ranges), scorer.by_range, strict=True)
    ]
    found["by_sequence"] = {
        name: {"points": confusions["classes"].points, "miou": _miou(confusions)}
        for name, confusions in scorer.by_sequence.items()
    }
    total = max(int(calibration.points.sum()), 1)
    found["calibration"] = {
        "expected_error": none_if_nan(calibration.expected_error),
        "confidence": float(calibration.confidence.sum() / total),
        "accuracy": float(calibration.correct.sum() / total),
        "bins": [
            {
                "from": float(low),
                "to": float(high),
                "points": int(points),
                "confidence": float(confidence / points) if points else None,
                "accuracy": float(correct / points) if points else None,
            }
            for (low, high), points, confidence, correct in zip(
                pairwise(calibration.edges),
                calibration.points,
                calibration.confidence,
                calibration.correct,
                strict=True,
            )
        ],
    }
    found["flicker"] = {"share": none_if_nan(flicker.share), "compared_points": flicker.compared}
    found["speed"] = {
        "milliseconds": 1e3 * median(evaluation.seconds),
        "points_per_second": evaluation.points / sum(evaluation.seconds),
    }
    found["confusion"] = {
        name: {
            "truth": list(view.label_set.names),
            "predicted": [*view.label_set.names, None],
            "counts": scorer.all[name].counts.tolist(),
        }
        for name, view in scorer.views.items()
    }
    worst = evaluation.worst
    found["worst_frame"] = worst and {
        "sequence": worst.sequence,
        "index": worst.index,
        "accuracy": worst.accuracy,
    }
    if scorer.outputs:
        found["outputs"] = {
            name: dict(metric.figures()) for name, metric in scorer.outputs.items()
        }
    return found


def _means(matrix: ConfusionMatrix) -> dict[str, float | None]:
    return {
        "miou": none_if_nan(matrix.miou),
        "miou_with_predicted": none_if_nan(matrix.miou_with_predicted),
        "miou_of_all": none_if_nan(matrix.miou_of_all),
    }


def _absent(scorer: Scorer) -> dict[str, int]:
    """Return how many points each class got that is absent from the truth, largest first."""
    names, points = scorer.views["classes"].label_set.names, scorer.all["classes"].absent
    order = np.argsort(-points, kind="stable")
    return {names[i]: int(points[i]) for i in order if points[i]}


def _miou(confusions: Confusions) -> dict[str, float | None]:
    return {view: none_if_nan(matrix.miou) for view, matrix in confusions.items()}


def _by_name(view: View, values: np.ndarray[Any, Any]) -> dict[str, float | None]:
    return dict(zip(view.label_set.names, map(none_if_nan, values), strict=True))


@dataclass(frozen=True)
class Table:
    """A table of a report: names in the first column, figures in the others."""

    heads: Sequence[str]
    rows: Sequence[Sequence[str]]

    def text(self) -> list[str]:
        """Return lines with aligned columns."""
        widths = [max(map(len, column)) for column in zip(self.heads, *self.rows, strict=True)]
        return [
            "  ".join(
                cell.ljust(wide) if i == 0 or self._is_words(i) else cell.rjust(wide)
                for i, (cell, wide) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in (self.heads, *self.rows)
        ]

    def markdown(self) -> list[str]:
        """Return the lines of a Markdown table."""
        columns = range(len(self.heads))
        rule = ["---" if i == 0 or self._is_words(i) else "---:" for i in columns]
        return [f"| {' | '.join(row)} |" for row in (self.heads, rule, *self.rows)]

    def _is_words(self, column: int) -> bool:
        return self.heads[column] == _TAKEN_FOR


_TAKEN_FOR = "taken most often for"


def summary(evaluation: Evaluation) -> list[tuple[str, str]]:
    """Return the headline figures, each with its name and its meaning."""
    scorer = evaluation.scorer
    matrix, calibration, flicker = scorer.all["classes"], scorer.calibration, scorer.flicker
    rows = [
        ("mIoU", f"{_iou(matrix.miou)}  over {_present(matrix)} classes, those in the truth"),
        *_interval_rows(evaluation, "classes"),
        (
            "",
            f"{_iou(matrix.miou_with_predicted)}  over classes in truth or prediction, "
            f"{_iou(matrix.miou_of_all)} over all {len(matrix)}",
        ),
    ]
    if absent := _absent(scorer):
        rows.append(
            (
                "absent classes",
                f"{_percent(sum(absent.values()) / scorer.points)}  of the points: "
                f"{_shares(absent, scorer.points)}",
            )
        )
    if "groups" in scorer.views:
        groups = scorer.all["groups"]
        rows.append(("mIoU of groups", f"{_iou(groups.miou)}  over {_present(groups)}"))
        rows += _interval_rows(evaluation, "groups")
    rows.append(("accuracy", f"{_percent(matrix.accuracy)}  of the points"))
    if total := calibration.points.sum():
        rows.append(
            (
                "calibration",
                f"{_percent(calibration.expected_error)}  expected error: mean confidence "
                f"{_percent(calibration.confidence.sum() / total)}, accuracy "
                f"{_percent(calibration.correct.sum() / total)}",
            )
        )
    if flicker.compared:
        meaning = f"of {flicker.compared:,} pairs of still points changed their label"
        rows.append(("flicker", f"{_percent(flicker.share)}  {meaning}"))
    else:
        rows.append(("flicker", "unknown: no two frames with poses measured the same place"))
    rows.append(
        (
            "speed",
            f"{1e3 * median(evaluation.seconds):.0f} ms per frame (median), "
            f"{evaluation.points / sum(evaluation.seconds):,.0f} points/s",
        )
    )
    for name, metric in scorer.outputs.items():
        values = (
            f"{key.replace('_', ' ')} {_figure(value)}"
            for key, value in metric.figures().items()
            if not isinstance(value, Mapping | list)
        )
        rows.append((name, ", ".join(values)))
    if missing := scorer.views["classes"].never_predicted:
        rows.append(("never predicted", f"{', '.join(missing)}: the model has no such class"))
    return rows


def _interval_rows(evaluation: Evaluation, view: str) -> list[tuple[str, str]]:
    """Return a row with the intervals of mIoU; none for a single frame."""
    found = miou_intervals(evaluation.frames, view).items()
    parts = [f"{ends[0]:.3f} to {ends[1]:.3f} over {over}" for over, ends in found if ends]
    return [("", f"95 % interval {', '.join(parts)}")] if parts else []


_LISTED = 4
"""Classes that a row of the summary names."""


def _shares(points: Mapping[str, int], total: int) -> str:
    named = [f"{name} {_percent(count / total)}" for name, count in points.items()]
    more = len(named) - _LISTED
    return ", ".join(named[:_LISTED]) + (f" and {more} more" if more > 0 else "")


def headlines(subject: Subject, evaluation: Evaluation) -> list[str]:
    """Return lines: the data, the model and how it ran, the motion, and the origin."""
    scorer = evaluation.scorer
    root = "" if subject.root is None else f" at {subject.root}"
    split = "" if subject.split is None else f", split {subject.split}"
    how = [
        f"{'with' if subject.crf else 'without'} CRF",
        _averaging(subject, evaluation),
        *([f"mean of {subject.worlds} augmentations"] if subject.worlds > 1 else []),
    ]
    return [
        f"{subject.dataset}{root}{split}: {_counted(len(scorer.by_sequence), 'sequence')}, "
        f"{_counted(len(evaluation.seconds), 'frame')}, "
        f"{scorer.points:,} of {evaluation.points:,} points scored",
        f"{subject.model} on {subject.device} by {subject.engine}, {subject.execution}, "
        f"{', '.join(how)}",
        _motion(evaluation),
        *(["the true labels were made by a model"] if subject.truth_by_model else []),
        f"version {subject.version}, weights {(subject.sha256 or 'of unknown hash')[:16]}"
        f"{subject.date and ', ' + subject.date}",
        *([subject.command] if subject.command else []),
    ]


def _averaging(subject: Subject, evaluation: Evaluation) -> str:
    """Return how many frames each voxel's probabilities were really averaged over, in words."""
    if subject.averaging == 1:
        return "not averaged over frames"
    frames, averaged = len(evaluation.seconds), evaluation.averaged
    if not averaged:
        return "not averaged: motion unknown"
    part = "" if averaged == frames else f" in {averaged} of {frames} frames, the others alone"
    return f"averaged over up to {subject.averaging} frames{part}"


def _motion(evaluation: Evaluation) -> str:
    """Return the sources of ego motion in words, with the number of sequences where they vary."""
    counts = Counter(evaluation.ego_motion.values())
    parts = [
        source if len(counts) == 1 else f"{source} in {_counted(count, 'sequence')}"
        for source, count in counts.items()
    ]
    left_out = evaluation.without_pose
    skipped = f"; {_counted(left_out, 'frame')} without a pose left out" if left_out else ""
    return f"ego motion: {', '.join(parts)}{skipped}"


def _counted(number: int, what: str) -> str:
    """Return "1 frame", "2 frames"."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def tables(scorer: Scorer) -> dict[str, Table]:
    """Return the tables of a report by the kind of their rows: class, group, range, sequence."""
    found = {"class": _confusion_table("class", scorer, "classes")}
    if "groups" in scorer.views:
        found["group"] = _confusion_table("group", scorer, "groups")
    bins = zip(pairwise(scorer.ranges), scorer.by_range, strict=True)
    by_range = {
        _range(near, None if np.isinf(far) else far): confusions
        for (near, far), confusions in bins
    }
    for kind, parts in (("range", by_range), ("sequence", scorer.by_sequence)):
        heads = [kind, *(_MIOU[view] for view in scorer.views), "accuracy", "of points"]
        rows = [
            [
                name,
                *(_iou(confusions[view].miou) for view in scorer.views),
                _percent(confusions["classes"].accuracy),
                _percent(confusions["classes"].points / scorer.points),
            ]
            for name, confusions in parts.items()
        ]
        found[kind] = Table(heads, rows)
    for name, metric in scorer.outputs.items():
        for key, part in metric.figures().items():
            if key.startswith("by_") and part:
                kind = key.removeprefix("by_")
                found[f"{kind} ({name})"] = _output_table(kind, part)
    return found


def _output_table(
    kind: str, parts: Mapping[str, Mapping[str, Any]] | Sequence[Mapping[str, Any]]
) -> Table:
    """Return the figures of an output by the name of a class, by range or by speed."""
    if not isinstance(parts, Mapping):
        unit = "m/s" if kind == "speed" else "m"
        parts = {
            _range(part["from"], part["to"], unit): {
                key: value for key, value in part.items() if key not in ("from", "to")
            }
            for part in parts
        }
    keys = next(iter(parts.values()))
    rows = [[name, *map(_figure, figures.values())] for name, figures in parts.items()]
    return Table([kind, *(key.replace("_", " ") for key in keys)], rows)


def _range(low: float, high: float | None, unit: str = "m") -> str:
    return f"{low:g} {unit} and more" if high is None else f"{low:g} to {high:g} {unit}"


_MIOU: Mapping[str, str] = {"classes": "mIoU", "groups": "of groups"}


def _confusion_table(kind: str, scorer: Scorer, view: str) -> Table:
    """Return a row for each class in the truth, largest first, then for those only predicted."""
    matrix, names = scorer.all[view], scorer.views[view].label_set.names
    points, predicted = matrix.counts.sum(axis=1), matrix.counts.sum(axis=0)
    rows = [
        [
            names[i],
            _iou(matrix.iou[i]),
            _percent(matrix.precision[i]),
            _percent(matrix.recall[i]),
            _percent(points[i] / points.sum()),
            _percent(predicted[i] / points.sum()),
            _taken_for(matrix, names, int(i)),
        ]
        for i in np.argsort(-points, kind="stable")
        if points[i] or predicted[i]
    ]
    heads = [kind, "IoU", "precision", "recall", "of points", "of labels", _TAKEN_FOR]
    return Table(heads, rows)


def _taken_for(matrix: ConfusionMatrix, names: Sequence[str], label: int) -> str:
    """Return the class that most missed points of a class are predicted as, and their share."""
    row = matrix.counts[label].copy()
    points = row.sum()
    row[label] = 0
    other = int(row.argmax())
    if not row[other]:
        return ""
    return f"{(*names, 'no class')[other]} {_percent(row[other] / points)}"


def _present(matrix: ConfusionMatrix) -> str:
    return f"{np.count_nonzero(~np.isnan(matrix.iou))} of {len(matrix)}"


def _figure(value: float | None) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    return _NOTHING if value is None else f"{value:.3f}"


def _iou(value: float) -> str:
    return _figure(none_if_nan(value))


def _percent(share: float) -> str:
    return _NOTHING if np.isnan(share) else f"{100 * share:.1f} %"


def text(subject: Subject, evaluation: Evaluation) -> str:
    """Return the report for a terminal."""
    headline = summary(evaluation)
    wide = max(len(name) for name, _ in headline)
    lines = [*headlines(subject, evaluation), ""]
    lines += [f"{name:<{wide}}  {value}" for name, value in headline]
    for table in tables(evaluation.scorer).values():
        lines += ["", *table.text()]
    return "\n".join(lines)


def comparison(
    first: tuple[Subject, Evaluation], second: tuple[Subject, Evaluation]
) -> dict[str, Any]:
    """Return what a second model gains over a first one on the same frames, by view.

    Intervals are paired: both models are scored on the same draws of frames.
    """
    (model, before), (other, after) = first, second
    found: dict[str, Any] = {"model": other.model, "over": model.model}
    for view in before.scorer.views:
        gain = after.scorer.all[view].miou - before.scorer.all[view].miou
        ends = miou_difference(before.frames, after.frames, view)
        found[view] = {"gain": none_if_nan(gain), "intervals": ends}
    return found


def comparison_text(found: Mapping[str, Any]) -> str:
    """Return a comparison for a terminal."""
    lines = [f"{found['model']} over {found['over']}"]
    for view, name in _MIOU.items():
        if view in found and found[view]["gain"] is not None:
            ends = found[view]["intervals"].items()
            parts = [
                f"{low_high[0]:+.3f} to {low_high[1]:+.3f} over {over}"
                for over, low_high in ends
                if low_high
            ]
            interval = f"  95 % interval {', '.join(parts)}" if parts else ""
            lines.append(f"{name:<10} {found[view]['gain']:+.3f}{interval}")
    return "\n".join(lines)


def markdown(subject: Subject, evaluation: Evaluation, pictures: Mapping[str, str]) -> str:
    """Return the report as Markdown.

    Args:
        subject: what was evaluated.
        evaluation: its outcome.
        pictures: paths relative to the report, by caption.
    """
    lines = [f"# {subject.model} on {subject.dataset}", ""]
    for line in headlines(subject, evaluation):
        lines += [f"`{line}`" if line == subject.command else line, ""]
    for name, value in summary(evaluation):
        lines.append(f"- **{name}**: {value}" if name else f"  {value}")
    for kind, table in tables(evaluation.scorer).items():
        lines += ["", f"## By {kind}", "", *table.markdown()]
    for caption, path in pictures.items():
        lines += ["", f"## {caption}", "", f"![{caption}]({path})"]
    return "\n".join([*lines, ""])
