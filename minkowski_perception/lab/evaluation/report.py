# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What was counted, told to programs (JSON) and to people (text, Markdown)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Any

import numpy as np

from minkowski_perception.lab.evaluation.tally import Tally, View, known
from minkowski_perception.metrics import ConfusionMatrix

_NOTHING = "-"


@dataclass(frozen=True)
class Subject:
    """What was evaluated, and on what.

    Attributes:
        dataset: name of the data set.
        root: where it lies; None where it is simulated.
        split: of the data set, None for its own default.
        model: name of the model.
        device: where it ran.
        engine: what computed.
        execution: "incremental" or "window N".
        crf: whether the model's CRF refined the answer.
        averaging: frames over which each place's probabilities were averaged; 1 for none.
        worlds: changed worlds whose probabilities were averaged; 1 for none.
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


def figures(subject: Subject, tally: Tally) -> dict[str, Any]:
    """All figures; shares from 0 to 1, None where there is nothing (docs/evaluation.md)."""
    confusion = tally.all["classes"]
    calibration, flicker = tally.calibration, tally.flicker
    found: dict[str, Any] = {
        **vars(subject),
        "label_set": tally.views["classes"].label_set.name,
        "sequences": list(tally.by_sequence),
        "frames": tally.frames,
        "points": tally.points,
        "scored_points": tally.scored,
        "miou": known(confusion.miou),
        "accuracy": known(confusion.accuracy),
    }
    for name, view in tally.views.items():
        matrix = tally.all[name]
        overall = {"miou": known(matrix.miou)} if name == "groups" else {}
        found[name] = overall | _by_name(view, matrix.iou)
    found["never_said"] = tally.views["classes"].never_said
    found["precision"] = _by_name(tally.views["classes"], confusion.precision)
    found["recall"] = _by_name(tally.views["classes"], confusion.recall)
    found["by_range"] = [
        {
            "from": float(near),
            "to": None if np.isinf(far) else float(far),
            "points": int(agreement["classes"].counts.sum()),
            "accuracy": known(agreement["classes"].accuracy),
            "miou": agreement.miou(),
        }
        for (near, far), agreement in zip(pairwise(tally.ranges), tally.by_range, strict=True)
    ]
    found["by_sequence"] = {
        name: {"points": int(agreement["classes"].counts.sum()), "miou": agreement.miou()}
        for name, agreement in tally.by_sequence.items()
    }
    total = max(int(calibration.points.sum()), 1)
    found["calibration"] = {
        "expected_error": known(calibration.expected_error),
        "confidence": float(calibration.confidence.sum() / total),
        "accuracy": float(calibration.right.sum() / total),
        "bins": [
            {
                "from": float(low),
                "to": float(high),
                "points": int(points),
                "confidence": float(confidence / points) if points else None,
                "accuracy": float(right / points) if points else None,
            }
            for (low, high), points, confidence, right in zip(
                pairwise(calibration.edges),
                calibration.points,
                calibration.confidence,
                calibration.right,
                strict=True,
            )
        ],
    }
    found["flicker"] = {"share": known(flicker.share), "compared_points": flicker.compared}
    found["speed"] = {
        "milliseconds": 1e3 * median(tally.seconds),
        "points_per_second": tally.points / sum(tally.seconds),
    }
    found["confusion"] = {
        name: {
            "truth": list(view.label_set.names),
            "said": [*view.label_set.names, None],
            "counts": tally.all[name].counts.tolist(),
        }
        for name, view in tally.views.items()
    }
    worst = tally.worst
    found["worst_frame"] = worst and {
        "sequence": worst.sequence,
        "index": worst.index,
        "accuracy": worst.accuracy,
    }
    return found


def _by_name(view: View, values: np.ndarray[Any, Any]) -> dict[str, float | None]:
    return dict(zip(view.label_set.names, map(known, values), strict=True))


@dataclass(frozen=True)
class Table:
    """Rows of a report: the first column is of names, the others of figures."""

    heads: Sequence[str]
    rows: Sequence[Sequence[str]]

    def text(self) -> list[str]:
        """Lines with aligned columns."""
        widths = [max(map(len, column)) for column in zip(self.heads, *self.rows, strict=True)]
        return [
            "  ".join(
                cell.ljust(wide) if i == 0 or self._is_words(i) else cell.rjust(wide)
                for i, (cell, wide) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in (self.heads, *self.rows)
        ]

    def markdown(self) -> list[str]:
        """Lines of a Markdown table."""
        columns = range(len(self.heads))
        rule = ["---" if i == 0 or self._is_words(i) else "---:" for i in columns]
        return [f"| {' | '.join(row)} |" for row in (self.heads, rule, *self.rows)]

    def _is_words(self, column: int) -> bool:
        return self.heads[column] == _TAKEN_FOR


_TAKEN_FOR = "taken most often for"


def summary(subject: Subject, tally: Tally) -> list[tuple[str, str]]:
    """Headline figures, each with its name and what it means."""
    matrix, calibration = tally.all["classes"], tally.calibration
    rows = [
        ("mIoU", f"{_iou(matrix.miou)}  over {_present(matrix)} classes, those in the truth"),
    ]
    if "groups" in tally.views:
        groups = tally.all["groups"]
        rows.append(("mIoU of groups", f"{_iou(groups.miou)}  over {_present(groups)}"))
    rows.append(("accuracy", f"{_percent(matrix.accuracy)}  of the points"))
    if total := calibration.points.sum():
        rows.append(
            (
                "calibration",
                f"{_percent(calibration.expected_error)}  expected error: sure by "
                f"{_percent(calibration.confidence.sum() / total)}, right in "
                f"{_percent(calibration.right.sum() / total)}",
            )
        )
    if tally.flicker.compared:
        rows.append(
            (
                "flicker",
                f"{_percent(tally.flicker.share)}  of {tally.flicker.compared:,} looks at what "
                "stands still changed its label",
            )
        )
    else:
        rows.append(("flicker", "not known: no two frames with poses that see the same place"))
    rows.append(
        (
            "speed",
            f"{1e3 * median(tally.seconds):.0f} ms a frame in the median, "
            f"{tally.points / sum(tally.seconds):,.0f} points/s",
        )
    )
    if missing := tally.views["classes"].never_said:
        rows.append(("never said", f"{', '.join(missing)}: the model has no such class"))
    return rows


def headlines(subject: Subject, tally: Tally) -> list[str]:
    """Return two sentences: what was evaluated, and on what."""
    place = "" if subject.root is None else f" at {subject.root}"
    split = "" if subject.split is None else f", split {subject.split}"
    how = [
        f"{'with' if subject.crf else 'without'} CRF",
        *([f"averaged over {subject.averaging} frames"] if subject.averaging > 1 else []),
        *([f"mean of {subject.worlds} augmentations"] if subject.worlds > 1 else []),
    ]
    return [
        f"{subject.dataset}{place}{split}: {_counted(len(tally.by_sequence), 'sequence')}, "
        f"{_counted(tally.frames, 'frame')}, {tally.scored:,} of {tally.points:,} points scored",
        f"{subject.model} on {subject.device} by {subject.engine}, {subject.execution}, "
        f"{', '.join(how)}",
    ]


def _counted(number: int, what: str) -> str:
    """Return a number of things in words."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def tables(tally: Tally) -> dict[str, Table]:
    """Tables of a report by what their rows are: class, group, range, sequence."""
    found = {"class": _confusion_table("class", tally, "classes")}
    if "groups" in tally.views:
        found["group"] = _confusion_table("group", tally, "groups")
    bins = zip(pairwise(tally.ranges), tally.by_range, strict=True)
    by_range = {
        f"{near:g} m and more" if np.isinf(far) else f"{near:g} to {far:g} m": agreement
        for (near, far), agreement in bins
    }
    for what, parts in (("range", by_range), ("sequence", tally.by_sequence)):
        heads = [what, *(_MIOU[view] for view in tally.views), "accuracy", "of points"]
        rows = [
            [
                name,
                *(_iou(agreement[view].miou) for view in tally.views),
                _percent(agreement["classes"].accuracy),
                _percent(agreement["classes"].counts.sum() / tally.scored),
            ]
            for name, agreement in parts.items()
        ]
        found[what] = Table(heads, rows)
    return found


