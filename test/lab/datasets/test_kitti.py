# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from minkowski_perception.lab.datasets.kitti import KittiSequence
from minkowski_perception.lab.datasets.reading import DatasetError
from minkowski_perception.labels import LabelSet

POINTS = np.arange(20, dtype="<f4").reshape(5, 4)
RAW = np.array([10, 252, 40, 0, 40], "<u4")  # a parked car, a moving one, road, none, road
POSES = [f"1 0 0 {metres} 0 1 0 0 0 0 1 0" for metres in (0, 2)]


def write(folder, **files):
    """Write two scans of five points and other files, given by path as bytes or lines."""
    whole = {f"velodyne/{i:06d}.bin": (POINTS + i).tobytes() for i in range(2)} | files
    for name, content in whole.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        data = content if isinstance(content, bytes) else "\n".join(content).encode()
        path.write_bytes(data)
    return folder


def labelled(folder, raw=RAW, **files):
    labels = {f"labels/{i:06d}.label": raw.tobytes() for i in range(2)}
    return write(folder, **labels, **files)


def test_scans_alone_are_frames_at_10_hz_without_labels_and_poses(tmp_path):
    sequence = KittiSequence(write(tmp_path))
    assert len(sequence) == len(list(sequence)) == 2
    frame = sequence[1]
    np.testing.assert_array_equal(frame.points, POINTS[:, :3] + 1)
    np.testing.assert_array_equal(frame.intensity, POINTS[:, 3] + 1)
    assert (frame.labels, frame.moving, frame.pose) == (None, None, None)
    assert frame.stamp - sequence[0].stamp == 100_000_000


def test_labels_are_the_raw_ids_without_a_label_set(tmp_path):
    frame = KittiSequence(labelled(tmp_path, RAW + (7 << 16)))[0]
    np.testing.assert_array_equal(frame.labels, RAW)
    assert frame.moving is None


def test_raw_ids_are_mapped_to_classes_and_motion(tmp_path):
    frame = KittiSequence(labelled(tmp_path), LabelSet.load("semantickitti19"))[0]
    assert frame.labels.tolist() == [0, 0, 8, 255, 8]
    assert frame.moving.tolist() == [False, True, False, False, False]


def test_ids_of_a_set_without_raw_ids_are_its_own(tmp_path):
    raw = np.array([0, 7, 9, 10, 3], "<u4")
    frame = KittiSequence(labelled(tmp_path, raw), LabelSet.load("urban10"))[0]
    assert frame.labels.tolist() == [0, 7, 9, 255, 3]
    assert frame.moving is None


def test_interpolated_labels_are_unlabelled(tmp_path):
    mask = {"exact_mask/000000.u8": bytes([1, 1, 0, 1, 1])}
    sequence = KittiSequence(labelled(tmp_path, **mask), LabelSet.load("semantickitti19"))
    assert sequence[0].labels.tolist() == [0, 0, 255, 255, 8]
    assert sequence[1].labels.tolist() == [0, 0, 8, 255, 8]


@pytest.mark.parametrize(("before", "after"), [("", ""), ("000007 ", ""), ("", " 0 0 0 1")])
def test_lidar_poses_are_read_with_frame_numbers_or_last_rows(tmp_path, before, after):
    lines = [before + line + after for line in POSES]
    sequence = KittiSequence(write(tmp_path, **{"poses_lidar_x.txt": lines}))
    assert [frame.pose[0, 3] for frame in sequence] == [0.0, 2.0]


def test_camera_poses_are_converted_to_the_lidar(tmp_path):
    # The camera is 0.3 m above the LiDAR and looks along its x: z forward, x right, y down.
    tr = "Tr: 0 -1 0 0 0 0 -1 0.3 1 0 0 0"
    ahead = ["1 0 0 0 0 1 0 0 0 0 1 0", "1 0 0 0 0 1 0 0 0 0 1 5"]
    files = {"poses.txt": ahead, "calib.txt": ["P0: 1 2", tr]}
    pose = KittiSequence(write(tmp_path, **files))[1].pose
    np.testing.assert_allclose(pose[:3, 3], [5.0, 0.0, 0.0], atol=1e-12)
    np.testing.assert_allclose(pose[:3, :3], np.eye(3), atol=1e-12)


