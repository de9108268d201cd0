# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("open3d", exc_type=ImportError)

from tiny_models import save_tiny

from minkowski_perception.frame import Frame
from minkowski_perception.lab.benchmarks import BenchmarkError, ablation
from minkowski_perception.lab.benchmarks.ablation import Contender, Stream, compare, report
from minkowski_perception.labels import UNLABELLED, LabelSet

KITTI, URBAN = LabelSet.load("semantickitti19"), LabelSet.load("urban10")
CAR, ROAD, POLE = (KITTI.names.index(name) for name in ("car", "road", "pole"))


def parade(frames: int = 4, with_moving: bool = True) -> Stream:
    """A road, parked cars, and cars that drive 0.02 m a frame: below the radius of a pair.

    200 points each, 0.5 m apart or more, then one pole without a true label.
    """
    draw = np.random.default_rng(0)
    x = np.arange(601) * 0.5
    labels = np.repeat([ROAD, CAR, CAR, UNLABELLED], [200, 200, 200, 1]).astype(np.uint8)
    moving = np.repeat([False, False, True, False], [200, 200, 200, 1])
    made = []
    for i in range(frames):
        pose = np.eye(4)
        pose[:3, 3] = 3.0 * i, 0.0, 1.0
        world = np.stack([x, np.zeros(601), np.zeros(601)], axis=1)
        world[moving, 1] += 0.02 * i
        made.append(
            Frame(
                (world - pose[:3, 3]).astype(np.float32),
                stamp=10**9 + i * 10**8,
                intensity=draw.random(601).astype(np.float32),
                labels=labels,
                moving=moving if with_moving else None,
                pose=pose,
            )
        )
    return Stream("parade", 7, made)


class FakeSegmenter:
    """Predicts the labels that a function returns for a frame and its index."""

    def __init__(self, predict, label_set=KITTI):
        self.label_set, self.state_bytes = label_set, 0
        self._predict = predict
        self.streams: list[list[Frame]] = []

    def reset(self):
        self.streams.append([])
        self.state_bytes = 0

    def segment(self, frame):
        self.streams[-1].append(frame)
        self.state_bytes = 100 * len(self.streams[-1])
        labels = self._predict(frame, len(self.streams[-1]) - 1)
        return SimpleNamespace(labels=np.where(frame.valid, labels, UNLABELLED).astype(np.uint8))


def figures_of(predict, stream=None, truth=KITTI):
    scores = compare([Contender("fake", FakeSegmenter(predict))], [stream or parade()], truth)
    return {case: rows["fake"] for case, rows in report(scores, truth)["cases"].items()}


def test_a_perfect_model_scores_one_and_never_flickers():
    cases = figures_of(lambda frame, _: frame.labels)
    assert list(cases) == ["parade, clean", "parade, under noise"]
    for figures in cases.values():
        assert [figures[f"miou{part}"] for part in ("", "_movable", "_moving")] == [1.0] * 3
        assert figures["flicker"] == 0.0
        assert figures["iou"]["pole"] is None
        assert figures["state_bytes"] == 400


def test_iou_counts_the_points_of_all_frames():
    # Half of the road is predicted as car, all else is correct.
    clean = figures_of(lambda frame, _: np.where(np.arange(601) < 100, CAR, frame.labels))
    figures = clean["parade, clean"]
    assert figures["iou"]["road"] == 0.5
    assert figures["iou"]["car"] == figures["miou_movable"] == 0.8
    assert figures["miou"] == pytest.approx(0.65)
    assert figures["miou_moving"] == 1.0


@pytest.mark.parametrize("with_moving", [True, False])
def test_flicker_counts_still_points_only(with_moving):
    def predict(frame, index):
        """Change the labels of moving cars and the pole every frame, of ten road points once."""
        labels = np.where(np.arange(601) < 400, frame.labels, index)
        labels[:10] = CAR if index == 2 else ROAD
        return labels

    figures = figures_of(predict, parade(with_moving=with_moving))["parade, clean"]
    # Without truth about motion, no car counts as still.
    still = 400 if with_moving else 200
    assert figures["compared_points"] == 3 * still
    assert figures["flicker"] == pytest.approx(20 / (3 * still))
    assert figures["flicker_by_frame"] == [None, 0.0, 10 / still, 10 / still]
    assert (figures["miou_moving"] is None) == (not with_moving)


