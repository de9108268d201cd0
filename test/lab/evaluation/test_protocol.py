# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import json

import numpy as np
import pytest

from minkowski_perception.lab.evaluation import EvaluationError
from minkowski_perception.lab.evaluation.evaluation import FrameConfusions
from minkowski_perception.lab.evaluation.protocol import (
    Choices,
    Part,
    Score,
    chosen_without,
    read_choices,
    report,
    text,
)
from minkowski_perception.metrics import ConfusionMatrix
from minkowski_perception.schema import SchemaError

FILE = """\
recordings:
  street: [{dataset: semantickitti, root: kitti, sequences: ["00"], limit: 5}]
  town: [{dataset: pandaset, root: a}, {dataset: pandaset, root: b}]
candidates:
  plain: {}
  alone: {averaging: 1}
"""


def test_each_recording_gets_the_candidate_that_is_best_on_the_others():
    values = np.array([[0.9, 0.1, 0.4], [0.5, 0.45, 0.5], [0.0, 0.2, 0.9]])
    means_without = [[0.25, 0.65, 0.5], [0.475, 0.5, 0.475], [0.55, 0.45, 0.1]]
    expected = np.array(means_without).argmax(axis=0)
    assert chosen_without(values).tolist() == expected.tolist() == [2, 0, 0]
    assert chosen_without(-values, lower_is_better=True).tolist() == expected.tolist()


def test_a_recording_never_decides_about_itself():
    draw = np.random.default_rng(0)
    for _ in range(50):
        values = draw.random((4, 5))
        chosen = chosen_without(values)
        column = int(draw.integers(5))
        values[:, column] = draw.random(4)
        assert chosen_without(values)[column] == chosen[column]


def test_a_figure_that_is_unknown_cannot_choose():
    with pytest.raises(EvaluationError, match="unknown for a recording"):
        chosen_without(np.array([[0.5, np.nan]]))


def score(accuracy: float, seed: int) -> Score:
    draw = np.random.default_rng(seed)
    found = Score()
    for _ in range(4):
        truth = draw.integers(0, 3, 500)
        correct = draw.random(500) < accuracy
        matrix = ConfusionMatrix(3)
        matrix.update(truth, np.where(correct, truth, (truth + 1) % 3))
        counts = {"classes": matrix.counts, "groups": matrix.counts}
        found.frames.append(FrameConfusions("a", counts))
        found.calibration.update(np.full(500, 0.7), correct)
    return found


def test_the_report_has_the_held_out_figures_and_those_in_view():
    parts = (Part("semantickitti", "x"),)
    choices = Choices(dict.fromkeys("abc", parts), {"weak": {}, "strong": {"averaging": 1}})
    scores = {
        "weak": {name: score(0.6, i) for i, name in enumerate("abc")},
        "strong": {name: score(0.9, i) for i, name in enumerate("abc")},
    }
    found = json.loads(json.dumps(report(choices, scores)))
    assert [row["candidate"] for row in found["recordings"].values()] == ["strong"] * 3
    assert found["all_in_view"]["candidate"] == "strong"
    for name, row in found["recordings"].items():
        low, high = row["intervals"]["groups"]
        assert low < row["groups"] == found["candidates"]["strong"]["groups"][name] < high
    mean = found["means"]["groups"]
    assert mean["interval"][0] <= mean["mean"] <= mean["interval"][1]
    assert found["means"]["calibration"]["mean"] == pytest.approx(0.2, abs=0.05)
    shown = text(found)
    assert "with all recordings in view: strong" in shown
    assert max(map(len, shown.splitlines())) < 100


def test_the_file_is_read(tmp_path):
    path = tmp_path / "choices.yaml"
    path.write_text(FILE)
    choices = read_choices(path)
    assert choices.recordings["street"] == (Part("semantickitti", "kitti", None, ("00",), 5),)
    assert len(choices.recordings["town"]) == 2
    assert choices.by == "groups"


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("averaging: 1", "averagin: 1", "did you mean 'averaging'"),
        ("averaging: 1", "averaging: 99", "averaging must be 1 to 32"),
        ("  plain: {}\n  alone: {averaging: 1}", "  {}", "candidates: must be one or more"),
        ("limit: 5", "limit: 0", "limit: must be at least 1"),
        ("  town:", "  # town:", "two or more"),
    ],
)
def test_impossible_values_in_the_file_are_refused(tmp_path, old, new, complaint):
    path = tmp_path / "choices.yaml"
    path.write_text(FILE.replace(old, new))
    with pytest.raises(SchemaError, match=complaint):
        read_choices(path)
