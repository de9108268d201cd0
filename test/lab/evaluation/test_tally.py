# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from puppets import random_frame

from minkowski_perception.frame import Frame
from minkowski_perception.lab.evaluation.tally import Tally, views_of
from minkowski_perception.labels import LabelSet, LabelSetError
from minkowski_perception.segmenter import Segmentation

KITTI, URBAN = LabelSet.load("semantickitti19"), LabelSet.load("urban10")
GROUPS = LabelSet.load("outdoor_groups7")
RANGES = (10.0, 40.0)


def said_of(labels, confidence=None) -> Segmentation:
    sure = np.ones(len(labels)) if confidence is None else confidence
    return Segmentation(np.asarray(labels, np.uint8), np.asarray(sure, np.float32), {}, 1, 1)


def group_by_hand(truth: LabelSet, label: int) -> str | None:
    """Name of the group of one of the data set's classes."""
    return GROUPS.sources[truth.name].get(truth.names[label]) if label < len(truth) else None


def class_by_hand(truth: LabelSet, said: LabelSet, label: int) -> str | None:
    """Name, in the data set's classes, of a label of the model."""
    if label >= len(said):
        return None
    name = said.names[label]
    return name if truth.name == said.name else truth.sources[said.name].get(name)


def said_group_by_hand(truth: LabelSet, said: LabelSet, label: int) -> str | None:
    name = class_by_hand(truth, said, label)
    if name is not None:
        return GROUPS.sources[truth.name].get(name)
    return GROUPS.sources[said.name].get(said.names[label]) if label < len(said) else None


def miou_by_hand(pairs: list[tuple[str | None, str | None]]) -> dict[str, float]:
    """IoU by name, over sets of point numbers; points without a true name do not count."""
    scored = {i: pair for i, pair in enumerate(pairs) if pair[0] is not None}
    found = {}
    for name in {truth for truth, _ in scored.values()}:
        true = {i for i, (t, _) in scored.items() if t == name}
        predicted = {i for i, (_, p) in scored.items() if p == name}
        found[name] = len(true & predicted) / len(true | predicted)
    return found


@settings(max_examples=25)
@given(st.integers(0, 10**6), st.sampled_from([KITTI, URBAN]), st.floats(0.0, 1.0))
def test_all_that_is_counted_is_what_a_count_by_hand_finds(seed, truth, luck):
    draw = np.random.default_rng(seed)
    tally = Tally(truth, KITTI, RANGES)
    rows = []  # (range, sequence, true label, said label, confidence)
    for sequence in ("one", "other"):
        tally.begin(sequence)
        for index in range(2):
            frame = random_frame(int(draw.integers(10**6)), truth, points=60)
            frame.points[draw.random(60) < 0.05] = np.nan
            labels = draw.integers(0, len(KITTI) + 1, 60).astype(np.uint8)
            labels[labels == len(KITTI)] = 255
            if truth is KITTI:
                labels = np.where(draw.random(60) < luck, frame.labels, labels)
            sure = np.where(labels == 255, 0.0, draw.random(60).astype(np.float32))
            tally.add(index, frame, said_of(labels, sure), 0.1)
            for point, true, label, confidence in zip(
                frame.points, frame.labels, labels, sure, strict=True
            ):
                away = math.dist(point, (0, 0, 0))
                known = not math.isnan(away)
                rows.append((away, sequence, int(true) if known else 255, int(label), confidence))

    def check(agreement, chosen):
        by_class = miou_by_hand(
            [
                (truth.names[t] if t < len(truth) else None, class_by_hand(truth, KITTI, p))
                for _, _, t, p, _ in chosen
            ]
        )
        by_group = miou_by_hand(
            [
                (group_by_hand(truth, t), said_group_by_hand(truth, KITTI, p))
                for _, _, t, p, _ in chosen
            ]
        )
        for view, label_set, expected in (
            ("classes", truth, by_class),
            ("groups", GROUPS, by_group),
        ):
            iou = [expected.get(name, np.nan) for name in label_set.names]
            np.testing.assert_allclose(agreement[view].iou, iou)

    check(tally.all, rows)
    for name in ("one", "other"):
        check(tally.by_sequence[name], [row for row in rows if row[1] == name])
    for agreement, (near, far) in zip(
        tally.by_range, pairwise([0.0, *RANGES, math.inf]), strict=True
    ):
        check(agreement, [row for row in rows if near <= row[0] < far])
    scored = [row for row in rows if row[2] < len(truth)]
    assert tally.scored == len(scored)
    assert (tally.frames, tally.points) == (4, 240)
    answered = [row for row in scored if row[3] != 255]
    assert tally.calibration.points.sum() == len(answered)
    right = sum(class_by_hand(truth, KITTI, p) == truth.names[t] for _, _, t, p, _ in answered)
    assert tally.calibration.right.sum() == right
    assert tally.calibration.confidence.sum() == pytest.approx(sum(r[4] for r in answered))


