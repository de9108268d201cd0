# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from minkowski_perception.lab.datasets.catalogue import DatasetError, open_dataset

ROOMS = ("Area_1/office_1", "Area_5/hallway_6", "Area_5/office_2")


@pytest.fixture
def root(tmp_path):
    for room in ROOMS:
        folder = tmp_path / room / "Annotations"
        folder.mkdir(parents=True)
        (folder / "chair_1.txt").write_text("1.5 2 0.25 10 20 30\n-1 0 3 0 0 255\n")
        (folder / "stairs_1.txt").write_text("4 4 4 1 1 1\n")
        (folder / "wall_2.txt").write_text("0.5 0.5 2 200 100 50\n")
        name = room.partition("/")[2]
        (folder.parent / f"{name}.txt").write_text("1.5 2 0.25 10 20 30\n")
        (folder.parent / ".DS_Store").write_bytes(b"\0")
    return tmp_path


def test_a_room_is_the_union_of_its_annotated_objects(root):
    dataset = open_dataset("s3dis", root)
    assert list(dataset.sequences) == list(ROOMS)
    (frame,) = dataset.sequences["Area_1/office_1"]
    np.testing.assert_array_equal(
        frame.points, [[1.5, 2, 0.25], [-1, 0, 3], [4, 4, 4], [0.5, 0.5, 2]]
    )
    assert frame.colour.tolist() == [[10, 20, 30], [0, 0, 255], [1, 1, 1], [200, 100, 50]]
    np.testing.assert_array_equal(frame.pose, np.eye(4))
    names = dataset.label_set.names
    known = [names[i] if i < 255 else None for i in frame.labels]
    assert known == ["chair", "chair", None, "wall"]  # stairs are not scored


def test_area_5_is_the_test_split(root):
    assert list(open_dataset("s3dis", root, "train").sequences) == ["Area_1/office_1"]
    assert list(open_dataset("s3dis", root, "test").sequences) == list(ROOMS[1:])
    with pytest.raises(DatasetError, match="unknown split 'val'; choose one of train, test"):
        open_dataset("s3dis", root, "val")


def test_a_split_without_rooms_is_refused(tmp_path):
    (tmp_path / "Area_1/office_1/Annotations").mkdir(parents=True)
    with pytest.raises(DatasetError, match=r"'test' is Area_5, .* but found only Area_1"):
        open_dataset("s3dis", tmp_path, "test")
    with pytest.raises(DatasetError, match=r"Annotations contains no CLASS_I.txt"):
        open_dataset("s3dis", tmp_path).sequences["Area_1/office_1"][0]


def test_a_control_character_in_a_file_is_read_as_a_space(root):
    path = root / "Area_5/hallway_6/Annotations/chair_1.txt"
    path.write_bytes(b"1 2 3 185\x10187 4\n")
    frame = open_dataset("s3dis", root).sequences["Area_5/hallway_6"][0]
    assert frame.colour[0].tolist() == [185, 187, 4]


def test_damaged_files_are_named_in_the_error(root):
    folder = root / "Area_1/office_1/Annotations"
    frames = open_dataset("s3dis", root).sequences["Area_1/office_1"]
    (folder / "wall_2.txt").write_text("1 2 three 4 5 6\n")
    with pytest.raises(DatasetError, match=r"wall_2\.txt: .*three"):
        frames[0]
    (folder / "wall_2.txt").write_text("1 2 3\n")
    with pytest.raises(DatasetError, match=r"wall_2\.txt has 3 numbers per line, not x y z r g b"):
        frames[0]
    (folder / "wall_2.txt").rename(folder / "dragon_1.txt")
    with pytest.raises(
        DatasetError, match=r"dragon_1\.txt has an unknown class; known are clutter, "
    ):
        frames[0]


def test_prepared_rooms_are_read(tmp_path):
    pytest.importorskip("trimesh", reason="PLY files are read with trimesh")
    from plain_ply import coloured, write_ply

    labels = np.array([5, 10, 255], "u1")  # chair, stairs, several objects in a voxel
    columns = coloured(np.eye(3), np.full((3, 3), 7), label=labels)
    write_ply(tmp_path / "Area_5/office_1.ply", **columns)
    dataset = open_dataset("s3dis", tmp_path, "test")
    (frame,) = dataset.sequences["Area_5/office_1"]
    assert frame.labels.tolist() == [dataset.label_set.names.index("chair"), 255, 255]
    np.testing.assert_array_equal(frame.points, np.eye(3))
    np.testing.assert_array_equal(frame.pose, np.eye(4))


def test_a_wrong_folder_is_refused_with_the_expected_files(tmp_path):
    (tmp_path / "Area_1").mkdir()
    with pytest.raises(DatasetError, match=r"expected Area_N/ROOM/Annotations .* contains Area_1"):
        open_dataset("s3dis", tmp_path)
