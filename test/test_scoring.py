# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import math
from itertools import pairwise

import numpy as np
import pytest
from fake_segmenters import random_frame
from hypothesis import given, settings
from hypothesis import strategies as st

from minkowski_perception.frame import Frame
from minkowski_perception.lab.evaluation.evaluation import views_of
from minkowski_perception.labels import LabelSet, LabelSetError
from minkowski_perception.scoring import Scorer, StillPairs, output_metric

KITTI, URBAN = LabelSet.load("semantickitti19"), LabelSet.load("urban10")
GROUPS = LabelSet.load("outdoor_groups7")
RANGES = (10.0, 40.0)


def group_by_hand(truth: LabelSet, label: int) -> str | None:
    """Return the name of the group of one of the data set's classes."""
    return GROUPS.sources[truth.name].get(truth.names[label]) if label < len(truth) else None


def class_by_hand(truth: LabelSet, prediction: LabelSet, label: int) -> str | None:
    """Return the name of the data set's class that a label of the model maps to."""
    if label >= len(prediction):
        return None
    name = prediction.names[label]
    return name if truth.name == prediction.name else truth.sources[prediction.name].get(name)


def predicted_group_by_hand(truth: LabelSet, prediction: LabelSet, label: int) -> str | None:
    name = class_by_hand(truth, prediction, label)
    if name is not None:
        return GROUPS.sources[truth.name].get(name)
    if label >= len(prediction):
        return None
    return GROUPS.sources[prediction.name].get(prediction.names[label])


def iou_by_hand(pairs: list[tuple[str | None, str | None]]) -> dict[str, float]:
    """Return IoU by name, with sets of point numbers; points without a true name do not count."""
    scored = {i: pair for i, pair in enumerate(pairs) if pair[0] is not None}
    found = {}
    for name in {truth for truth, _ in scored.values()}:
        true = {i for i, (t, _) in scored.items() if t == name}
        predicted = {i for i, (_, p) in scored.items() if p == name}
        found[name] = len(true & predicted) / len(true | predicted)
    return found


@settings(max_examples=25)
@given(st.integers(0, 10**6), st.sampled_from([KITTI, URBAN]), st.floats(0.0, 1.0))
def test_scores_equal_those_counted_by_hand(seed, truth, luck):
    draw = np.random.default_rng(seed)
    scorer = Scorer(truth, KITTI, views_of(truth, KITTI), RANGES)
    rows = []  # (range, sequence, true label, predicted label, confidence)
    for sequence in ("one", "other"):
        scorer.begin(sequence)
        for _ in range(2):
            frame = random_frame(int(draw.integers(10**6)), truth, points=60)
            frame.points[draw.random(60) < 0.05] = np.nan
            labels = draw.integers(0, len(KITTI) + 1, 60).astype(np.uint8)
            labels[labels == len(KITTI)] = 255
            if truth is KITTI:
                labels = np.where(draw.random(60) < luck, frame.labels, labels)
            confidence = np.where(labels == 255, 0.0, draw.random(60).astype(np.float32))
            scorer.add(frame, labels, confidence)
            for point, true, label, value in zip(
                frame.points, frame.labels, labels, confidence, strict=True
            ):
                distance = math.dist(point, (0, 0, 0))
                measured = not math.isnan(distance)
                rows.append(
                    (distance, sequence, int(true) if measured else 255, int(label), value)
                )

    def check(confusions, chosen):
        by_class = iou_by_hand(
            [
                (truth.names[t] if t < len(truth) else None, class_by_hand(truth, KITTI, p))
                for _, _, t, p, _ in chosen
            ]
        )
        by_group = iou_by_hand(
            [
                (group_by_hand(truth, t), predicted_group_by_hand(truth, KITTI, p))
                for _, _, t, p, _ in chosen
            ]
        )
        for view, label_set, expected in (
            ("classes", truth, by_class),
            ("groups", GROUPS, by_group),
        ):
            iou = [expected.get(name, np.nan) for name in label_set.names]
            np.testing.assert_allclose(confusions[view].iou, iou)

    check(scorer.all, rows)
    for name in ("one", "other"):
        check(scorer.by_sequence[name], [row for row in rows if row[1] == name])
    for confusions, (near, far) in zip(
        scorer.by_range, pairwise([0.0, *RANGES, math.inf]), strict=True
    ):
        check(confusions, [row for row in rows if near <= row[0] < far])
    scored = [row for row in rows if row[2] < len(truth)]
    assert scorer.points == len(scored)
    predicted = [row for row in scored if row[3] != 255]
    assert scorer.calibration.points.sum() == len(predicted)
    correct = sum(class_by_hand(truth, KITTI, p) == truth.names[t] for _, _, t, p, _ in predicted)
    assert scorer.calibration.correct.sum() == correct
    assert scorer.calibration.confidence.sum() == pytest.approx(sum(r[4] for r in predicted))


