# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from fake_segmenters import random_frame
from small_recipes import small_recipe

from minkowski_perception.frame import Frame
from minkowski_perception.lab.evaluation.evaluation import evaluate
from minkowski_perception.lab.training.loop import train
from minkowski_perception.lab.training.losses import moving_loss
from minkowski_perception.labels import LabelSet
from minkowski_perception.moving import MovingScores, moving_share, true_motion
from minkowski_perception.networks import build_network
from minkowski_perception.networks.model import Model, load_model
from minkowski_perception.segmenter import Segmenter
from minkowski_perception.voxels import VoxelInput

KITTI, URBAN = LabelSet.load("semantickitti19"), LabelSet.load("urban10")
CAR, PERSON, ROAD, BICYCLE = (
    KITTI.names.index(name) for name in ("car", "person", "road", "bicycle")
)


def sure(*probabilities: float) -> np.ndarray:
    return np.array(probabilities, np.float32)


def scored(labels, moving, values, predicted=None, label_set=KITTI, **columns) -> dict:
    """Return the figures of one frame."""
    labels = np.array(labels, np.uint8)
    points = columns.pop("points", np.ones((len(labels), 3), np.float32))
    scores = MovingScores(label_set, columns.pop("ranges", (0.0, np.inf)))
    frame = Frame(points, labels=labels, moving=np.array(moving, bool))
    scores.update(frame, values, labels if predicted is None else np.array(predicted, np.uint8))
    return scores.figures()


def drawn(seed: int, points: int = 4000) -> tuple[Frame, np.ndarray, np.ndarray]:
    """Return a frame with all 25 classes, probabilities of moving, and labels, partly wrong."""
    draw = np.random.default_rng(seed)
    frame = random_frame(seed, KITTI, points)
    frame.moving = np.isin(frame.labels, KITTI.movable_ids) & (draw.random(points) < 0.4)
    logits = draw.normal(0.0, 3.0, points) + np.where(frame.moving, 2.0, -2.0)
    labels = np.where(draw.random(points) < 0.3, draw.integers(0, 19, points), frame.labels)
    labels[draw.random(points) < 0.02] = 255
    return frame, (1.0 / (1.0 + np.exp(-logits))).astype(np.float32), labels.astype(np.uint8)


# Definitions of SemanticKITTI ------------------------------------------------------------------

# Raw ids of the classes of semantickitti19, and of the six that move.
RAW = [10, 11, 15, 18, 20, 30, 31, 32, 40, 44, 48, 49, 50, 51, 70, 71, 72, 80, 81]
RAW_MOVING = {10: 252, 31: 253, 30: 254, 32: 255, 20: 259, 18: 258}
# `learning_map` of semantic-kitti-all.yaml and of semantic-kitti-mos.yaml.
ALL = {raw: i + 1 for i, raw in enumerate(RAW)}
ALL |= {252: 20, 253: 21, 254: 22, 255: 23, 259: 24, 258: 25}
MOS = {raw: 2 if raw > 250 else 1 for raw in ALL}


def official_iou(truth: list[int], prediction: list[int], learning_map: dict) -> np.ndarray:
    """Return the IoU by class of `np_ioueval.py`; raw id 0 is ignored."""
    count = 1 + max(learning_map.values())
    confusion = np.zeros((count, count), np.int64)  # prediction by truth
    for true, predicted in zip(truth, prediction, strict=True):
        confusion[learning_map.get(predicted, 0), learning_map.get(true, 0)] += 1
    confusion[:, 0] = 0
    hits = np.diag(confusion)
    union = confusion.sum(axis=1) + confusion.sum(axis=0) - hits + 1e-15
    return hits[1:] / union[1:]


def raw_ids(labels: np.ndarray, moves: np.ndarray) -> list[int]:
    """Return ids as in label files; the bicycle and the motorcycle have none for moving."""
    raw = [RAW[label] if label < 19 else 0 for label in labels]
    return [RAW_MOVING.get(i, i) if m else i for i, m in zip(raw, moves, strict=True)]


