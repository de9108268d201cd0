# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import gzip
import json
import pickle
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from minkowski_perception.lab.datasets.catalogue import DatasetError, open_dataset
from minkowski_perception.lab.datasets.pickled_table import read_table

STAMP = 1557539956.5
TURN = Rotation.from_euler("z", 90, degrees=True)
SENSOR = np.array([0, 1, 0, 0])
CLASSES = np.array([7, 13, 42, 41])
MOUNTS = {0: (0.0, 0.80, 1.85), 1: (0.0, 1.41, 1.55)}  # in the frame of the rear axle


@pytest.fixture
def write_table(monkeypatch):
    """Return a writer of pickles in the format of pandas 0.25 to 1.2, which PandaSet uses."""
    for path in ("", ".core", ".core.frame", ".core.internals", ".core.indexes"):
        monkeypatch.setitem(sys.modules, f"pandas{path}", ModuleType(f"pandas{path}"))
    for path in ("internals.managers", "indexes.base"):
        monkeypatch.setitem(sys.modules, f"pandas.core.{path}", ModuleType(path))

    def named(path, name, body):
        kind = type(name, (), {"__module__": f"pandas.core.{path}", **body})
        setattr(sys.modules[kind.__module__], name, kind)
        return kind

    def set_state(self, state):
        self.state = state

    stated = {"__init__": set_state, "__reduce__": lambda self: (type(self), (), self.state)}
    frame = named("frame", "DataFrame", stated)
    manager = named("internals.managers", "BlockManager", stated)
    new_index = named(
        "indexes.base", "_new_Index", {}
    )  # a function in pandas; only its name counts here
    index = named(
        "indexes.base",
        "Index",
        {
            "__init__": set_state,
            "__reduce__": lambda self: (new_index, (type(self), {"data": self.state})),
        },
    )

    def write(path, table, **extra):
        positions = {}
        for i, column in enumerate(table.values()):
            positions.setdefault(column.dtype, []).append(i)
        columns = list(table.values())
        blocks = [
            {"values": np.stack([columns[i] for i in p]), "mgr_locs": np.array(p)}
            for p in positions.values()
        ]
        axes = [index(np.array(list(n), object)) for n in (table, range(len(columns[0])))]
        state = (axes, None, None, {"0.14.1": {"axes": axes, "blocks": blocks}})
        path.parent.mkdir(parents=True, exist_ok=True)
        with gzip.open(path, "wb") as file:
            pickle.dump(frame({"_data": manager(state), "_typ": "dataframe", **extra}), file, 4)

    return write


@pytest.fixture
def original(tmp_path, write_table):
    """A sequence of two frames; the car is at (10, 20, 0) and looks along the world's -x."""
    folder = tmp_path / "002"
    axle = np.array([[0.0, 5.0, 0.0], [1.0, 9.0, 1.0], [2.0, 3.0, 0.0], [-4.0, 8.0, 3.0]])
    world = TURN.apply(axle) + np.array([10, 20, 0])
    for i in range(2):
        columns = dict(zip("xyz", world.T, strict=True))
        columns |= {"i": np.array([0.0, 255, 9, 8]), "t": STAMP + 0.1 * i + np.arange(4) / 100}
        write_table(folder / f"lidar/{i:02d}.pkl.gz", columns | {"d": SENSOR})
        write_table(folder / f"annotations/semseg/{i:02d}.pkl.gz", {"class": CLASSES})
    x, y, z, w = TURN.as_quat()
    pose = {"position": {"x": 10, "y": 20, "z": 0}, "heading": {"x": x, "y": y, "z": z, "w": w}}
    (folder / "lidar/poses.json").write_text(json.dumps([pose] * 2))
    (folder / "lidar/timestamps.json").write_text(json.dumps([STAMP, STAMP + 0.1]))
    return tmp_path


def test_each_lidar_is_a_sequence_in_its_own_frame(original):
    dataset = open_dataset("pandaset", original)
    assert {name: len(s) for name, s in dataset.sequences.items()} == {"002": 2, "002-gt": 2}
    spinning, ahead = dataset.sequences["002"][1], dataset.sequences["002-gt"][1]
    np.testing.assert_allclose(
        spinning.points, np.array([[0, 5, 0], [2, 3, 0], [-4, 8, 3]]) - MOUNTS[0], atol=1e-5
    )
    np.testing.assert_allclose(ahead.points, [[1, 9, 1]] - np.array(MOUNTS[1]), atol=1e-5)
    names = dataset.label_set.names
    assert [names[i] if i < 255 else None for i in spinning.labels] == ["road", None, "building"]
    assert [names[i] for i in ahead.labels] == ["car"]
    assert (ahead.intensity.max(), dataset.intensity_full_scale) == (255, 255)
    assert spinning.stamp == pytest.approx((STAMP + 0.1) * 1e9, abs=1e3)
    np.testing.assert_allclose(spinning.time, [0, 0.02, 0.03], atol=1e-6)


def test_poses_take_points_to_the_world(original):
    for sensor, frames in enumerate(open_dataset("pandaset", original).sequences.values()):
        frame = frames[0]
        world = frame.points @ frame.pose[:3, :3].T + frame.pose[:3, 3]
        table = read_table(original / "002/lidar/00.pkl.gz", ("x", "y", "z", "d"))
        expected = np.stack([table[a] for a in "xyz"], axis=1)[table["d"] == sensor]
        np.testing.assert_allclose(world, expected, atol=1e-5)


def test_a_split_is_one_lidar(original):
    assert list(open_dataset("pandaset", original, "pandar64").sequences) == ["002"]
    assert list(open_dataset("pandaset", original, "pandar_gt").sequences) == ["002-gt"]
    with pytest.raises(
        DatasetError, match="unknown split 'train'; choose one of pandar64, pandar"
    ):
        open_dataset("pandaset", original, "train")


