# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The command `label` on clouds of real sensors."""

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rosbags", reason="bags need the rosbags package")

from recordings import READERS, ROWS, Recording, write_bag

from minkowski_perception.codec import decode
from minkowski_perception.commands.main import main
from minkowski_perception.labels import UNLABELLED, LabelSet
from minkowski_perception.recordings.bags import BagReader
from minkowski_perception.segmenter import Segmenter

# Least intersection over union, by group of classes, of the default model, which was trained on
# simulated streets only, on a real street.
ROAD = ("road", "parking")
ROAD_IOU = 0.5
VEHICLES = ("car", "truck", "other-vehicle")
VEHICLES_IOU = 0.4

ROOM = ("building", "sidewalk", "person")
TRAFFIC = (*VEHICLES, "bicycle", "motorcycle", "bicyclist", "motorcyclist")

KITTI = LabelSet.load("semantickitti19")
BAGS = {
    "ika_bag_mcap": Recording([], truth="urban10"),
    "moveit_depthcam_bag": Recording([], rows=ROWS),
}
"""Recordings that are bags, with their label set and number of rows."""

ORGANISED = ("mosd_organised_rgbd", "rgbd_7scenes", "moveit_depthcam_bag")


@dataclass(frozen=True)
class Run:
    """A recording, its clouds before and after `label`, and the summary."""

    recording: Recording
    sent: list[Any]
    received: list[Any]
    summary: dict[str, Any]


@pytest.fixture(scope="module", params=[*READERS, *BAGS])
def run(request, shared_data, tmp_path_factory) -> Run:
    folder = shared_data / request.param
    if not folder.is_dir():
        pytest.skip(f"no recording at {folder}")
    work = tmp_path_factory.mktemp(request.param)
    if request.param in BAGS:
        recording, bag = BAGS[request.param], folder
    else:
        recording = READERS[request.param](folder)
        bag = write_bag(work / "bag", recording)
    options = ["--out", str(work), "--device", "cpu"]
    if recording.truth is not None:
        options += ["--true-label-field", "label", "--true-label-set", recording.truth]
    assert main(["label", str(bag), *options]) == 0
    summary = json.loads((work / "summary.json").read_text())
    return Run(recording, clouds_of(bag), clouds_of(work / "labelled"), summary)


def clouds_of(path):
    with BagReader(path) as bag:
        return [message for _, message in bag.clouds(bag.choose_cloud_topic())]


def points_of(message):
    """Return the structured array [N] of a cloud's fields, decoded independently of our codec."""
    types = {2: "u1", 4: "<u2", 6: "<u4", 7: "<f4"}
    dtype = np.dtype(
        {
            "names": [field.name for field in message.fields],
            "formats": [types[field.datatype] for field in message.fields],
            "offsets": [field.offset for field in message.fields],
            "itemsize": message.point_step,
        }
    )
    return np.frombuffer(message.data, dtype)


def measured(message):
    """Return [N] bool: finite points not at the sensor, where some drivers put missing returns."""
    xyz = np.stack([points_of(message)[axis] for axis in "xyz"])
    return np.isfinite(xyz).all(axis=0) & xyz.any(axis=0)


def labels_of(run):
    return np.concatenate([points_of(message)["label"] for message in run.received])


def truth_of(run):
    return np.concatenate([points_of(message)["label"] for message in run.sent])


@pytest.mark.parametrize("run", READERS, indirect=True)
def test_decoded_clouds_equal_the_files(run):
    for message, frame in zip(run.sent, run.recording.frames, strict=True):
        again = decode(message, label_field=None if frame.labels is None else "label")
        assert (again.stamp, again.frame_id) == (frame.stamp, frame.frame_id)
        for name in ("points", "intensity", "colour", "labels"):
            np.testing.assert_array_equal(getattr(again, name), getattr(frame, name), name)


