# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The HTML report of an evaluation: its worst frames, beside the tables of the other reports."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median

import numpy as np

from minkowski_perception.lab.evaluation import report
from minkowski_perception.lab.evaluation.evaluation import Evaluation
from minkowski_perception.lab.evaluation.report import Subject
from minkowski_perception.report.page import Page, Table
from minkowski_perception.report.run import provenance


def page(subject: Subject, evaluation: Evaluation, card: Mapping[str, str]) -> Page:
    """Return the page of an evaluation that had a collector.

    Args:
        subject: what was evaluated, and on what.
        evaluation: its figures.
        card: facts about the model, by name.
    """
    assert evaluation.collector is not None
    split = "" if subject.split is None else f", {subject.split}"
    how = {
        "data": f"{subject.dataset}{split}" + (f" at {subject.root}" if subject.root else ""),
        "truth": "labels that a model made" if subject.truth_by_model else "",
        "device": subject.device,
        "engine": f"{subject.engine}, {subject.execution}",
        "ego motion": ", ".join(dict.fromkeys(evaluation.ego_motion.values())),
    }
    kinds = report.tables(evaluation.scorer).items()
    return Page(
        title=f"{subject.model} on {subject.dataset}{split}",
        subtitle=f"The {len(list(evaluation.collector.clouds))} frames with the lowest mIoU, "
        "the worst first: truth, prediction and errors",
        figures=_figures(evaluation),
        tables=[
            Table("Figures", report.summary(evaluation)),
            *(Table(f"By {kind}", table.rows, table.heads) for kind, table in kinds),
            Table("Model", list(card.items())),
            provenance(subject.sha256, subject.command, how, subject.date),
        ],
        collector=evaluation.collector,
        follows=False,
    )


def _figures(evaluation: Evaluation) -> list[tuple[str, str]]:
    matrices = evaluation.scorer.all
    return [
        *(
            (f"mIoU of {np.count_nonzero(~np.isnan(matrix.iou))} {name}", f"{matrix.miou:.3f}")
            for name, matrix in matrices.items()
        ),
        ("accuracy", f"{matrices['classes'].accuracy:.1%}"),
        ("calibration error", f"{evaluation.scorer.calibration.expected_error:.1%}"),
        ("frames", f"{len(evaluation.seconds):,}"),
        ("median time", f"{1e3 * median(evaluation.seconds):.0f} ms"),
    ]
