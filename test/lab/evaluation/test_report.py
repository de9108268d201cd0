# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import minkowski_perception
from minkowski_perception.frame import Frame
from minkowski_perception.lab.evaluation.evaluation import Evaluation
from minkowski_perception.lab.evaluation.report import Subject, figures, markdown, text
from minkowski_perception.labels import LabelSet
from minkowski_perception.segmenter import Segmentation

KITTI = LabelSet.load("semantickitti19")
SCANNET = LabelSet.load("scannet20")
SUBJECT = Subject(
    dataset="semantickitti",
    root="data",
    split="val",
    model="tiny",
    device="cpu",
    engine="torch",
    execution="incremental",
    crf=True,
    averaging=5,
)


def evaluation_of(
    truth: list[str], predicted: list[str], label_set: LabelSet = KITTI
) -> Evaluation:
    """One frame: points 1 m apart, predicted with a confidence of 0.75 in 0.5 s."""
    evaluation = Evaluation(label_set, label_set, ranges=[10.0])
    evaluation.begin("08")
    ids = [
        np.array([label_set.names.index(n) for n in names], np.uint8)
        for names in (truth, predicted)
    ]
    points = np.zeros((len(truth), 3), np.float32)
    points[:, 0] = 1.0 + np.arange(len(truth))
    confidence = np.full(len(truth), 0.75, np.float32)
    frame = Frame(points, labels=ids[0], pose=np.eye(4))
    evaluation.add(0, frame, Segmentation(ids[1], confidence, label_set, {}, 1, 1), 0.5)
    return evaluation


def street() -> Evaluation:
    """8 points of road, 2 predicted as parking; 4 of a pole, 1 predicted as trunk."""
    return evaluation_of(
        ["road"] * 8 + ["pole"] * 4, ["road"] * 6 + ["parking"] * 2 + ["pole"] * 3 + ["trunk"]
    )


def test_figures_of_moving_points_are_in_the_json_and_in_tables():
    evaluation = Evaluation(KITTI, KITTI, ranges=[10.0])
    evaluation.begin("08")
    labels = np.repeat([KITTI.names.index(n) for n in ("car", "road")], 4).astype(np.uint8)
    points = np.zeros((8, 3), np.float32)
    points[:, 0] = np.tile([1.0, 20.0], 4)
    frame = Frame(points, labels=labels, moving=np.arange(8) < 4, pose=np.eye(4))
    values = np.array([0.9, 0.9, 0.9, 0.1, 0.8, 0.1, 0.1, np.nan], np.float32)
    result = Segmentation(labels, values, KITTI, {}, 2, 1, {"moving": values})
    evaluation.add(0, frame, result, 0.5)

    found = json.loads(json.dumps(figures(SUBJECT, evaluation)))["outputs"]["moving"]
    assert (found["points"], found["iou"], found["coverage"]) == (7, 0.6, 0.875)
    assert found["by_class"]["car"]["recall"] == 0.75
    assert [part["to"] for part in found["by_range"]] == [10.0, None]

    for report in (text(SUBJECT, evaluation), markdown(SUBJECT, evaluation, {})):
        assert re.search(r"moving.*points 7, moving points 4, iou 0.600, precision 0.750", report)
    report = markdown(SUBJECT, evaluation, {})
    row = "| 0 to 10 m | 4 | 2 | 0.667 | 0.667 | 1.000 | 1.000 | 0.500 |"
    assert "## By range (moving)\n\n| range | points |" in report
    assert row in report
    assert "| car | 4 | 4 | 0.750 | 1.000 | 0.750 | 1.000 | - |" in report


def test_figures_equal_those_counted_by_hand():
    found = json.loads(json.dumps(figures(SUBJECT, street())))

    assert found["classes"]["road"] == found["classes"]["pole"] == found["miou"] == 0.75
    assert found["classes"]["parking"] is None
    assert found["groups"]["ground"] == 1.0
    assert found["groups"]["pole"] == 0.75
    assert found["groups"]["person"] is None
    assert found["groups"]["miou"] == 0.875
    assert found["accuracy"] == pytest.approx(9 / 12)
    assert (found["precision"]["parking"], found["recall"]["road"]) == (0.0, 0.75)
    assert [(b["from"], b["to"], b["points"]) for b in found["by_range"]] == [
        (0.0, 10.0, 9),
        (10.0, None, 3),
    ]
    assert found["by_range"][1]["miou"] == {
        "classes": pytest.approx(2 / 3),
        "groups": pytest.approx(2 / 3),
    }
    assert found["by_sequence"] == {
        "08": {"points": 12, "miou": {"classes": 0.75, "groups": 0.875}}
    }
    assert found["calibration"]["expected_error"] == 0.0
    filled = [b for b in found["calibration"]["bins"] if b["points"]]
    assert [(b["points"], b["confidence"], b["accuracy"]) for b in filled] == [(12, 0.75, 0.75)]
    assert found["flicker"] == {"share": None, "compared_points": 0}
    assert found["speed"] == {"milliseconds": 500.0, "points_per_second": 24.0}
    counts = found["confusion"]["classes"]["counts"]
    road, parking = KITTI.names.index("road"), KITTI.names.index("parking")
    assert (counts[road][road], counts[road][parking], np.sum(counts)) == (6, 2, 12)
    assert (found["dataset"], found["model"], found["split"]) == ("semantickitti", "tiny", "val")
    assert found["worst_frame"] == {"sequence": "08", "index": 0, "accuracy": 0.75}


