# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from minkowski_perception.codec import decode
from minkowski_perception.frame import Frame
from minkowski_perception.lab.datasets.kitti import KittiSequence
from minkowski_perception.lab.simulation.export import ExportError, write_bag, write_sequence
from minkowski_perception.labels import UNLABELLED, LabelSet
from minkowski_perception.recordings.bags import BagReader, BagWriter

OUTDOORS, INDOORS = LabelSet.load("semantickitti19"), LabelSet.load("indoor8")


@pytest.fixture
def frames() -> list[Frame]:
    rng = np.random.default_rng(0)
    made = []
    for index in range(3):
        pose = np.eye(4)
        pose[:3, :3] = Rotation.from_rotvec(rng.normal(0, 0.3, 3)).as_matrix()
        pose[:3, 3] = rng.normal(0, 50.0, 3)
        labels = np.append(np.arange(len(OUTDOORS)), UNLABELLED).astype(np.uint8)
        labels = np.concatenate([labels, labels])
        moving = np.isin(labels, OUTDOORS.movable_ids) & (np.arange(len(labels)) >= 20)
        made.append(
            Frame(
                points=rng.normal(0, 20, (len(labels), 3)).astype(np.float32),
                stamp=1_700_000_000 * 10**9 + index * 100_000_000,
                frame_id="lidar",
                intensity=rng.random(len(labels), dtype=np.float32),
                labels=labels,
                moving=moving,
                pose=pose,
            )
        )
    return made


def test_a_sequence_is_read_as_written(frames, tmp_path):
    write_sequence(tmp_path / "00", iter(frames), OUTDOORS)
    sequence = KittiSequence(tmp_path / "00", OUTDOORS)
    assert len(sequence) == 3
    for written, read in zip(frames, sequence, strict=True):
        np.testing.assert_array_equal(read.points, written.points)
        np.testing.assert_array_equal(read.intensity, written.intensity)
        np.testing.assert_array_equal(read.labels, written.labels)
        np.testing.assert_allclose(read.pose, written.pose, atol=1e-9)
    assert np.diff([frame.stamp for frame in sequence]).tolist() == [100_000_000] * 2


def test_moving_objects_have_the_moving_ids_of_semantickitti(frames, tmp_path):
    write_sequence(tmp_path / "00", frames, OUTDOORS)
    raw = np.fromfile(tmp_path / "00" / "labels" / "000000.label", "<u4")
    ids = {
        name: (int(raw[index]), int(raw[index + 20]))
        for index, name in enumerate([*OUTDOORS.names, "none"])
    }
    # From semantic-kitti.yaml of the data set.
    assert ids["car"] == (10, 252)
    assert ids["person"] == (30, 254)
    assert ids["bicyclist"] == (31, 253)
    assert ids["motorcyclist"] == (32, 255)
    assert ids["truck"] == (18, 258)
    assert ids["other-vehicle"] == (20, 259)
    assert ids["road"] == (40, 40)
    assert ids["traffic-sign"] == (81, 81)
    assert ids["none"] == (0, 0)
    # The data set has no moving ids for bicycles and motorcycles without riders.
    moving = KittiSequence(tmp_path / "00", OUTDOORS)[0].moving
    expected = frames[0].moving & ~np.isin(frames[0].labels, [1, 2])
    np.testing.assert_array_equal(moving, expected)


def test_labels_of_a_set_without_raw_ids_are_written_as_indices(frames, tmp_path):
    indoors = [replace(f, labels=f.labels % len(INDOORS)) for f in frames]
    write_sequence(tmp_path / "00", indoors, INDOORS)
    for written, read in zip(indoors, KittiSequence(tmp_path / "00", INDOORS), strict=True):
        np.testing.assert_array_equal(read.labels, written.labels)


def test_invalid_points_are_left_out_of_a_sequence(frames, tmp_path):
    frames[0].points[3] = np.nan
    write_sequence(tmp_path / "00", frames, OUTDOORS)
    read = KittiSequence(tmp_path / "00", OUTDOORS)[0]
    np.testing.assert_array_equal(read.points, np.delete(frames[0].points, 3, axis=0))
    np.testing.assert_array_equal(read.labels, np.delete(frames[0].labels, 3))


def test_a_bag_is_read_as_written_with_odometry_and_transforms(frames, tmp_path):
    write_bag(tmp_path / "bag", frames)
    with BagReader(tmp_path / "bag") as bag:
        clouds = [decode(cloud, label_field="true_label") for _, cloud in bag.clouds("/points")]
        by_odometry = bag.poses("lidar", topic="/odometry")
        with BagWriter(tmp_path / "transforms") as writer:
            for message in bag.raw(["/tf"]):
                writer.write_raw(*message)
    with BagReader(tmp_path / "transforms") as bag:
        by_transforms = bag.poses("lidar")
    for written, read in zip(frames, clouds, strict=True):
        assert (read.stamp, read.frame_id) == (written.stamp, "lidar")
        np.testing.assert_array_equal(read.points, written.points)
        np.testing.assert_array_equal(read.labels, written.labels)
    for poses in (by_odometry, by_transforms):
        assert [stamp for stamp, _ in poses] == [frame.stamp for frame in frames]
        for (_, pose), frame in zip(poses, frames, strict=True):
            np.testing.assert_allclose(pose, frame.pose, atol=1e-9)


def test_clouds_of_a_camera_are_organised_in_a_bag(frames, tmp_path):
    coloured = [
        replace(f, intensity=None, colour=(f.points * 10).astype(np.uint8)) for f in frames
    ]
    coloured[1].points[5] = np.nan
    write_bag(tmp_path / "bag", coloured, (10, 4))
    with BagReader(tmp_path / "bag") as bag:
        messages = [message for _, message in bag.clouds("/points")]
    for written, message in zip(coloured, messages, strict=True):
        assert (message.width, message.height) == (10, 4)
        assert message.row_step == 10 * message.point_step
        assert bool(message.is_dense) == bool(written.valid.all())
        read = decode(message)
        np.testing.assert_array_equal(read.points, written.points)
        np.testing.assert_array_equal(read.colour, written.colour)


def test_existing_output_is_kept_and_failed_output_is_absent(frames, tmp_path):
    (tmp_path / "00").mkdir()
    with pytest.raises(ExportError, match="00 already exists"):
        write_sequence(tmp_path / "00", frames, OUTDOORS)

    def fails():
        yield frames[0]
        raise OSError("disk on fire")

    with pytest.raises(OSError, match="on fire"):
        write_bag(tmp_path / "01", fails())
    assert not (tmp_path / "01").exists()
    write_bag(tmp_path / "01", frames)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["00", "01"]


def test_frames_without_intensity_are_refused_for_a_sequence(frames, tmp_path):
    coloured = [replace(f, intensity=None) for f in frames]
    with pytest.raises(ExportError, match="needs intensity and has no colour: write a bag"):
        write_sequence(tmp_path / "00", coloured, OUTDOORS)