def test_every_cloud_is_complete_and_in_order(run):
    for sent, received in zip(run.sent, run.received, strict=True):
        assert vars(received.header.stamp) == vars(sent.header.stamp)
        assert received.header.frame_id == sent.header.frame_id
        assert (received.height, received.width) == (sent.height, sent.width)
        kept = [f"input_{f.name}" if f.name in ("label", "rgb") else f.name for f in sent.fields]
        names = [f.name for f in received.fields]
        assert names == [*kept, "label", "confidence", "rgb", "moving"]
        before = np.frombuffer(sent.data, np.uint8).reshape(-1, sent.point_step)
        after = np.frombuffer(received.data, np.uint8).reshape(-1, received.point_step)
        np.testing.assert_array_equal(after[:, : sent.point_step], before)


def test_all_measured_points_and_no_others_get_a_class(run):
    labels = labels_of(run)
    known = np.concatenate([measured(message) for message in run.sent])
    assert known.any()
    assert (labels[known] < len(KITTI)).all()
    assert (labels[~known] == UNLABELLED).all()


@pytest.mark.parametrize("run", ORGANISED, indirect=True)
def test_organised_clouds_keep_their_rows_and_holes(run):
    for message in run.received:
        assert (message.height, message.width) == (ROWS, 640)
        assert not message.is_dense
        holes = points_of(message)["label"] == UNLABELLED
        np.testing.assert_array_equal(holes, ~measured(message))
        assert 0.0 < holes.mean() < 0.5


def test_the_axes_of_cameras_are_recognised_and_no_other_sensor_is_taken_for_one(run):
    axes, _, how = run.summary["axes"].partition(" ")
    assert axes == ("optical" if run.sent[0].height > 1 else "ros")
    assert how == {"optical": "(detected)", "ros": "(assumed)"}[axes] or (
        run.sent[0].header.frame_id.endswith("_optical_frame") and how == "(named)"
    )


def test_the_summary_matches_the_labelled_clouds(run):
    summary, labels = run.summary, labels_of(run)
    assert summary["received"] == summary["labelled"] == len(run.sent) > 0
    assert (summary["dropped"], summary["pending"]) == ({}, 0)
    names = {**dict(enumerate(KITTI.names)), UNLABELLED: "unlabelled"}
    ids, counts = np.unique(labels, return_counts=True)
    shares = {names[i]: count / len(labels) for i, count in zip(ids, counts, strict=True)}
    assert summary["label_shares"] == pytest.approx(shares)
    assert sum(summary["label_shares"].values()) == pytest.approx(1.0)


def test_labels_are_scored_if_there_are_true_labels(run):
    if run.recording.truth is None:
        assert run.summary["miou"] is None
        return
    classes = LabelSet.load(run.recording.truth).names
    present = {classes[i] for i in np.unique(truth_of(run)) if i < len(classes)}
    assert set(run.summary["iou"]) == present
    assert run.summary["miou"] == pytest.approx(np.mean(list(run.summary["iou"].values())))


@pytest.mark.parametrize("run", ["semantickitti_00"], indirect=True)
@pytest.mark.parametrize(
    ("group", "least"), [(ROAD, ROAD_IOU), (VEHICLES, VEHICLES_IOU)], ids=["road", "vehicles"]
)
def test_the_default_model_recognises_road_and_vehicles_of_a_real_street(run, group, least):
    labels, truth = labels_of(run), truth_of(run)
    ids = [KITTI.names.index(name) for name in group]
    scored = truth != UNLABELLED
    found, true = np.isin(labels[scored], ids), np.isin(truth[scored], ids)
    iou = (found & true).sum() / (found | true).sum()
    assert iou >= least


@pytest.mark.parametrize("run", ["nebula_multi_sensor_pcd"], indirect=True)
def test_the_default_model_labels_rooms_as_structure_rather_than_traffic(run):
    for message in run.received:
        labels = points_of(message)["label"][measured(message)]
        if message.header.frame_id == "ot128":  # upside down, which `label` was not told
            sent = decode(message)
            turned = sent.points * np.array([1.0, -1.0, -1.0], np.float32)
            labels = Segmenter.load().segment(turned, intensity=sent.intensity).labels
            labels = labels[measured(message)]
        room, traffic = (
            np.isin(labels, [KITTI.names.index(name) for name in names]).mean()
            for names in (ROOM, TRAFFIC)
        )
        assert room > 0.5 > 0.4 > traffic, message.header.frame_id
