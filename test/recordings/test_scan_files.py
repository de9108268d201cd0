# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import gzip

import numpy as np
import pytest

pytest.importorskip("rosbags", reason="bags need the rosbags package")

from minkowski_perception.codec import decode
from minkowski_perception.frame import Frame
from minkowski_perception.motion.ego_motion import NoPoseError, StandingStill
from minkowski_perception.recordings.bags import BagError
from minkowski_perception.recordings.motion import choose_ego_motion
from minkowski_perception.recordings.scan_files import FrameReader, open_scans, read_scan

ROWS = np.random.default_rng(0).normal(0, 5, size=(50, 4)).astype(np.float32)
ROWS[:, 3] = abs(ROWS[:, 3])
SECOND = 10**9


def lzf(data):
    """Return data as literals of LZF, then a reference to the first four bytes."""
    runs = [data[i : i + 32] for i in range(0, len(data), 32)]
    return b"".join(bytes([len(run) - 1]) + run for run in runs)


def pcd(storage, rows=ROWS):
    lines = [
        "# .PCD v0.7",
        "VERSION 0.7",
        "FIELDS x y z _ intensity",
        "SIZE 4 4 4 1 4",
        "TYPE F F F U F",
        "COUNT 1 1 1 2 1",
        f"WIDTH {len(rows)}",
        "HEIGHT 1",
        "VIEWPOINT 0 0 0 1 0 0 0",
        f"POINTS {len(rows)}",
        f"DATA {storage}",
    ]
    header = ("\n".join(lines) + "\n").encode()
    if storage == "ascii":
        return header + "".join(f"{x} {y} {z} 0 0 {i}\n" for x, y, z, i in rows.tolist()).encode()
    padding = np.zeros((len(rows), 2), np.uint8)
    if storage == "binary":
        kind = [("p", "<f4", 3), ("_", "u1", 2), ("i", "<f4")]
        table = np.zeros(len(rows), kind)
        table["p"], table["i"] = rows[:, :3], rows[:, 3]
        return header + table.tobytes()
    columns = [rows[:, 0], rows[:, 1], rows[:, 2], padding, rows[:, 3]]
    plain = b"".join(np.ascontiguousarray(column).tobytes() for column in columns)
    packed = lzf(plain)
    sizes = np.array([len(packed), len(plain)], "<u4").tobytes()
    return header + sizes + packed


def ply(storage, rows=ROWS):
    names = ("x", "y", "z", "intensity")
    lines = ["ply", f"format {storage} 1.0", "comment a", f"element vertex {len(rows)}"]
    lines += [f"property float {name}" for name in names]
    lines += ["element face 0", "property list uchar int vertex_indices", "end_header"]
    header = ("\n".join(lines) + "\n").encode()
    if storage == "ascii":
        return header + "".join(" ".join(map(str, row)) + "\n" for row in rows.tolist()).encode()
    return header + rows.astype(">f4" if "big" in storage else "<f4").tobytes()


def save(path, kind):
    if isinstance(kind, str) and kind == ".npy":
        np.save(path, ROWS)
    elif isinstance(kind, str):
        np.savez(path, points=ROWS[:, :3], intensity=ROWS[:, 3], ring=np.zeros(50))
    elif isinstance(kind, tuple):
        np.save(path, kind[1])
    else:
        path.write_bytes(kind if isinstance(kind, bytes) else kind.tobytes())
    return path


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.bin", ROWS),
        ("a.pcd.bin", np.c_[ROWS, np.zeros(50, np.float32)]),
        ("a.npy", ".npy"),
        ("a.npz", ".npz"),
        ("a.pcd", pcd("ascii")),
        ("a.pcd", pcd("binary")),
        ("a.PCD", pcd("binary_compressed")),
        ("a.ply", ply("ascii")),
        ("a.ply", ply("binary_little_endian")),
        ("a.ply", ply("binary_big_endian")),
        ("a.ply", b"\xef\xbb\xbf" + ply("ascii").replace(b"\n", b"\r\n")),
        ("a.ply", ply("ascii").replace(b"float intensity", b"float scalar_Intensity")),
        ("a.pcd", b"\xef\xbb\xbf# .PCD\n" + pcd("ascii").replace(b"\n", b"\r\n")),
        ("a.bin", np.c_[ROWS, np.full(50, 7, np.float32)]),
        ("40.bin", np.c_[ROWS, np.full(50, 7, np.float32)][:48]),  # 4 or 5 columns by its size
    ],
)
def test_scans_of_all_formats_are_read(tmp_path, name, content):
    frame = read_scan(save(tmp_path / name, content))
    assert len(frame) in (48, 50)
    np.testing.assert_allclose(frame.points, ROWS[: len(frame), :3], atol=1e-6)
    np.testing.assert_allclose(frame.intensity, ROWS[: len(frame), 3], atol=1e-6)


