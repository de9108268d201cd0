# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

import numpy as np
import pytest
from tiny_models import save_tiny

from minkowski_perception.frame import Frame
from minkowski_perception.lab.adaptation.comparison import Figures, measure, table, worse
from minkowski_perception.networks.model import load_model
from minkowski_perception.segmenter import Segmenter

BEFORE = Figures(0.1, 0.9, 0.5, {"road": 0.6, "car": 0.39, "person": 0.01}, 0.7)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"disagreement": 0.12}, "neighbouring frames disagree more: 0.1200"),
        ({"agreement": 0.88}, "agree less with the mean over time: 0.8800"),
        ({"entropy": 0.6}, "less sure: entropy 0.6000"),
        ({"simulation": 0.65}, "mIoU 0.650 on simulated drives, 0.700 before"),
        ({"classes": {"road": 0.6, "car": 0.4, "person": 0.0005}}, "class person vanishes: 0.05%"),
        ({"classes": {"road": 0.5, "car": 0.4, "person": 0.1}}, "class person explodes: 10.00%"),
    ],
)
def test_each_way_to_get_worse_is_named(changes, words):
    [reason] = worse(BEFORE, replace(BEFORE, **changes))

    assert words in reason


def test_small_changes_and_unknown_figures_are_not_worse():
    classes = {"road": 0.58, "car": 0.415, "person": 0.005}

    assert worse(BEFORE, Figures(0.105, 0.895, 0.52, classes, 0.69)) == []
    assert worse(replace(BEFORE, simulation=None), replace(BEFORE, disagreement=None)) == []


def test_the_table_shows_figures_before_and_after():
    lines = table(BEFORE, replace(BEFORE, disagreement=0.05, simulation=None)).splitlines()

    assert lines[1].split() == ["disagreement", "0.1000", "0.0500"]
    assert lines[4].split() == ["simulation", "0.7000", "-"]


def test_figures_are_those_of_the_labels_of_each_frame(tmp_path):
    save_tiny(tmp_path / "tiny", dimension=3)
    model = load_model(tmp_path / "tiny.yaml")
    rng = np.random.default_rng(0)
    points = rng.uniform(-5, 5, (300, 3)).astype(np.float32)
    frames = [
        Frame(points, i * 10**8, intensity=rng.random(300, np.float32), pose=np.eye(4))
        for i in range(1, 4)
    ]
    options = {"precision": "float32", "averaging": 1, "intensity_full_scale": 1.0}
    segmenter = Segmenter(model, device="cpu", **options)
    labels = [segmenter.segment(frame).labels for frame in frames]
    frames[1].labels = np.where(np.arange(300) < 50, labels[1], 255)
    frames[2].labels = np.where(np.arange(300) < 50, (labels[2] + 1) % 19, 255)

    found = measure(model, {"a": frames}, "cpu", 0.5)

    _, first = np.unique(np.floor(points / 0.5).astype(int), axis=0, return_index=True)
    differ = [labels[i][first] != labels[i + 1][first] for i in range(2)]
    assert found.disagreement == pytest.approx(np.concatenate(differ).mean())
    assert found.agreement == 0.5
    shares = np.bincount(np.concatenate(labels), minlength=19) / 900
    assert list(found.classes.values()) == pytest.approx(shares.tolist())
    assert 0.0 < found.entropy <= np.log(19)
    assert found.simulation == 0.5