@pytest.mark.parametrize("seed", [0, 1])
def test_figures_equal_those_of_the_evaluators_of_semantickitti(seed):
    frame, values, labels = drawn(seed)
    scores = MovingScores(KITTI)
    halves = np.arange(len(frame)) % 2 == 0
    for half in (halves, ~halves):
        scores.update(frame.subset(half), values[half], labels[half])
    found = scores.figures()

    truth, predicted = raw_ids(frame.labels, frame.moving), raw_ids(labels, values > 0.5)
    by_class = official_iou(truth, predicted, ALL)
    assert (by_class > 0).all()
    assert found["miou25"] == pytest.approx(by_class.mean(), abs=1e-12)
    assert found["iou25"]["moving-car"] == pytest.approx(by_class[19], abs=1e-12)
    assert found["iou25"]["car"] == pytest.approx(by_class[0], abs=1e-12)

    # Motion by itself: a point's motion does not depend on its predicted label.
    raw = np.array(RAW)[np.minimum(frame.labels, 18)]
    still_or_moving = [
        0 if label == 255 else (254 if m else i)
        for label, i, m in zip(frame.labels, raw, frame.moving, strict=True)
    ]
    called = [254 if value > 0.5 else 40 for value in values]
    expected = official_iou(still_or_moving, called, MOS)[1]
    assert found["iou"] == pytest.approx(expected, abs=1e-12)


def average_precision_by_hand(moving: np.ndarray, values: np.ndarray) -> float:
    """Return the mean over moving points of the precision among all points ranked as high."""
    ranks = [values >= value for value in values[moving]]
    return float(np.mean([moving[above].mean() for above in ranks]))


def test_average_precision_precision_and_recall_equal_those_by_hand():
    frame, values, labels = drawn(2, 1500)
    scores = MovingScores(KITTI)
    scores.update(frame, values, labels)
    found = scores.figures()
    known = frame.labels != 255
    moving, values = frame.moving[known], values[known]
    expected = average_precision_by_hand(moving, values)
    assert found["average_precision"] == pytest.approx(expected, abs=2e-3)
    called = values > 0.5
    assert found["precision"] == pytest.approx(moving[called].mean())
    assert found["recall"] == pytest.approx(called[moving].mean())
    assert found["false_positive_share"] == pytest.approx(called[~moving].mean())
    assert (found["points"], found["moving_points"]) == (known.sum(), moving.sum())


def test_average_precision_is_exact_where_probabilities_are_bins_apart():
    values = sure(0.999, 0.9, 0.9, 0.6, 0.4, 1e-6, 0.0, 1.0)
    moving = np.array([0, 1, 0, 1, 0, 1, 1, 1], bool)
    found = scored([CAR] * 8, moving, values)
    assert found["average_precision"] == pytest.approx(average_precision_by_hand(moving, values))


def test_exactly_one_half_is_not_moving_and_the_next_number_is():
    above = np.nextafter(np.float32(0.5), np.float32(1.0))
    found = scored([CAR, CAR], [True, True], sure(0.5, above))
    assert (found["recall"], found["precision"]) == (0.5, 1.0)


def test_points_without_a_value_or_known_truth_do_not_count():
    labels = [CAR, CAR, 255, CAR, ROAD]
    values = sure(0.9, np.nan, 0.9, 0.9, 0.1)
    points = np.ones((5, 3), np.float32)
    points[3] = np.nan
    found = scored(labels, [True, True, True, True, False], values, points=points)
    assert (found["points"], found["moving_points"], found["iou"]) == (2, 1, 1.0)
    assert found["coverage"] == pytest.approx(2 / 3)
    assert found["iou25"]["moving-car"] == 1.0


def test_without_any_value_figures_are_unknown():
    found = scored([CAR, ROAD], [True, False], sure(np.nan, np.nan))
    assert found["coverage"] == 0.0
    assert {found[key] for key in ("iou", "average_precision", "recall", "miou25")} == {None}
    assert found["by_class"] == {}


def test_frames_without_truth_of_motion_do_not_count():
    scores = MovingScores(KITTI)
    scores.update(
        Frame(np.ones((2, 3)), labels=np.array([CAR, ROAD])), sure(0.9, 0.9), np.zeros(2)
    )
    assert (scores.figures()["points"], scores.figures()["coverage"]) == (0, None)