def test_a_pole_is_right_where_poles_are_part_of_what_is_man_made():
    nuscenes = LabelSet.load("nuscenes9")
    views = views_of(nuscenes, KITTI)
    pole, structure = KITTI.names.index("pole"), GROUPS.names.index("structure")
    manmade = nuscenes.names.index("manmade")
    assert views["classes"].said[pole] == manmade
    assert views["groups"].said[pole] == views["groups"].truth[manmade] == structure


def test_a_label_that_the_data_set_has_no_class_for_still_has_its_group():
    pandaset = LabelSet.load("pandaset12")
    views = views_of(pandaset, KITTI)
    fence = KITTI.names.index("fence")
    assert views["classes"].said[fence] == 255
    assert GROUPS.names[views["groups"].said[fence]] == "structure"


def test_classes_that_the_model_cannot_say_are_told():
    kitti_as_urban = views_of(URBAN, KITTI)["classes"]
    assert kitti_as_urban.never_said == []
    lonely = LabelSet("lonely", ("a", "b"), ((0, 0, 0),) * 2, {KITTI.name: {"car": "b"}})
    assert views_of(lonely, KITTI)["classes"].never_said == ["a"]


def test_indoor_sets_have_no_groups():
    scannet = LabelSet.load("scannet20")
    assert list(views_of(scannet, scannet)) == ["classes"]
    assert list(Tally(scannet, scannet).ranges) == [0.0, 1.0, 2.0, 3.0, 5.0, math.inf]
    assert list(Tally(KITTI, KITTI).ranges) == [0.0, 10.0, 20.0, 30.0, 50.0, math.inf]


def test_a_model_of_classes_that_the_data_set_does_not_know_is_refused():
    with pytest.raises(LabelSetError, match=r"'scannet20' cannot be told in 'semantickitti19'"):
        Tally(KITTI, LabelSet.load("scannet20"))


def street(index: int, **columns) -> Frame:
    """A road of 50 points and a car of 50, 2 m apart each, from a sensor that drives."""
    pose = np.eye(4)
    pose[0, 3] = 0.7 * index
    places = np.stack([2.0 * np.arange(100), np.ones(100), np.zeros(100)], axis=1)
    labels = np.repeat([KITTI.names.index("road"), KITTI.names.index("car")], 50)
    given = {"labels": labels.astype(np.uint8), "pose": pose} | columns
    points = (places - pose[:3, 3]).astype(np.float32)
    return Frame(points, 10**9 * (index + 1), **given)


@pytest.mark.parametrize(
    ("moving", "places"), [(None, 50), (np.zeros(100, bool), 100), (np.arange(100) < 10, 90)]
)
def test_flicker_is_of_what_is_known_to_stand_still(moving, places):
    tally = Tally(KITTI, KITTI)
    tally.begin("s")
    for index in range(3):
        labels = np.zeros(100, np.uint8)
        labels[20:25] = index
        tally.add(index, street(index, moving=moving), said_of(labels), 0.1)
    assert (tally.flicker.compared, tally.flicker.changed) == (2 * places, 10)


@pytest.mark.parametrize("gap", [{"pose": None}, {"labels": None}])
def test_nothing_is_compared_across_frames_without_pose_or_truth(gap):
    tally = Tally(KITTI, KITTI)
    tally.begin("s")
    for index in range(5):
        frame = street(index, **(gap if index == 2 else {}))
        tally.add(index, frame, said_of(np.zeros(100)), 0.1)
    assert tally.flicker.compared == 2 * 50


def test_nothing_is_compared_across_sequences():
    tally = Tally(KITTI, KITTI)
    for name in ("a", "b"):
        tally.begin(name)
        tally.add(0, street(0), said_of(np.zeros(100)), 0.1)
    assert tally.flicker.compared == 0


def test_the_worst_frame_is_the_one_with_the_smallest_share_of_right_labels():
    tally = Tally(URBAN, KITTI)
    tally.begin("s")
    road, sidewalk = KITTI.names.index("road"), KITTI.names.index("sidewalk")
    truth = np.zeros(100, np.uint8)  # road
    truth[90:] = 255
    for index, wrong in enumerate((3, 7, 5)):
        labels = np.full(100, road)
        labels[:wrong] = sidewalk
        tally.add(index, street(index, labels=truth), said_of(labels), 0.1)
    worst = tally.worst
    assert (worst.sequence, worst.index) == ("s", 1)
    assert worst.accuracy == pytest.approx(83 / 90)
    assert [URBAN.names[i] for i in worst.labels[[0, 50]]] == ["sidewalk-terrain", "road"]
    np.testing.assert_array_equal(worst.truth, truth)
