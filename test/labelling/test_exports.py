# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Exports, read by readers that share no code with their writers."""

import sys
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest
import yaml
from cloud_messages import message, street
from fake_segmenters import CAR, KITTI, ROAD, MovingSegmenter

from minkowski_perception.lab.datasets.catalogue import open_dataset
from minkowski_perception.labelling.exports import EXPORTS, ExportError, open_export
from minkowski_perception.labelling.exports.semantickitti import RawIds
from minkowski_perception.labels import LabelSet
from minkowski_perception.motion.ego_motion import EgoMotion
from minkowski_perception.recordings.scan_files import read_scan
from minkowski_perception.stream import Stream

FRAMES, HOLE = 3, 7
"""Number of clouds, and the index of their point that is not finite."""
RAW = (0, 10, 11, 15, 18, 20, 30, 31, 32, 40, 44, 48, 49, 50, 51, 70, 71, 72, 80, 81)
"""`learning_map_inv` of semantic-kitti.yaml in SemanticKITTI's API."""


class Forward(EgoMotion):
    """Drives 1 m a cloud along y, to which the sensor looks."""

    driven = -1.0

    def locate(self, frame):
        self.driven += 1.0
        pose = np.eye(4)
        pose[:2, :2] = [[0.0, -1.0], [1.0, 0.0]]
        pose[1, 3] = self.driven
        return pose


@pytest.fixture(scope="module")
def clouds():
    """Labelled clouds: car above the sensor and road below, what is on the left moves."""
    stream = Stream(MovingSegmenter(), Forward())
    labelled = []
    for index in range(FRAMES):
        frame = street(index)
        frame.points[HOLE] = np.nan
        labelled.append(stream.label(message(frame)))
    return labelled


def export(name, clouds, folder):
    with open_export(name, folder, KITTI) as output:
        for cloud in clouds:
            output.add(cloud, 0)
    return folder


def without_hole(values):
    return np.delete(values, HOLE, axis=0)


def test_semantickitti_is_read_by_the_data_set_of_this_package(clouds, tmp_path):
    root = export("semantickitti", clouds, tmp_path) / "semantickitti"
    sequence = open_dataset("semantickitti", root).sequences["00"]

    assert len(sequence) == FRAMES
    for index, (cloud, read) in enumerate(zip(clouds, sequence, strict=True)):
        result = cloud.result
        np.testing.assert_array_equal(read.points, without_hole(cloud.frame.points))
        np.testing.assert_array_equal(read.intensity, without_hole(cloud.frame.intensity))
        np.testing.assert_array_equal(read.labels, without_hole(result.labels))
        # The data set knows moving cars, but no moving roads.
        moving = (np.nan_to_num(result.outputs["moving"]) > 0.5) & (result.labels == CAR)
        np.testing.assert_array_equal(read.moving & (read.labels == CAR), without_hole(moving))
        np.testing.assert_array_equal(read.pose, cloud.frame.pose)
        assert read.stamp == pytest.approx(index * 10**8, abs=1)


def test_semantickitti_has_what_its_api_and_point_labeler_read(clouds, tmp_path):
    root = export("semantickitti", clouds, tmp_path) / "semantickitti"
    folder = root / "sequences" / "00"
    raw = np.fromfile(folder / "labels" / "000001.label", np.uint32)
    assert set(raw) == {10, 252, 40}  # car, moving car, road
    # As generate_sequential.py of the API parses them.
    calibration = dict(line.split(":") for line in (folder / "calib.txt").read_text().splitlines())
    assert [float(value) for value in calibration["Tr"].split()] == np.eye(4)[:3].ravel().tolist()
    poses = np.loadtxt(folder / "poses.txt").reshape(FRAMES, 3, 4)
    np.testing.assert_array_equal(poses[2], clouds[2].frame.pose[:3])
    config = yaml.safe_load((root / "labels.yaml").read_text())
    assert (config["labels"][10], config["labels"][252]) == ("car", "moving-car")
    assert config["color_map"][10] == config["color_map"][252] == [245, 150, 100]
    assert config["learning_map"][252] == config["learning_map"][10] == 1
    assert config["learning_map_inv"] == dict(enumerate(RAW))
    _, car, *_ = ElementTree.parse(root / "labels.xml").iter("label")
    found = {child.tag: child.text for child in car}
    assert (found["id"], found["name"], found["color"]) == ("10", "car", "100 150 245")
    assert found["moving"] == "252"


def test_semantickitti_has_no_poses_if_the_motion_is_unknown(clouds, tmp_path):
    unknown = [
        replace(cloud, received=replace(cloud.received, pose=None)) if i == 1 else cloud
        for i, cloud in enumerate(clouds)
    ]
    root = export("semantickitti", unknown, tmp_path) / "semantickitti"
    names = {path.name for path in (root / "sequences" / "00").iterdir()}
    assert names == {"velodyne", "labels", "times.txt"}
    assert open_dataset("semantickitti", root).sequences["00"][0].pose is None


