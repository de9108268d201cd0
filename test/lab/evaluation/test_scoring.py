# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from puppets import Puppet, random_frame

from minkowski_perception.lab.evaluation import EvaluationError
from minkowski_perception.lab.evaluation.scoring import chosen, evaluate
from minkowski_perception.labels import LabelSet

KITTI = LabelSet.load("semantickitti19")


def frames(count: int, first: int = 0) -> list:
    return [random_frame(first + i, KITTI) for i in range(count)]


def truthful() -> Puppet:
    return Puppet(KITTI, lambda frame: (frame.labels, np.ones(len(frame))))


def test_who_says_the_truth_scores_all_and_starts_anew_with_each_sequence():
    puppet = truthful()
    sequences = {"a": frames(3), "b": frames(2, 10)}
    tally = evaluate(puppet, KITTI, sequences)

    assert tally.all["classes"].miou == tally.all["groups"].miou == 1.0
    assert list(tally.by_sequence) == ["a", "b"]
    assert [[f.stamp for f in s] for s in puppet.streams] == [
        [f.stamp for f in s] for s in sequences.values()
    ]
    assert len(tally.seconds) == 5
    assert tally.points == 1500


def test_the_limit_is_that_of_each_sequence():
    puppet = truthful()
    evaluate(puppet, KITTI, {"a": frames(3), "b": frames(1)}, limit=2)
    assert [len(stream) for stream in puppet.streams] == [2, 1]


def test_frames_without_labels_are_part_of_the_stream_and_do_not_count():
    stream = frames(3)
    stream[1].labels = None
    puppet = Puppet(KITTI, lambda frame: (np.zeros(len(frame)), np.ones(len(frame))))
    tally = evaluate(puppet, KITTI, {"a": stream})
    assert [len(s) for s in puppet.streams] == [3]
    assert (tally.frames, tally.points) == (3, 900)
    assert tally.scored == sum((f.labels < 19).sum() for f in stream if f.labels is not None)


def test_a_data_set_without_labels_is_refused_before_the_work():
    stream = frames(2)
    for frame in stream:
        frame.labels = None
    puppet = truthful()
    with pytest.raises(EvaluationError, match="no labels to score by in sequence a"):
        evaluate(puppet, KITTI, {"a": stream})
    assert puppet.streams == []


def test_labels_that_are_no_class_are_nothing_to_score_by():
    frame = random_frame(0, KITTI)
    frame.labels[:] = 255
    puppet = Puppet(KITTI, lambda frame: (np.zeros(len(frame)), np.ones(len(frame))))
    with pytest.raises(EvaluationError, match="no point in 2 sequences has a label of a class"):
        evaluate(puppet, KITTI, {"a": [frame], "b": [frame]})


def test_sequences_are_chosen_by_name_in_the_order_of_the_data_set():
    sequences = {"00": [], "01": [], "02": []}
    assert list(chosen(sequences, ["02", "00"])) == ["00", "02"]
    assert list(chosen(sequences, None)) == ["00", "01", "02"]
    with pytest.raises(EvaluationError, match="no sequence 07, 09; there are 00, 01, 02"):
        chosen(sequences, ["00", "07", "09"])
