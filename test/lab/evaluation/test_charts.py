# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from fake_segmenters import random_frame

from minkowski_perception.frame import Frame
from minkowski_perception.lab.evaluation.evaluation import views_of
from minkowski_perception.labels import LabelSet
from minkowski_perception.scoring import Scorer

pytest.importorskip("matplotlib", reason="needs matplotlib for the pictures")

from minkowski_perception.lab.evaluation import charts

KITTI, SCANNET = LabelSet.load("semantickitti19"), LabelSet.load("scannet20")


def draw(monkeypatch, tmp_path, scorer):
    """Return the axes of the picture by the start of their titles."""
    figures = []
    monkeypatch.setattr(charts, "save_figure", lambda figure, path: figures.append(figure))
    charts.save_overview(tmp_path / "picture.png", scorer, "a title")
    return {
        axes.get_title(loc="left").split(",")[0].split(";")[0]: axes for axes in figures[0].axes
    }


def random_scorer(label_set: LabelSet) -> Scorer:
    rng = np.random.default_rng(0)
    scorer = Scorer(label_set, label_set, views_of(label_set, label_set), ranges=[10.0])
    frame = random_frame(1, label_set)
    frame.labels[frame.labels == 3] = 255  # predicted, but not in the truth
    frame.labels[frame.labels == 4] = 255
    labels = rng.integers(0, len(label_set), 300).astype(np.uint8)
    labels[labels == 4] = 255  # neither predicted nor in the truth
    scorer.add(frame, labels, rng.random(300).astype(np.float32))
    return scorer


def test_cells_are_shares_of_the_true_class(monkeypatch, tmp_path):
    scorer = random_scorer(KITTI)
    axes = draw(monkeypatch, tmp_path, scorer)["classes"]
    counts = scorer.all["classes"].counts
    rows = [name.get_text() for name in axes.get_yticklabels()]
    columns = [name.get_text() for name in axes.get_xticklabels()]

    assert rows == [name for i, name in enumerate(KITTI.names) if i not in (3, 4)]
    assert columns == [n for i, n in enumerate(KITTI.names) if i != 4] + ["no class"]
    shown = axes.get_images()[0].get_array()
    names = [*KITTI.names, "no class"]
    for i, row in enumerate(rows):
        truth = names.index(row)
        expected = [100 * counts[truth, names.index(c)] / counts[truth].sum() for c in columns]
        np.testing.assert_allclose(shown[i], expected)


def test_reliability_is_accuracy_by_confidence(monkeypatch, tmp_path):
    scorer = random_scorer(KITTI)
    axes = draw(monkeypatch, tmp_path, scorer)["reliability"]
    line = next(line for line in axes.get_lines() if line.get_label() == "accuracy")
    calibration = scorer.calibration
    filled = calibration.points > 0
    np.testing.assert_allclose(
        line.get_ydata(), (calibration.correct / np.maximum(calibration.points, 1))[filled]
    )


@pytest.mark.parametrize(
    ("label_set", "panels"),
    [
        (KITTI, {"classes", "groups", "reliability", "by range"}),
        (SCANNET, {"classes", "reliability", "by range"}),
    ],
)
def test_groups_are_drawn_if_there_are_any(monkeypatch, tmp_path, label_set, panels):
    assert set(draw(monkeypatch, tmp_path, random_scorer(label_set))) == panels


def test_a_picture_of_one_point_is_written(tmp_path):
    scorer = Scorer(KITTI, KITTI)
    frame = Frame(np.ones((1, 3), np.float32), labels=np.zeros(1, np.uint8))
    scorer.add(frame, np.full(1, 255, np.uint8), np.zeros(1, np.float32))
    path = tmp_path / "new" / "picture.png"
    charts.save_overview(path, scorer, "one point")
    assert path.read_bytes().startswith(b"\x89PNG")