def test_points_lost_to_noise_do_not_count_and_all_rows_get_the_same_noise():
    one, other = (FakeSegmenter(lambda frame, _: frame.labels) for _ in range(2))
    stream = parade()
    scores = compare([Contender("one", one), Contender("other", other)], [stream], KITTI)

    for clean, noisy, again in zip(stream.frames, one.streams[1], other.streams[1], strict=True):
        assert noisy.points.tobytes() == again.points.tobytes()
        assert 0.4 < noisy.valid.mean() < 0.6
        assert not np.array_equal(clean.points[noisy.valid], noisy.points[noisy.valid])
    valid = sum(frame.valid[:600].sum() for frame in one.streams[1])
    score = scores["parade, under noise"]["one"]
    assert score.labels.points == valid
    # Still points are paired if neither of the two is lost.
    kept = [frame.valid[:400] for frame in one.streams[1]]
    both = sum((a & b).sum() for a, b in pairwise(kept))
    assert score.labels.flicker.compared == both


def test_labels_are_scored_in_the_label_set_of_the_truth():
    stream = parade()
    for frame in stream.frames:
        frame.labels = URBAN.mapping_from(KITTI)[frame.labels]
    parking = KITTI.names.index("parking")
    cases = figures_of(
        lambda frame, _: np.where(np.arange(601) < 200, parking, CAR), stream, URBAN
    )
    assert cases["parade, clean"]["iou"]["road"] == cases["parade, clean"]["iou"]["car"] == 1.0


def test_rows_are_the_models_of_a_folder_in_fixed_order(tmp_path):
    save_tiny(tmp_path / "ablation_causal_coarse_cubes", dimension=4, kernel="causal")
    save_tiny(tmp_path / "ablation_causal", dimension=4, kernel="causal")
    save_tiny(tmp_path / "ablation_3d", crf=True, dimension=3)
    save_tiny(tmp_path / "another", dimension=3)

    models, absent = ablation.find_models(tmp_path, [str(tmp_path / "another.yaml")])

    assert list(models) == [
        "3D",
        "4D causal incremental",
        "4D causal, coarse cubes links",
        "another",
    ]
    assert [sentence.partition(" is left out: ")[0] for sentence in absent] == [
        "4D hybrid window",
        "4D tesseract window",
    ]
    assert f"train config/training/ablation_hybrid.yaml --out {tmp_path}" in absent[0]
    settings = {
        row.name: (row.segmenter.crf, row.segmenter.averaging > 1)
        for row in ablation.contenders(models, "cpu", "torch")
    }
    assert settings == {
        "3D": (False, False),
        "3D + averaging": (False, True),
        "3D + CRF": (True, False),
        "3D + CRF + averaging": (True, True),
        **{
            f"{name}{averaging}": (False, bool(averaging))
            for name in list(models)[1:]
            for averaging in ("", " + averaging")
        },
    }


def test_if_all_models_are_missing_the_message_says_where_they_are(tmp_path):
    folder = "minkowski_perception/lab/benchmarks/ablation_models"
    with pytest.raises(BenchmarkError, match=rf"source checkout, in {folder}: .*--models DIR"):
        ablation.find_models(tmp_path / "absent")
    assert ablation.MODELS.match(folder)

    save_tiny(tmp_path / "another", dimension=3)
    models, absent = ablation.find_models(tmp_path / "absent", [str(tmp_path / "another.yaml")])
    assert list(models) == ["another"]
    assert len(absent) == 1


def test_streets_are_simulated_moving_and_still():
    streams = ablation.simulated_streams(1, 2, ["vlp16", "vlp32"], seed=4010)
    assert [stream.case for stream in streams] == ["moving scenes"] * 2 + ["still scenes"] * 2
    assert [stream.seed for stream in streams] == [4010, 4011] * 2
    for stream in streams:
        still = stream.case == "still scenes"
        first, second = stream.frames
        assert np.array_equal(first.pose, second.pose) == still
        assert first.moving.any() != still
    assert len(streams[0].frames[0]) < len(streams[1].frames[0])


def test_seeds_of_training_streets_are_refused():
    with pytest.raises(ValueError, match="seed must be 4000 or more, not 3999"):
        ablation.simulated_streams(1, 2, seed=3999)


def test_a_sequence_without_labels_is_refused(tmp_path):
    (tmp_path / "velodyne").mkdir()
    (tmp_path / "velodyne" / "000000.bin").write_bytes(bytes(32))
    with pytest.raises(BenchmarkError, match="has no true labels"):
        ablation.recorded_stream(tmp_path, KITTI, 5)