@pytest.mark.parametrize(
    "rows",
    [
        ROWS.astype(">f8"),
        np.asfortranarray(ROWS),
        np.c_[ROWS, np.full((50, 2), -1.5)],
        ROWS.reshape(5, 10, 4),
        np.rec.fromarrays(ROWS.T, names="X, y, z, intensity"),
    ],
    ids=["float64", "fortran", "6 columns", "rows and columns", "structured"],
)
def test_arrays_of_all_layouts_are_read(tmp_path, rows):
    np.save(tmp_path / "a.npy", rows)
    frame = read_scan(tmp_path / "a.npy")
    np.testing.assert_allclose(frame.points, ROWS[:, :3])
    np.testing.assert_allclose(frame.intensity, ROWS[:, 3])
    assert frame.height == (5 if rows.ndim == 3 else 1)


def test_six_columns_of_an_array_can_be_points_and_colours(tmp_path):
    colours = np.arange(150).reshape(50, 3)
    np.save(tmp_path / "a.npy", np.c_[ROWS[:, :3], colours])
    frame = read_scan(tmp_path / "a.npy")
    np.testing.assert_array_equal(frame.colour, colours)
    assert frame.intensity is None


def test_references_of_lzf_are_resolved(tmp_path):
    rows = np.zeros((50, 4), np.float32)
    data = pcd("binary_compressed", rows)
    header = data[: data.index(b"DATA") + len(b"DATA binary_compressed\n")]
    # A zero, then references to the byte before: 264 bytes at most each.
    packed, left = b"\x00\x00", 50 * 18 - 1
    while left:
        length = min(left, 264)
        packed += bytes([7 << 5, length - 9, 0]) if length > 8 else bytes([length - 2 << 5, 0])
        left -= length
    sizes = np.array([len(packed), 50 * 18], "<u4").tobytes()
    frame = read_scan(save(tmp_path / "a.pcd", header + sizes + packed))
    assert not frame.points.any()


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("a.bin", b"12345", "cannot read scan .*a.bin: 5 bytes"),
        ("a.pcd", b"FIELDS x y z", "cannot read scan .*header of a PCD file is incomplete"),
        ("a.pcd", pcd("binary")[:-9], "it has 49 of 50 points"),
        ("a.pcd", pcd("ascii")[:-200], r"it has 4\d of 50 points|has \d values instead of"),
        ("a.pcd", pcd("binary").replace(b"TYPE F", b"TYPE Q"), "type Q of a PCD file is unknown"),
        ("a.pcd", pcd("binary").replace(b"DATA binary", b"DATA zip"), "DATA zip is none of ascii"),
        ("a.pcd", gzip.compress(pcd("binary"), mtime=0), "it is compressed: gunzip it first"),
        ("a.bin", ROWS[:48, :3], "are not x, y, z, intensity as float32: the intensity would be"),
        ("a.bin", ROWS.astype("<f8"), "save them as .npy"),
        ("a.ply", ply("ascii")[:-200], r"it has 4\d of 50 points"),
        ("a.ply", ply("ascii").replace(b"float x", b"half x"), "a property of type 'half'"),
        ("a.pcd", pcd("binary_compressed")[:-9], "cannot read scan .*a.pcd: .* instead of 900"),
        ("a.ply", ply("binary_little_endian")[:-9], "it has 49 of 50 points"),
        ("a.ply", b"solid", "does not begin with 'ply'"),
        ("a.ply", ply("ascii").replace(b"float z", b"float w"), r"has no z among .*'w'"),
        ("a.npy", np.zeros(3), "cannot read scan"),
        ("a.npy", ("array", ROWS.T), r"shape \[4, 50\], not \[N, 3\]"),
    ],
    ids=lambda value: value if isinstance(value, str) and len(value) < 60 else "content",
)
def test_a_damaged_scan_is_named_in_the_error(tmp_path, name, content, complaint):
    with pytest.raises(BagError, match=complaint):
        read_scan(save(tmp_path / name, content))


