# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from puppets import random_frame

from minkowski_perception.frame import Frame
from minkowski_perception.lab.evaluation.tally import Tally
from minkowski_perception.labels import LabelSet
from minkowski_perception.segmenter import Segmentation

pytest.importorskip("matplotlib", reason="needs matplotlib for the pictures")

from minkowski_perception.lab.evaluation import charts

KITTI, SCANNET = LabelSet.load("semantickitti19"), LabelSet.load("scannet20")


def drawn(monkeypatch, tmp_path, tally):
    """Axes of the picture of a tally, by the first word of their titles."""
    figures = []
    monkeypatch.setattr(charts, "save_figure", lambda figure, path: figures.append(figure))
    charts.save_overview(tmp_path / "picture.png", tally, "a title")
    return {
        axes.get_title(loc="left").split(",")[0].split(";")[0]: axes for axes in figures[0].axes
    }


def some_tally(label_set: LabelSet) -> Tally:
    draw = np.random.default_rng(0)
    tally = Tally(label_set, label_set)
    tally.begin("s")
    frame = random_frame(1, label_set)
    frame.labels[frame.labels == 3] = 255  # a class that is said and never true
    frame.labels[frame.labels == 4] = 255
    labels = draw.integers(0, len(label_set), 300).astype(np.uint8)
    labels[labels == 4] = 255  # one that is neither
    tally.add(0, frame, Segmentation(labels, draw.random(300).astype(np.float32), {}, 1, 1), 1.0)
    return tally


def test_cells_are_the_shares_of_what_each_class_was_said_to_be(monkeypatch, tmp_path):
    tally = some_tally(KITTI)
    axes = drawn(monkeypatch, tmp_path, tally)["classes"]
    counts = tally.all["classes"].counts
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


def test_reliability_is_the_share_of_right_labels_by_confidence(monkeypatch, tmp_path):
    tally = some_tally(KITTI)
    axes = drawn(monkeypatch, tmp_path, tally)["reliability"]
    line = next(line for line in axes.get_lines() if line.get_label() == "share that is right")
    calibration = tally.calibration
    filled = calibration.points > 0
    np.testing.assert_allclose(
        line.get_ydata(), (calibration.right / np.maximum(calibration.points, 1))[filled]
    )


@pytest.mark.parametrize(
    ("label_set", "panels"),
    [
        (KITTI, {"classes", "groups", "reliability", "by range"}),
        (SCANNET, {"classes", "reliability", "by range"}),
    ],
)
def test_groups_are_drawn_where_there_are_any(monkeypatch, tmp_path, label_set, panels):
    assert set(drawn(monkeypatch, tmp_path, some_tally(label_set))) == panels


def test_a_picture_is_written_even_of_one_point(tmp_path):
    tally = Tally(KITTI, KITTI)
    tally.begin("s")
    frame = Frame(np.ones((1, 3), np.float32), labels=np.zeros(1, np.uint8))
    said = Segmentation(np.full(1, 255, np.uint8), np.zeros(1, np.float32), {}, 1, 1)
    tally.add(0, frame, said, 1.0)
    path = tmp_path / "new" / "picture.png"
    charts.save_overview(path, tally, "one point")
    assert path.read_bytes().startswith(b"\x89PNG")