@pytest.mark.parametrize(
    ("times", "stamps"),
    [
        (["1565340659535964123", "1565340659635964123"], [0, 100_000_000]),
        (["0.000000e+00", "1.037e-01"], [0, 103_700_000]),
        (["000000 15.5", "000001 16.0"], [0, 500_000_000]),
    ],
)
def test_integer_times_are_nanoseconds_and_others_seconds(tmp_path, times, stamps):
    sequence = KittiSequence(write(tmp_path, **{"times.txt": times}))
    first = sequence[0].stamp
    assert [frame.stamp - first for frame in sequence] == stamps
    if times[0].isdigit():
        assert first == int(times[0])


@pytest.mark.parametrize(
    ("times", "period"),
    [
        (["0", "1"], 10**9),
        (["5", "7"], 2 * 10**9),
        (["1700000000", "1700000001"], 10**9),
        (["1000", "1100"], 10**8),  # milliseconds
        (["1700000000000000", "1700000000100000"], 10**8),  # microseconds
        (["0", "100000000"], 10**8),
        (["10", "10.1"], 10**8),
    ],
)
def test_the_unit_of_integer_times_fits_the_period_of_a_sensor(tmp_path, times, period):
    first, second = KittiSequence(write(tmp_path, **{"times.txt": times}))
    assert second.stamp - first.stamp == period


def test_comments_empty_lines_and_a_byte_order_mark_are_passed_over(tmp_path):
    text = "\ufeff# LiDAR\r\n\r\n" + "\r\n".join(POSES) + "\r\n\r\n"
    sequence = KittiSequence(write(tmp_path, **{"poses_lidar.txt": text.encode()}))
    assert [frame.pose[0, 3] for frame in sequence] == [0.0, 2.0]


def test_hidden_files_are_no_scans(tmp_path):
    folder = labelled(tmp_path, **{"poses_lidar.txt": POSES})
    for name in ("velodyne/._000000.bin", "labels/._000000.label", "._poses_lidar.txt"):
        (folder / name).write_bytes(b"\0\5\x16\7" * 7)
    assert len(list(KittiSequence(folder))) == 2


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"poses_lidar.txt": [POSES[0], "nan " * 12]}, "poses_lidar.txt: 1 of 2 .* in line 2"),
        ({"times.txt": ["10.5", "10.4"]}, "times.txt: time 10.4 of scan 2 is not later"),
        ({"times.txt": ["0.0", "0.0"]}, "times.txt: time 0.0 of scan 2 is not later"),
        ({"times.txt": ["nan", "1.0"]}, "times.txt: cannot convert"),
        ({"poses_lidar.txt": POSES[:1]}, "poses_lidar.txt has 1 lines for 2 scans"),
        (
            {"poses_lidar.txt": ["1 2 3", "4 5 6"]},
            "poses_lidar.txt: lines must have 3 x 4 numbers",
        ),
        (
            {"poses_lidar.txt": [POSES[0], "0 " * 12]},
            "poses_lidar.txt: line 2 is no pose: its 3 x 3 numbers are no rotation",
        ),
        ({"poses.txt": POSES}, "poses.txt has poses of the camera, but .*calib.txt is missing"),
        ({"poses.txt": POSES, "calib.txt": ["P0: 1"]}, "calib.txt has no line Tr"),
        ({"times.txt": ["soon", "later"]}, "times.txt: .*'soon'"),
        (
            {"velodyne/000000.bin": b"12345"},
            "000000.bin has 5 bytes, not a multiple of 16 per point",
        ),
        ({"labels/000000.label": b"12345678"}, "000000.label has 2 points, but the scan has 5"),
    ],
)
def test_damaged_files_are_named_in_the_error(tmp_path, files, message):
    with pytest.raises(DatasetError, match=message):
        list(KittiSequence(write(tmp_path, **files)))


def test_a_folder_without_scans_is_refused(tmp_path):
    with pytest.raises(
        DatasetError,
        match=r"no scans: expected .*velodyne/\*.bin, but .*velodyne does not exist",
    ):
        KittiSequence(tmp_path)


def test_poses_align_poles_and_trunks_of_a_real_street(shared_data):
    from scipy.spatial import cKDTree

    sequence = KittiSequence(
        shared_data / "semantickitti_00" / "sequences" / "00", LabelSet.load("semantickitti19")
    )
    poles = [LabelSet.load("semantickitti19").names.index(n) for n in ("pole", "trunk")]

    def standing(frame, pose):
        points = frame.points[np.isin(frame.labels, poles)]
        return points @ pose[:3, :3].T + pose[:3, 3]

    first, last = sequence[0], sequence[9]
    tree = cKDTree(standing(first, first.pose))
    moved = np.median(tree.query(standing(last, last.pose))[0])
    assert moved < 0.15
    assert moved < 0.5 * np.median(tree.query(standing(last, np.eye(4)))[0])
