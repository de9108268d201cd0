# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import math

import numpy as np
import pytest
from fake_segmenters import FakeSegmenter, random_frame

from minkowski_perception.frame import Frame
from minkowski_perception.lab.evaluation import EvaluationError
from minkowski_perception.lab.evaluation.evaluation import (
    Evaluation,
    evaluate,
    select_sequences,
    views_of,
)
from minkowski_perception.labels import LabelSet, LabelSetError
from minkowski_perception.segmenter import Segmentation

KITTI, URBAN = LabelSet.load("semantickitti19"), LabelSet.load("urban10")
GROUPS = LabelSet.load("outdoor_groups7")


def frames(count: int, first: int = 0) -> list:
    return [random_frame(first + i, KITTI) for i in range(count)]


def perfect() -> FakeSegmenter:
    return FakeSegmenter(KITTI, lambda frame: (frame.labels, np.ones(len(frame))))


def test_a_perfect_model_scores_one_and_is_reset_for_each_sequence():
    segmenter = perfect()
    sequences = {"a": frames(3), "b": frames(2, 10)}
    evaluation = evaluate(segmenter, KITTI, sequences)
    scorer = evaluation.scorer

    assert scorer.all["classes"].miou == scorer.all["groups"].miou == 1.0
    assert list(scorer.by_sequence) == ["a", "b"]
    assert [[f.stamp for f in s] for s in segmenter.streams] == [
        [f.stamp for f in s] for s in sequences.values()
    ]
    assert len(evaluation.seconds) == 5
    assert evaluation.points == 1500


def test_the_limit_applies_to_each_sequence():
    segmenter = perfect()
    evaluate(segmenter, KITTI, {"a": frames(3), "b": frames(1)}, limit=2)
    assert [len(stream) for stream in segmenter.streams] == [2, 1]


def test_frames_without_labels_are_labelled_but_not_scored():
    stream = frames(3)
    stream[1].labels = None
    segmenter = FakeSegmenter(KITTI, lambda frame: (np.zeros(len(frame)), np.ones(len(frame))))
    evaluation = evaluate(segmenter, KITTI, {"a": stream})
    assert [len(s) for s in segmenter.streams] == [3]
    assert (len(evaluation.seconds), evaluation.points) == (3, 900)
    scored = sum((f.labels < 19).sum() for f in stream if f.labels is not None)
    assert evaluation.scorer.points == scored


def test_a_data_set_without_labels_is_refused_before_any_frame_is_labelled():
    stream = frames(2)
    for frame in stream:
        frame.labels = None
    segmenter = perfect()
    with pytest.raises(EvaluationError, match="no true labels in sequence a"):
        evaluate(segmenter, KITTI, {"a": stream})
    assert segmenter.streams == []


def test_a_data_set_without_a_point_of_any_class_is_refused():
    frame = random_frame(0, KITTI)
    frame.labels[:] = 255
    segmenter = FakeSegmenter(KITTI, lambda frame: (np.zeros(len(frame)), np.ones(len(frame))))
    with pytest.raises(EvaluationError, match="no point in 2 sequences has a class"):
        evaluate(segmenter, KITTI, {"a": [frame], "b": [frame]})


def test_sequences_are_selected_by_name_in_the_order_of_the_data_set():
    sequences = {"00": [], "01": [], "02": []}
    assert list(select_sequences(sequences, ["02", "00"])) == ["00", "02"]
    assert list(select_sequences(sequences, None)) == ["00", "01", "02"]
    with pytest.raises(EvaluationError, match="no sequence 07, 09; available: 00, 01, 02"):
        select_sequences(sequences, ["00", "07", "09"])


def test_a_label_is_mapped_to_the_class_of_the_data_set_and_then_to_its_group():
    nuscenes = LabelSet.load("nuscenes9")
    views = views_of(nuscenes, KITTI)
    pole, structure = KITTI.names.index("pole"), GROUPS.names.index("structure")
    manmade = nuscenes.names.index("manmade")
    assert views["classes"].prediction[pole] == manmade
    assert views["groups"].prediction[pole] == views["groups"].truth[manmade] == structure


def test_a_label_without_a_class_in_the_data_set_has_its_own_group():
    pandaset = LabelSet.load("pandaset12")
    views = views_of(pandaset, KITTI)
    fence = KITTI.names.index("fence")
    assert views["classes"].prediction[fence] == 255
    assert GROUPS.names[views["groups"].prediction[fence]] == "structure"


def test_classes_that_the_model_cannot_predict_are_listed():
    assert views_of(URBAN, KITTI)["classes"].never_predicted == []
    lonely = LabelSet("lonely", ("a", "b"), ((0, 0, 0),) * 2, {KITTI.name: {"car": "b"}})
    assert views_of(lonely, KITTI)["classes"].never_predicted == ["a"]


def test_indoor_sets_have_no_groups():
    scannet = LabelSet.load("scannet20")
    assert list(views_of(scannet, scannet)) == ["classes"]
    assert list(Evaluation(scannet, scannet).scorer.ranges) == [0.0, 1.0, 2.0, 3.0, 5.0, math.inf]
    assert list(Evaluation(KITTI, KITTI).scorer.ranges) == [0.0, 10.0, 20.0, 30.0, 50.0, math.inf]


def test_a_model_without_a_mapping_to_the_data_set_is_refused():
    with pytest.raises(LabelSetError, match="label set 'scannet20' to 'semantickitti19'"):
        Evaluation(KITTI, LabelSet.load("scannet20"))


def test_the_worst_frame_has_the_lowest_accuracy():
    evaluation = Evaluation(URBAN, KITTI)
    evaluation.begin("s")
    road, sidewalk = KITTI.names.index("road"), KITTI.names.index("sidewalk")
    truth = np.zeros(100, np.uint8)  # road
    truth[90:] = 255
    for index, wrong in enumerate((3, 7, 5)):
        labels = np.full(100, road, np.uint8)
        labels[:wrong] = sidewalk
        frame = random_frame(index, URBAN, points=100)
        frame.labels = truth
        prediction = Segmentation(labels, np.ones(100, np.float32), KITTI, {}, 1, 1)
        evaluation.add(index, frame, prediction, 0.1)
    worst = evaluation.worst
    assert (worst.sequence, worst.index) == ("s", 1)
    assert worst.accuracy == pytest.approx(83 / 90)
    assert [URBAN.names[i] for i in worst.labels[[0, 50]]] == ["sidewalk-terrain", "road"]
    np.testing.assert_array_equal(worst.truth, truth)


@pytest.mark.parametrize("gap", [{"pose": None}, {"labels": None}])
def test_flicker_skips_pairs_with_a_frame_without_pose_or_truth(gap):
    evaluation = Evaluation(KITTI, KITTI)
    evaluation.begin("s")
    for index in range(5):
        columns = {"pose": np.eye(4), "labels": np.full(50, KITTI.names.index("road"))}
        frame = Frame(
            np.stack([2.0 * np.arange(50)] * 3, axis=1).astype(np.float32),
            10**9 * (index + 1),
            **(columns | gap if index == 2 else columns),
        )
        prediction = Segmentation(np.zeros(50, np.uint8), np.ones(50, np.float32), KITTI, {}, 1, 1)
        evaluation.add(index, frame, prediction, 0.1)
    assert evaluation.scorer.flicker.compared == 2 * 50


def test_flicker_does_not_compare_frames_of_two_sequences():
    stream = frames(1)
    stream[0].pose = np.eye(4)
    evaluation = evaluate(perfect(), KITTI, {"a": stream, "b": stream})
    assert evaluation.scorer.flicker.compared == 0