def test_every_key_is_documented():
    page = (Path(__file__).resolve().parents[3] / "docs" / "evaluation.md").read_text()
    table = page.split("## The JSON\n")[1]
    documented = {name.split(".")[0] for name in re.findall(r"`([a-z_0-9]+)(?:\.[^`]*)?`", table)}
    assert set(figures(SUBJECT, street())) <= documented


def test_reports_of_sets_without_groups_have_no_groups():
    evaluation = evaluation_of(["wall", "floor"], ["wall", "wall"], SCANNET)
    found = figures(SUBJECT, evaluation)
    assert "groups" not in found
    assert found["by_range"][0]["miou"] == {"classes": 0.25}
    assert "group" not in text(SUBJECT, evaluation)


def test_the_text_has_a_row_for_each_class_in_truth_or_prediction():
    lines = text(SUBJECT, street()).splitlines()

    assert "semantickitti at data, split val: 1 sequence, 1 frame, 12 of 12 points scored" in lines
    how = "with CRF, not averaged: motion unknown"
    assert f"tiny on cpu by torch, incremental, {how}" in lines
    assert "ego motion: recorded" in lines
    assert any(re.match(r"mIoU +0\.750 +over 2 of 19 classes", line) for line in lines)
    assert any(re.match(r"mIoU of groups +0\.875 +over 2 of 7", line) for line in lines)
    assert any(re.match(r"flicker +unknown", line) for line in lines)
    rows = [line.split() for line in lines]
    # Class, IoU, precision, recall, share of points, share of labels, taken most often for.
    percents = ["100.0", "%", "75.0", "%", "66.7", "%", "50.0", "%", "parking", "25.0", "%"]
    assert ["road", "0.750", *percents] in rows
    assert ["trunk", "-", "0.0", "%", "-", "0.0", "%", "8.3", "%"] in rows
    assert not any(row and row[0] == "car" for row in rows)
    assert ["10", "m", "and", "more", "0.667", "0.667", "66.7", "%", "25.0", "%"] in rows
    assert max(map(len, lines)) < 100


def test_classes_that_the_model_cannot_predict_are_named():
    urban = LabelSet("urban", ("car", "tram"), ((0, 0, 0),) * 2, {KITTI.name: {"car": "car"}})
    evaluation = Evaluation(urban, KITTI)
    evaluation.begin("s")
    frame = Frame(np.ones((2, 3), np.float32), labels=np.array([0, 1], np.uint8))
    prediction = Segmentation(np.zeros(2, np.uint8), np.ones(2, np.float32), KITTI, {}, 1, 1)
    evaluation.add(0, frame, prediction, 1.0)
    assert figures(SUBJECT, evaluation)["never_predicted"] == ["tram"]
    assert re.search(r"^never predicted +tram: ", text(SUBJECT, evaluation), re.MULTILINE)


def test_the_markdown_has_the_tables_and_the_pictures():
    report = markdown(SUBJECT, street(), {"Confusion": "val.png"})

    assert report.startswith("# tiny on semantickitti\n")
    assert "\n![Confusion](val.png)\n" in report
    assert "\n| road | 0.750 | 100.0 % | 75.0 % | 66.7 % | 50.0 % | parking 25.0 % |\n" in report
    tables = re.findall(r"(?:^\|.*\|\n)+", report, re.MULTILINE)
    assert len(tables) == 4
    for table in tables:
        assert len({line.count("|") for line in table.splitlines()}) == 1


def test_the_averaging_that_happened_is_reported():
    evaluation = Evaluation(KITTI, KITTI)
    labels = np.full(4, KITTI.names.index("road"), np.uint8)
    for name, pose in (("00", np.eye(4)), ("01", None)):
        evaluation.begin(
            name, "kiss_icp (no poses)" if pose is None else "recorded (from the data)"
        )
        timings = {} if pose is None else {"average": 0.1}
        result = Segmentation(labels, np.ones(4, np.float32), KITTI, timings, 1, 1)
        evaluation.add(0, Frame(np.ones((4, 3)), labels=labels, pose=pose), result, 0.5)

    shown = text(SUBJECT, evaluation)
    assert "averaged over up to 5 frames in 1 of 2 frames, the others alone" in shown
    assert "kiss_icp (no poses) in 1 sequence" in shown
    found = figures(SUBJECT, evaluation)
    assert found["averaged_frames"] == 1
    assert found["ego_motion"]["01"] == "kiss_icp (no poses)"


def test_the_origin_of_the_figures_is_reported():
    subject = replace(
        SUBJECT,
        truth_by_model=True,
        sha256="ab" * 32,
        date="2026-11-27T10:00:00+00:00",
        command="minkowski-perception evaluate --dataset x",
    )
    for report in (text(subject, street()), markdown(subject, street(), {})):
        assert "the true labels were made by a model" in report
        assert f"weights {'ab' * 8}, 2026-11-27T10:00:00+00:00" in report
        assert "minkowski-perception evaluate --dataset x" in report
    found = figures(subject, street())
    assert found["sha256"] == "ab" * 32
    assert found["version"] == minkowski_perception.__version__


def test_points_of_absent_classes_and_the_stricter_means_are_reported():
    found = figures(SUBJECT, street())
    assert found["absent"] == {"parking": 2, "trunk": 1}
    assert found["miou_with_predicted"] == pytest.approx(1.5 / 4)
    assert found["miou_of_all"] == pytest.approx(1.5 / 19)
    assert found["groups"]["miou_with_predicted"] == pytest.approx(1.75 / 3)
    shown = text(SUBJECT, street())
    assert "0.375  over classes in truth or prediction, 0.079 over all 19" in shown
    assert "absent classes  25.0 %  of the points: parking 16.7 %, trunk 8.3 %" in shown