def test_figures_by_class_and_range():
    points = np.array([[1, 0, 0], [30, 0, 0], [2, 0, 0], [3, 0, 0]], np.float32)
    labels = [CAR, CAR, PERSON, ROAD]
    found = scored(
        labels,
        [True, True, True, False],
        sure(0.9, 0.2, 0.8, 0.7),
        points=points,
        ranges=(0.0, 10.0, np.inf),
    )
    by_class = found["by_class"]
    assert list(by_class) == ["car", "person", "road"]
    assert (by_class["car"]["recall"], by_class["person"]["iou"]) == (0.5, 1.0)
    assert (by_class["road"]["iou"], by_class["road"]["false_positive_share"]) == (None, 1.0)
    near, far = found["by_range"]
    assert (near["from"], near["to"], far["from"], far["to"]) == (0.0, 10.0, 10.0, None)
    assert (near["precision"], near["recall"], far["recall"]) == (2 / 3, 1.0, 0.0)


def test_classes_are_divided_by_motion_as_in_semantickitti_alone():
    expected = {"car", "truck", "other-vehicle", "person", "bicyclist", "motorcyclist"}
    assert set(KITTI.divided_by_motion) == expected
    found = scored([BICYCLE], [True], sure(0.9))
    assert found["iou25"]["bicycle"] == 1.0
    assert len(found["iou25"]) == 25
    assert URBAN.divided_by_motion == ()
    assert "miou25" not in scored([0], [True], sure(0.9), label_set=URBAN)


def test_the_share_of_moving_points_is_that_of_points_with_a_value():
    assert moving_share(sure(0.9, 0.5, np.nan, 0.1, 0.0)) == 0.25
    assert math.isnan(moving_share(sure(np.nan)))


def test_motion_is_unknown_where_points_have_no_label_or_measurement():
    points = np.array([[1, 0, 0], [np.nan, 0, 0], [1, 0, 0]], np.float32)
    frame = Frame(points, moving=np.array([True, True, False]))
    assert true_motion(frame).tolist() == [1, 255, 0]
    assert true_motion(replace(frame, labels=np.array([255, 0, 0]))).tolist() == [255, 255, 0]
    assert true_motion(replace(frame, moving=None)) is None


# Loss ------------------------------------------------------------------------------------------


def test_the_loss_is_smallest_at_the_true_probability():
    share = 0.1
    logits = torch.zeros(1000, 1, requires_grad=True)
    ids = (torch.arange(1000) < 1000 * share).long()
    common = torch.zeros((), requires_grad=True)
    optimizer = torch.optim.LBFGS([common], lr=0.5, max_iter=100)

    def closure():
        optimizer.zero_grad()
        value = moving_loss(logits.detach() + common, ids, torch.ones(1000))
        value.backward()
        return value

    optimizer.step(closure)
    assert torch.sigmoid(common).item() == pytest.approx(share, abs=1e-3)


# The head --------------------------------------------------------------------------------------

HEADS = {"classes": 19, "moving": 1}


def street(frames: int = 5) -> list[Frame]:
    """Return frames of a plane with a driving and a parked box; the sensor moves too."""
    draw = np.random.default_rng(0)
    ground = np.column_stack([draw.uniform(-15, 15, (1500, 2)), np.full(1500, -1.5)])
    box = draw.uniform(-1.0, 1.0, (300, 3))
    found = []
    for i in range(frames):
        parked, driven = (box + np.array(at) for at in ((6, 4, 0), (1.5 * i - 8, -4, 0)))
        points = np.concatenate([ground, parked, driven])
        labels = np.repeat([ROAD, CAR], [1500, 600])
        moves = np.arange(len(points)) >= 1800
        pose = np.eye(4)
        pose[0, 3] = 0.3 * i
        sensed = (points - pose[:3, 3]).astype(np.float32)
        found.append(Frame(sensed, (i + 1) * 10**8, labels=labels, moving=moves, pose=pose))
    return found


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    network = build_network(
        "MinkUNet14A", in_channels=2, heads=HEADS, dimension=4, kernel="causal", width=0.25
    )
    spec = VoxelInput.from_dict({"voxel_size": 0.5, "features": ["one", "z"]})
    return Model("random", network.eval(), KITTI, spec, 3, {})


def segmenter_of(model, **settings):
    return Segmenter(model, device="cpu", engine="torch", **settings)