def street(index: int, **columns) -> Frame:
    """Road (50 points) and car (50 points), 2 m apart each, from a moving sensor."""
    pose = np.eye(4)
    pose[0, 3] = 0.7 * index
    world = np.stack([2.0 * np.arange(100), np.ones(100), np.zeros(100)], axis=1)
    labels = np.repeat([KITTI.names.index("road"), KITTI.names.index("car")], 50)
    given = {"labels": labels.astype(np.uint8), "pose": pose} | columns
    points = (world - pose[:3, 3]).astype(np.float32)
    return Frame(points, 10**9 * (index + 1), **given)


@pytest.mark.parametrize(
    ("moving", "still"), [(None, 50), (np.zeros(100, bool), 100), (np.arange(100) < 10, 90)]
)
def test_flicker_counts_points_that_are_known_to_stand_still(moving, still):
    scorer, pairs = Scorer(KITTI, KITTI), StillPairs(KITTI)
    for index in range(3):
        labels = np.zeros(100, np.uint8)
        labels[20:25] = index
        frame = street(index, moving=moving)
        scorer.add(frame, labels, pairs=pairs.next(frame))
    assert (scorer.flicker.compared, scorer.flicker.changed) == (2 * still, 10)
    assert [flicker.changed for flicker in scorer.flicker_by_frame] == [0, 5, 5]


def test_moving_counts_points_that_truly_move():
    scorer = Scorer(KITTI, KITTI)
    frame = street(0, moving=np.arange(100) >= 90)
    scorer.add(frame, np.where(np.arange(100) < 95, frame.labels, 255).astype(np.uint8))
    car = KITTI.names.index("car")
    assert scorer.all["classes"].iou[car] == 0.9
    assert scorer.moving["classes"].iou[car] == 0.5
    assert scorer.moving["classes"].points == 10


def test_a_true_label_outside_0_to_254_does_not_count():
    frame = Frame(np.ones((3, 3), np.float32), labels=np.array([-1, 70_000, 0]))
    scorer = Scorer(KITTI, KITTI)
    scorer.add(frame, np.zeros(3, np.uint8))
    assert scorer.points == 1


def test_a_model_without_a_mapping_to_the_truth_is_refused():
    with pytest.raises(LabelSetError, match=r"'scannet20'.*'semantickitti19'"):
        Scorer(KITTI, LabelSet.load("scannet20"))


def test_another_output_is_scored_by_the_metric_of_its_name(monkeypatch):
    monkeypatch.setattr("minkowski_perception.scoring.OUTPUT_METRICS", {})

    @output_metric("moving")
    class MeanValue:
        def __init__(self, label_set, ranges):
            assert (label_set, ranges.tolist()) == (KITTI, [0.0, 20.0, np.inf])
            self.values = []

        def update(self, frame, values, labels):
            np.testing.assert_array_equal(labels, frame.labels)
            self.values += values[frame.moving].tolist()

        def figures(self):
            return {"mean_if_moving": float(np.mean(self.values))}

    scorer = Scorer(KITTI, KITTI, ranges=[20.0])
    frame = street(0, moving=np.arange(100) >= 50)
    for value in (0.25, 0.75):
        outputs = {"moving": np.full(100, value), "unknown": np.zeros(100)}
        scorer.add(frame, frame.labels, outputs=outputs)

    assert {name: m.figures() for name, m in scorer.outputs.items()} == {
        "moving": {"mean_if_moving": 0.5}
    }


def test_chosen_points_count_in_their_part_too():
    scorer = Scorer(KITTI, KITTI)
    frame = random_frame(1, KITTI, points=60)
    frame.points[7] = np.nan
    labels = np.where(np.arange(60) < 30, frame.labels, 255).astype(np.uint8)
    for _ in range(2):
        scorer.add(frame, labels, parts={"early": np.arange(60) < 20, "none": np.zeros(60, bool)})
    known = frame.valid & (frame.labels < len(KITTI))
    early = scorer.parts["early"]["classes"]
    assert early.points == 2 * int(known[:20].sum())
    assert early.miou == 1.0
    assert scorer.parts["none"]["classes"].points == 0
    assert scorer.points == 2 * int(known.sum())