_MIOU: Mapping[str, str] = {"classes": "mIoU", "groups": "of groups"}


def _confusion_table(what: str, tally: Tally, name: str) -> Table:
    """Rows of the classes in the truth, largest first, then of those that were only said."""
    matrix, names = tally.all[name], tally.views[name].label_set.names
    points, said = matrix.counts.sum(axis=1), matrix.counts.sum(axis=0)
    rows = [
        [
            names[i],
            _iou(matrix.iou[i]),
            _percent(matrix.precision[i]),
            _percent(matrix.recall[i]),
            _percent(points[i] / points.sum()),
            _percent(said[i] / points.sum()),
            _taken_for(matrix, names, int(i)),
        ]
        for i in np.argsort(-points, kind="stable")
        if points[i] or said[i]
    ]
    heads = [what, "IoU", "precision", "recall", "of points", "of labels", _TAKEN_FOR]
    return Table(heads, rows)


def _taken_for(matrix: ConfusionMatrix, names: Sequence[str], label: int) -> str:
    """Name what most of the missed points of a class were called."""
    row = matrix.counts[label].copy()
    points = row.sum()
    row[label] = 0
    other = int(row.argmax())
    if not row[other]:
        return ""
    return f"{(*names, 'no class')[other]} {_percent(row[other] / points)}"


def _present(matrix: ConfusionMatrix) -> str:
    return f"{np.count_nonzero(~np.isnan(matrix.iou))} of {len(matrix)}"


def _iou(value: float) -> str:
    return _NOTHING if np.isnan(value) else f"{value:.3f}"


def _percent(share: float) -> str:
    return _NOTHING if np.isnan(share) else f"{100 * share:.1f} %"


def text(subject: Subject, tally: Tally) -> str:
    """Return the report for a terminal."""
    headline = summary(subject, tally)
    wide = max(len(name) for name, _ in headline)
    lines = [*headlines(subject, tally), ""]
    lines += [f"{name:<{wide}}  {value}" for name, value in headline]
    for table in tables(tally).values():
        lines += ["", *table.text()]
    return "\n".join(lines)


def markdown(subject: Subject, tally: Tally, pictures: Mapping[str, str]) -> str:
    """Return the report as Markdown.

    Args:
        subject: what was evaluated.
        tally: what was counted.
        pictures: paths relative to the report, by what they show.
    """
    data, model = headlines(subject, tally)
    lines = [f"# {subject.model} on {subject.dataset}", "", data, "", model, ""]
    lines += [f"- **{name}**: {value}" for name, value in summary(subject, tally)]
    for what, table in tables(tally).items():
        lines += ["", f"## By {what}", "", *table.markdown()]
    for caption, path in pictures.items():
        lines += ["", f"## {caption}", "", f"![{caption}]({path})"]
    return "\n".join([*lines, ""])