def test_values_are_equal_in_window_and_incremental_execution(model):
    frames = street()
    incremental = segmenter_of(model)
    window = segmenter_of(model, execution="window", window=len(frames))
    assert incremental.execution == "incremental"
    for i, frame in enumerate(frames):
        one, other = (s.segment(frame).outputs["moving"] for s in (incremental, window))
        assert one.dtype == np.float32
        assert np.isnan(one).all() == (i == 0)
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_values_are_missing_on_first_frames_and_without_motion(model):
    segmenter = segmenter_of(model)
    frames = street()
    for frame, known in (
        (frames[0], False),
        (frames[1], True),
        (replace(frames[2], pose=None), False),  # a new stream
        (replace(frames[3], pose=None), False),
        (frames[4], False),  # motion has become known: a new stream
    ):
        values = segmenter.segment(frame).outputs["moving"]
        assert np.isfinite(values).all() == known
        assert np.isnan(values).all() != known


@pytest.mark.parametrize("execution", ["incremental", "window"])
def test_a_restored_stream_gives_the_same_bits(model, execution):
    frames = street()
    first, second = (segmenter_of(model, execution=execution) for _ in range(2))
    for frame in frames[:3]:
        first.segment(frame)
    second.restore(first.state())
    for frame in frames[3:]:
        one, other = (s.segment(frame) for s in (first, second))
        assert one.outputs["moving"].tobytes() == other.outputs["moving"].tobytes()
        np.testing.assert_array_equal(one.labels, other.labels)


def write_street(folder) -> None:
    """Write the street in the layout of SemanticKITTI, with raw ids of still and moving cars."""
    frames = street(frames=8)
    for part in ("velodyne", "labels"):
        (folder / part).mkdir(parents=True)
    for i, frame in enumerate(frames):
        rows = np.column_stack([frame.points, np.zeros(len(frame))]).astype("<f4")
        rows.tofile(folder / "velodyne" / f"{i:06}.bin")
        ids = np.where(frame.moving, 252, np.where(frame.labels == CAR, 10, 40))
        ids.astype("<u4").tofile(folder / "labels" / f"{i:06}.label")
    poses = np.stack([frame.pose[:3] for frame in frames])
    np.savetxt(folder / "poses_lidar.txt", poses.reshape(-1, 12))


@pytest.mark.slow
def test_a_network_learns_from_a_recipe_what_moves(tmp_path):
    for name in ("00", "08"):
        write_street(tmp_path / "data" / "sequences" / name)
    recipe = small_recipe(
        tmp_path / "data",
        window=3,
        augmentation=[{"rotate": {}}, {"flip": {}}, {"shift": {}}],
        loss={"heads": {"moving": 2.0}},
    )
    recipe["network"] |= {"heads": HEADS, "dimension": 4, "kernel": "causal"}
    recipe["data"]["held_out_sets"][0]["frames"] = 8
    recipe["optimization"]["iterations"] = 60
    trained = load_model(train(recipe, tmp_path / "out", "cpu", workers=0).with_suffix(".yaml"))
    figures = trained.card["figures"]["outputs"]["moving"]
    assert figures["average_precision"] > 0.9
    evaluation = evaluate(segmenter_of(trained), KITTI, {"08": street()})
    found = evaluation.scorer.outputs["moving"].figures()
    assert found["coverage"] == pytest.approx(0.8)
    assert found["by_class"]["car"]["average_precision"] > 0.9


def test_the_calibration_error_equals_a_sum_over_bins_and_speeds_have_bins():
    rng = np.random.default_rng(5)
    points = 4000
    scores = MovingScores(KITTI)
    values = rng.random(points).astype(np.float32)
    truth = rng.random(points) < values**2
    scores.update(
        Frame(
            np.zeros((points, 3), np.float32),
            labels=np.ones(points, np.uint8),
            moving=truth,
            pose=np.eye(4),
        ),
        values,
        np.ones(points, np.uint8),
    )
    bins = np.minimum((values * 15).astype(int), 14)
    error = sum(abs((truth[bins == b] - values[bins == b]).sum()) for b in range(15)) / points
    found = scores.figures()
    assert found["calibration_error"] == pytest.approx(error, abs=0.004)
    assert found["calibration_error"] > 0.1
    assert [band["from"] for band in found["by_speed"]] == [0.0, 1.5, 4.0, 10.0]
    assert all(band["moving_points"] == 0 for band in found["by_speed"])  # of a first frame