def test_a_damaged_scan_of_a_folder_is_left_out_and_counted(tmp_path):
    for i in range(3):
        save(tmp_path / f"{i:06d}.bin", ROWS if i else b"12345")
    reader = open_scans(tmp_path)
    with pytest.raises(BagError, match="no clouds; scans of a that cannot be read: 1"):
        choose_ego_motion(open_scans(save(tmp_path / "a.bin", b"12345")), "a")
    (tmp_path / "a.bin").unlink()
    found = [stamp for stamp, _ in reader.clouds(tmp_path.name)]
    assert found == [SECOND + SECOND // 10, SECOND + SECOND // 5]
    [loss] = reader.losses
    assert loss.startswith(f"scans of {tmp_path.name} that cannot be read: 1 (cannot read scan")


def test_a_folder_of_scans_is_a_sequence_at_10_hz(tmp_path):
    for name in ("000001.bin", "000000.bin", "._000000.bin", "notes.txt"):
        save(tmp_path / name, ROWS)
    with open_scans(tmp_path) as reader:
        topic = reader.choose_cloud_topic()
        clouds = list(reader.clouds(topic))
    assert reader.cloud_topics() == {tmp_path.name: 2}
    assert [stamp for stamp, _ in clouds] == [SECOND, SECOND + SECOND // 10]
    assert [decode(message).stamp for _, message in clouds] == [stamp for stamp, _ in clouds]
    np.testing.assert_array_equal(decode(clouds[0][1]).intensity, ROWS[:, 3])


def test_names_of_files_can_be_stamps(tmp_path):
    for name in ("1700000000100000000.bin", "1700000000000000000.bin"):
        save(tmp_path / name, ROWS)
    with open_scans(tmp_path) as reader:
        stamps = [stamp for stamp, _ in reader.clouds(tmp_path.name)]
    assert stamps == [1700000000000000000, 1700000000100000000]


def test_numbers_that_are_no_stamps_of_ros_are_names(tmp_path):
    for number in (9 * 10**18, 9 * 10**18 + 1):
        save(tmp_path / f"{number}.bin", ROWS)
    [first, _] = [stamp for stamp, _ in open_scans(tmp_path).clouds(tmp_path.name)]
    assert first == SECOND


def test_scans_are_in_the_order_of_their_numbers(tmp_path):
    for number in (1, 2, 10):
        save(tmp_path / f"{number}.bin", ROWS[: 4 * number])
    clouds = [message for _, message in open_scans(tmp_path).clouds(tmp_path.name)]
    assert [cloud.width for cloud in clouds] == [4, 8, 40]


def test_paths_without_scans_are_left_to_other_readers(tmp_path):
    (tmp_path / "a.mcap").touch()
    assert open_scans(tmp_path) is open_scans(tmp_path / "a.mcap") is None
    assert open_scans(tmp_path / "absent") is None


def test_scans_of_several_formats_are_refused(tmp_path):
    save(tmp_path / "a.bin", ROWS)
    save(tmp_path / "b.npy", ".npy")
    with pytest.raises(BagError, match=r"several formats: \.bin, \.npy"):
        open_scans(tmp_path)


def frames(poses=True):
    found = []
    for i in range(2):
        pose = np.eye(4)
        pose[0, 3] = i
        labels = np.arange(50, dtype=np.uint8)
        found.append(
            Frame(ROWS[:, :3], (i + 1) * SECOND, labels=labels, pose=pose if poses else None)
        )
    return found


def test_sequences_are_topics_with_labels_and_poses(tmp_path):
    reader = FrameReader(tmp_path, {"00": frames(), "01": frames()}, "true_label")
    with pytest.raises(BagError, match=r"several sequences; choose one of 00 \(2 scans\), 01"):
        reader.choose_cloud_topic()
    with pytest.raises(BagError, match="no sequence '02'; choose one of 00"):
        reader.choose_cloud_topic("02")
    motion = choose_ego_motion(reader, "01")
    assert (motion.name, motion.reason) == ("bag", "from the data")
    for i, (_, message) in enumerate(reader.clouds("01")):
        frame = decode(message, label_field="true_label")
        assert frame.labels.tolist() == list(range(50))
        assert motion.locate(frame)[0, 3] == i
    with pytest.raises(NoPoseError):
        motion.locate(Frame(ROWS[:, :3], 5))


def test_scans_without_poses_are_registered(tmp_path):
    pytest.importorskip("kiss_icp", reason="needs kiss-icp: pip install kiss-icp")
    reader = FrameReader(tmp_path, {"00": frames(poses=False)})
    motion = choose_ego_motion(reader, "00")
    assert (motion.name, motion.reason) == ("kiss_icp", "the scans have no poses")
    assert type(choose_ego_motion(reader, "00", "none")) is StandingStill
    with pytest.raises(BagError, match="gives no motion: the scans have no poses"):
        choose_ego_motion(reader, "00", "bag")


def test_las_files_need_laspy(tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "laspy", None)
    with pytest.raises(BagError, match=r"pip install 'laspy\[lazrs\]'"):
        read_scan(save(tmp_path / "a.las", b""))
