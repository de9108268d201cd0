# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from fake_segmenters import FakeSegmenter, random_frame
from scipy.spatial.transform import Rotation

from minkowski_perception.frame import Frame
from minkowski_perception.lab.evaluation import EvaluationError, evaluated_motion
from minkowski_perception.lab.evaluation.evaluated_motion import choose_ego_motion
from minkowski_perception.lab.evaluation.evaluation import evaluate
from minkowski_perception.labels import LabelSet

KITTI = LabelSet.load("semantickitti19")


def frames(posed: list[bool]) -> list:
    stream = [random_frame(i, KITTI) for i in range(len(posed))]
    for i, known in enumerate(posed):
        if known:
            stream[i].pose = np.eye(4)
            stream[i].pose[0, 3] = i
    return stream


def perfect() -> FakeSegmenter:
    return FakeSegmenter(KITTI, lambda frame: (frame.labels, np.ones(len(frame))))


def test_recorded_poses_are_used_as_they_are_and_frames_without_one_are_left_out():
    stream = frames([False, True, True, False, True])
    segmenter = perfect()
    evaluation = evaluate(segmenter, KITTI, {"a": stream})
    assert [f.pose[0, 3] for f in segmenter.streams[0]] == [1.0, 2.0, 4.0]
    assert evaluation.ego_motion == {"a": "recorded (from the data)"}
    assert (evaluation.without_pose, len(evaluation.seconds)) == (2, 3)


def test_a_sequence_without_poses_is_registered_as_label_registers_a_bag():
    pytest.importorskip("kiss_icp")
    segmenter = perfect()
    evaluation = evaluate(segmenter, KITTI, {"a": frames([False] * 3)})
    assert all(f.pose is not None for f in segmenter.streams[0])
    assert evaluation.ego_motion == {"a": "kiss_icp (the data have no poses)"}


def test_motion_is_unknown_without_poses_and_registration(monkeypatch):
    def missing(**_):
        raise ImportError("no kiss-icp")

    monkeypatch.setattr(evaluated_motion, "Registration", missing)
    segmenter = perfect()
    evaluation = evaluate(segmenter, KITTI, {"a": frames([False] * 2)})
    assert all(f.pose is None for f in segmenter.streams[0])
    assert "no kiss-icp" in evaluation.ego_motion["a"]
    with pytest.raises(EvaluationError, match="no kiss-icp"):
        choose_ego_motion(frames([True]), "kiss_icp")


@pytest.mark.parametrize("level", [True, False])
def test_clouds_of_a_tilted_sensor_are_turned_as_label_turns_them(level):
    turn = Rotation.from_euler("x", 20, degrees=True).as_matrix()
    stream = []
    for i in range(6):
        rng = np.random.default_rng(i)
        street = np.column_stack([rng.uniform(-25, 25, (3000, 2)), np.full(3000, -1.7)])
        stream.append(Frame(street @ turn.T, i * 10**8, labels=np.full(3000, 8, np.uint8)))
    segmenter = perfect()
    evaluation = evaluate(segmenter, KITTI, {"a": stream}, ego_motion="none", level=level)
    assert (np.ptp(segmenter.streams[-1][-1].points[:, 2]) < 0.5) == level
    assert [len(part) for part in segmenter.streams] == ([4, 2] if level else [6])
    assert ("tilted by 20.0 degrees" in evaluation.ego_motion["a"]) == level


def test_the_choice_none_ignores_recorded_poses():
    segmenter = perfect()
    evaluate(segmenter, KITTI, {"a": frames([True, True])}, ego_motion="none")
    assert all((f.pose == np.eye(4)).all() for f in segmenter.streams[0])


def test_the_choice_bag_is_refused_without_poses():
    with pytest.raises(EvaluationError, match="first 2 frames of a sequence have no poses"):
        evaluate(perfect(), KITTI, {"a": frames([False] * 2)}, ego_motion="bag")


def test_looking_for_a_pose_loses_no_frame():
    for posed in ([False] * 15, [False] * 9 + [True] * 3, [True] * 3):
        stream = frames(posed)
        _, kept = choose_ego_motion(iter(stream))
        assert [f.stamp for f in kept] == [f.stamp for f in stream]