@pytest.mark.parametrize("name", LabelSet.available())
def test_raw_ids_are_those_from_which_the_labels_are_read(name):
    label_set = LabelSet.load(name)
    ids = RawIds(label_set)
    labels = np.arange(len(label_set), dtype=np.uint8)
    raw = ids.of(np.append(labels, np.uint8(255)), None)
    assert len(set(raw.tolist())) == len(label_set) + 1
    if (raw[:-1] != labels).any():
        source = next(s for s in label_set.sources if s.endswith("_raw"))
        table = label_set.mapping_from(source)
        np.testing.assert_array_equal(table[raw[:-1]], labels)
        assert table[raw[-1]] == 255
    moving = ids.of(labels, np.ones(len(labels), np.float32))
    changed = [label_set.names[i] for i in np.flatnonzero(moving != raw[:-1])]
    assert changed == list(label_set.divided_by_motion)


@pytest.mark.parametrize("suffix", ["ply", "pcd"])
def test_ply_and_pcd_are_read_by_open3d_and_by_label(clouds, tmp_path, suffix):
    open3d = pytest.importorskip("open3d", reason="needs open3d")
    folder = export(suffix, clouds, tmp_path) / suffix

    assert sorted(p.name for p in folder.iterdir()) == [f"{i:06d}.{suffix}" for i in range(FRAMES)]
    for cloud, path in zip(clouds, sorted(folder.iterdir()), strict=True):
        read = open3d.t.io.read_point_cloud(str(path)).point
        result = cloud.result
        colours = without_hole(KITTI.palette[result.labels])
        expected = {
            "positions": cloud.frame.points,
            "label": result.labels[:, None],
            "confidence": result.confidence[:, None],
            "moving": result.outputs["moving"][:, None],
            "intensity": cloud.frame.intensity[:, None],
        }
        for name, values in expected.items():
            np.testing.assert_array_equal(read[name].numpy(), without_hole(values), name)
        np.testing.assert_array_equal(read["colors"].numpy(), colours)
        again = read_scan(path)
        np.testing.assert_array_equal(again.points, without_hole(cloud.frame.points))
        np.testing.assert_array_equal(again.colour, colours)
    if suffix == "pcd":
        header = path.read_bytes().split(b"DATA")[0].decode()
        assert "VIEWPOINT 0.0 2.0 0.0 0.70" in header


def test_npz_has_all_points_in_input_order(clouds, tmp_path):
    folder = export("npz", clouds, tmp_path) / "npz"
    for i, cloud in enumerate(clouds):
        with np.load(folder / f"{i:06d}.npz", allow_pickle=False) as read:
            np.testing.assert_array_equal(read["points"], cloud.frame.points)
            np.testing.assert_array_equal(read["label"], cloud.result.labels)
            np.testing.assert_array_equal(read["pose"], cloud.frame.pose)
            assert int(read["stamp"]) == cloud.frame.stamp
            assert read["classes"].tolist() == list(KITTI.names)
            assert read["label"][HOLE] == 255


def test_rrd_is_read_by_the_reader_of_rerun(clouds, tmp_path):
    pytest.importorskip("rerun", reason="needs rerun-sdk: pip install rerun-sdk")
    reader = pytest.importorskip("rerun.chunk", reason="needs the reader of newer versions")
    path = export("rrd", clouds, tmp_path) / "labelled.rrd"

    rows: dict[str, list] = {}
    for chunk in reader.RrdReader(path).stream():
        batch = chunk.to_record_batch()
        names = [name for name in batch.schema.names if name not in ("log_time", "stamp")]
        rows.setdefault(chunk.entity_path, []).extend(batch.select(names).to_pylist())
    [context] = [row for row in rows["/world"] if row.get("AnnotationContext:context")]
    [classes] = context["AnnotationContext:context"]
    info = {each["class_id"]: each["class_description"]["info"] for each in classes}
    assert (info[CAR]["label"], info[255]["label"]) == ("car", "unlabelled")
    assert info[ROAD]["color"] == 0xFF00FFFF  # red, green, blue, opacity
    sensor = [row["Transform3D:translation"][0] for row in rows["/world/sensor"]]
    assert [where[1] for where in sensor] == [0, 1, 2]
    drawn = [row for row in rows["/world/sensor/cloud"] if row.get("Points3D:positions")]
    values = [row for row in rows["/world/sensor/cloud"] if row.get("confidence")]
    for cloud, row, value in zip(clouds, drawn, values, strict=True):
        result = cloud.result
        points = np.array(row["Points3D:positions"], np.float32)
        np.testing.assert_array_equal(points, without_hole(cloud.frame.points))
        np.testing.assert_array_equal(row["Points3D:class_ids"], without_hole(result.labels))
        moving = np.array(value["moving"], np.float32)
        np.testing.assert_array_equal(moving, without_hole(result.outputs["moving"]))


def test_rrd_without_rerun_names_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "rerun", None)
    with pytest.raises(ExportError, match="pip install rerun-sdk"):
        open_export("rrd", tmp_path, KITTI)


@pytest.mark.parametrize("name", EXPORTS)
def test_a_cloud_of_unknown_motion_without_intensity_is_exported(name, tmp_path):
    if name == "rrd":
        pytest.importorskip("rerun", reason="needs rerun-sdk: pip install rerun-sdk")
    stream = Stream(MovingSegmenter(), EgoMotion())
    export(name, [stream.label(message(replace(street(), intensity=None)))], tmp_path)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert max(path.stat().st_size for path in files) > 600 * 12  # coordinates of the points