def test_frames_without_annotations_have_no_labels(original):
    for file in (original / "002/annotations/semseg").iterdir():
        file.unlink()
    (original / "002/annotations/semseg").rmdir()
    assert open_dataset("pandaset", original).sequences["002"][0].labels is None


class Hostile:
    def __reduce__(self):
        return (print, ("code of a pickle runs",))


def test_code_in_a_pickle_is_refused_and_not_run(original, write_table, capsys):
    path = original / "002/lidar/00.pkl.gz"
    write_table(path, {"x": np.zeros(2)}, extra=Hostile())
    with pytest.raises(DatasetError, match=r"00\.pkl\.gz: it refers to builtins\.print, which"):
        open_dataset("pandaset", original).sequences["002"][0]
    assert capsys.readouterr().out == ""


class Address:
    """An array that interprets bytes as the address of an object."""

    def __reduce__(self):
        return (np.ndarray, ((1,), np.dtype(object), b"\x01" * 8))


def test_bytes_are_never_interpreted_as_objects(original, write_table, tmp_path):
    path = original / "002/lidar/00.pkl.gz"
    write_table(path, {"x": np.zeros(2)}, extra=Address())
    with pytest.raises(DatasetError, match=r"00\.pkl\.gz: .*_Kind"):
        open_dataset("pandaset", original).sequences["002"][0]


def test_missing_or_damaged_files_are_named_in_the_error(original, write_table, tmp_path):
    frames = open_dataset("pandaset", original).sequences["002"]
    folder = original / "002"
    write_table(folder / "annotations/semseg/00.pkl.gz", {"class": CLASSES[:3]})
    with pytest.raises(DatasetError, match=r"semseg/00\.pkl\.gz has 3 points, but the scan has 4"):
        frames[0]
    (folder / "annotations/semseg/01.pkl.gz").unlink()
    with pytest.raises(DatasetError, match=r"no .*semseg/01\.pkl\.gz: .* contains 00\.pkl\.gz"):
        frames[1]
    write_table(folder / "lidar/00.pkl.gz", {"x": np.zeros(2)})
    with pytest.raises(DatasetError, match=r"00\.pkl\.gz has no column y; its columns are \['x'"):
        frames[0]
    (folder / "lidar/00.pkl.gz").write_bytes(b"nothing")
    with pytest.raises(DatasetError, match=r"cannot read .*00\.pkl\.gz: Not a gzipped file"):
        frames[0]
    (folder / "lidar/timestamps.json").write_text("[1.0]")
    with pytest.raises(DatasetError, match=r"timestamps\.json has 1 entries for 2 scans"):
        open_dataset("pandaset", original)
    (folder / "lidar/poses.json").write_text('[{"position": {}}, {}]')
    with pytest.raises(DatasetError, match=r"poses\.json: malformed pose"):
        open_dataset("pandaset", original)


def test_a_wrong_folder_is_refused_with_both_layouts(tmp_path):
    (tmp_path / "camera").mkdir()
    with pytest.raises(DatasetError, match=r"bin or S/lidar/NN\.pkl\.gz, but .* camera"):
        open_dataset("pandaset", tmp_path)


def test_a_table_written_by_pandas_0_25_is_read():
    # pandas.DataFrame({"x": ..., "d": ..., "y": ..., "class": ...}).to_pickle(...)
    golden = Path(__file__).parent / "golden" / "pandas-0.25.pkl.gz"
    table = read_table(golden, ("class", "x", "y", "d"))
    assert {name: column.tolist() for name, column in table.items()} == {
        "class": ["7", "13", "42"],
        "x": [0.5, -1.0, 2.0],
        "y": [3.0, 4.0, 5.5],
        "d": [0, 1, 0],
    }


def test_classes_can_be_strings_of_digits(original, write_table):
    path = original / "002/annotations/semseg/00.pkl.gz"
    write_table(path, {"class": np.array(["7", "13", "42", "41"], object)})
    frames = open_dataset("pandaset", original).sequences["002-gt"]
    assert frames[0].labels.tolist() == frames[1].labels.tolist()
    write_table(path, {"class": np.array(["7", "13", "42", "house"], object)})
    with pytest.raises(DatasetError, match=r"00\.pkl\.gz: a class is not a number: .*house"):
        frames[0]


def test_tables_of_a_later_pandas_are_read(tmp_path):
    pandas = pytest.importorskip("pandas", reason="writes the table to read")
    if int(pandas.__version__.partition(".")[0]) > 2:
        pytest.skip("pandas 3 pickles column names as a new type")
    table = {"x": np.arange(3.0), "d": np.arange(3), "y": np.ones(3)}
    pandas.DataFrame(table).to_pickle(tmp_path / "table.pkl.gz")
    read = read_table(tmp_path / "table.pkl.gz", ("y", "x", "d"))
    for name, column in read.items():
        np.testing.assert_array_equal(column, table[name])


def test_real_beams_rise_from_minus_25_to_15_degrees_about_the_lidar(shared_data):
    dataset = open_dataset("pandaset", shared_data / "pandaset")
    assert {name: len(s) for name, s in dataset.sequences.items()} == {"002": 4, "002-gt": 4}
    points = dataset.sequences["002"][0].points
    assert len(points) > 100_000
    far = points[np.linalg.norm(points, axis=1) > 2.5]
    elevation = np.degrees(np.arctan2(far[:, 2], np.linalg.norm(far[:, :2], axis=1)))
    assert np.percentile(elevation, [0.1, 99.9]) == pytest.approx([-25, 15], abs=2)
    frame = dataset.sequences["002-gt"][0]
    assert np.percentile(frame.points[:, 1], 1) > 0  # the PandarGT looks forward
