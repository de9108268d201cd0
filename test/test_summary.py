# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import json

import numpy as np
import pytest

from minkowski_perception.accounting import Counts, DropReason
from minkowski_perception.frame import Frame
from minkowski_perception.labels import LabelSet, LabelSetError
from minkowski_perception.summary import LabelStatistics, Summary

KITTI = LabelSet.load("semantickitti19")
URBAN = LabelSet.load("urban10")


def ids(label_set: LabelSet, *names: str) -> np.ndarray:
    return np.array([label_set.names.index(name) for name in names], dtype=np.uint8)


def frame_of(count: int, truth: np.ndarray | None = None) -> Frame:
    return Frame(np.ones((count, 3), np.float32), labels=truth)


def summary_of(statistics: LabelStatistics, **changes) -> Summary:
    values = {
        "bag": "drive",
        "topic": "/points",
        "model": "a_model",
        "device": "cpu",
        "engine": "numba bfloat16",
        "axes": "ros (assumed)",
        "ego_motion": "kiss_icp",
        "ego_motion_reason": "the bag has no odometry or transforms",
        "ego_motion_coasted": 2,
        "counts": Counts(4, 2, {DropReason.NO_POSE: 1}),
        "seconds": 0.5,
        "latencies": [0.1, 0.3],
        "statistics": statistics,
    }
    return Summary.of(**{**values, **changes})


def test_shares_are_sorted_from_largest_to_smallest():
    statistics = LabelStatistics(KITTI, KITTI)
    statistics.add(frame_of(3), ids(KITTI, "car", "road", "road"))
    statistics.add(frame_of(1), np.array([255], dtype=np.uint8))

    summary = summary_of(statistics)

    assert summary.label_shares == {"road": 0.5, "car": 0.25, "unlabelled": 0.25}
    assert next(iter(summary.label_shares)) == "road"
    assert summary.miou is None


def test_labels_are_mapped_to_the_label_set_of_the_truth():
    statistics = LabelStatistics(KITTI, URBAN)
    truth = ids(URBAN, "vegetation", "vegetation", "car", "person")
    statistics.add(frame_of(4, truth), ids(KITTI, "trunk", "vegetation", "car", "car"))

    summary = summary_of(statistics)

    assert summary.iou == {"vegetation": 1.0, "car": 0.5, "person": 0.0}
    assert summary.miou == pytest.approx(0.5)
    assert summary.accuracy == pytest.approx(0.75)


def test_labels_without_a_mapping_to_the_truth_are_refused_only_if_there_is_truth():
    rooms = LabelSet.load("scannet20")
    statistics = LabelStatistics(rooms, KITTI)
    statistics.add(frame_of(1), ids(rooms, "wall"))

    with pytest.raises(LabelSetError, match="label set 'scannet20' to 'semantickitti19'"):
        statistics.add(frame_of(1, ids(KITTI, "car")), ids(rooms, "wall"))


def test_truth_without_any_class_gives_no_score():
    statistics = LabelStatistics(KITTI, KITTI)
    statistics.add(frame_of(1, np.array([255])), ids(KITTI, "car"))

    assert summary_of(statistics).miou is None


def test_rates_use_the_duration_of_the_run_and_latencies_are_in_milliseconds():
    statistics = LabelStatistics(KITTI, KITTI)
    statistics.add(frame_of(100), np.zeros(100, dtype=np.uint8))
    statistics.add(frame_of(50), np.zeros(50, dtype=np.uint8))

    summary = summary_of(statistics, latencies=[0.01 * i for i in range(1, 102)])

    assert summary.frames_per_second == pytest.approx(4.0)
    assert summary.points_per_second == pytest.approx(300.0)
    assert summary.latency_ms == pytest.approx({"median": 510.0, "p99": 1000.0, "mean": 510.0})


def test_the_json_file_holds_every_number(tmp_path):
    statistics = LabelStatistics(KITTI, KITTI)
    statistics.add(frame_of(2, ids(KITTI, "car", "car")), ids(KITTI, "car", "road"))
    summary_of(statistics).save(tmp_path / "summary.json")

    saved = json.loads((tmp_path / "summary.json").read_text())

    assert saved["received"] == saved["labelled"] + saved["dropped"]["no_pose"] + saved["pending"]
    assert saved["miou"] == pytest.approx(0.5)
    assert saved["iou"] == {"car": 0.5}


def test_a_run_without_labelled_clouds_has_a_summary(tmp_path):
    empty = summary_of(
        LabelStatistics(KITTI, KITTI),
        counts=Counts(1, 0, {DropReason.MALFORMED: 1}),
        seconds=0.0,
        latencies=[],
    )
    empty.save(tmp_path / "summary.json")

    assert json.loads((tmp_path / "summary.json").read_text())["frames_per_second"] == 0.0
    assert "1 malformed" in empty.table()


def test_the_table_is_narrower_than_80_columns():
    statistics = LabelStatistics(KITTI, KITTI)
    truth = ids(KITTI, "car", "road", "car")
    statistics.add(frame_of(3, truth), ids(KITTI, "car", "road", "road"))

    table = summary_of(statistics).table()

    assert "ego motion  kiss_icp: the bag has no odometry or transforms; 2 extrapolated" in table
    assert "received    4 clouds" in table
    assert "1 no_pose" in table
    assert "pending     1" in table
    assert "200 ms median" in table
    assert "road                   66.7%   0.500" in table
    assert max(len(line) for line in table.splitlines()) < 80


def test_moving_points_are_counted_and_scored_if_their_truth_is_known(tmp_path):
    statistics = LabelStatistics(KITTI, KITTI)
    labels = ids(KITTI, "car", "car", "road", "road")
    values = np.array([0.9, 0.2, 0.8, np.nan], np.float32)
    statistics.add(frame_of(4), labels, {"moving": values})

    summary = summary_of(statistics)

    assert (summary.moving_share, summary.moving) == (2 / 3, {})
    assert "moving      66.7% of the points of known motion" in summary.table()
    assert "moving IoU" not in summary.table()

    frame = Frame(np.ones((4, 3)), labels=labels, moving=np.array([True, True, False, False]))
    statistics.add(frame, labels, {"moving": values})
    summary = summary_of(statistics)
    summary.save(tmp_path / "summary.json")

    saved = json.loads((tmp_path / "summary.json").read_text())["moving"]
    assert (saved["points"], saved["iou"], saved["recall"]) == (3, 1 / 3, 0.5)
    assert saved["by_class"]["car"]["precision"] == 1.0
    assert "moving IoU  0.333  (recall 0.500, precision 0.500)" in summary.table()


def test_without_the_output_the_summary_says_nothing_of_motion():
    statistics = LabelStatistics(KITTI, KITTI)
    statistics.add(frame_of(1), ids(KITTI, "car"))
    summary = summary_of(statistics)
    assert (summary.moving_share, summary.moving) == (None, {})
    assert "moving" not in summary.table()
