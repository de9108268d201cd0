# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

pytest.importorskip("open3d", exc_type=ImportError)

from minkowski_perception.lab.evaluation import EvaluationError
from minkowski_perception.lab.evaluation.simulated import held_out_drives, held_out_rooms
from minkowski_perception.lab.simulation.camera import get_camera
from minkowski_perception.lab.simulation.drive import HELD_OUT_SEED, simulate_drive
from minkowski_perception.lab.simulation.indoor import simulate_indoor
from minkowski_perception.lab.simulation.lidar import get_lidar
from minkowski_perception.labels import LabelSet

VLP16, D435 = get_lidar("vlp16"), get_camera("d435")


def test_drives_have_held_out_seeds_for_each_lidar():
    dataset = held_out_drives([VLP16, get_lidar("hdl64")], 2, 3)
    assert list(dataset.sequences) == [
        f"{lidar}_{HELD_OUT_SEED + i}" for lidar in ("vlp16", "hdl64") for i in range(2)
    ]
    drive = dataset.sequences[f"vlp16_{HELD_OUT_SEED + 1}"]
    assert len(drive) == 3

    expected = list(simulate_drive(HELD_OUT_SEED + 1, "vlp16", 3))
    for found in (list(drive), drive[0:3], [drive[0], drive[1], drive[-1]]):
        for frame, other in zip(found, expected, strict=True):
            np.testing.assert_array_equal(frame.points, other.points)
            np.testing.assert_array_equal(frame.labels, other.labels)
    assert expected[0].labels.max() < 256
    assert set(np.unique(expected[0].labels)) <= {*range(len(dataset.label_set)), 255}


def test_rooms_of_all_kinds_have_held_out_seeds_for_each_camera():
    dataset = held_out_rooms([get_camera("xtion_qvga")], 4, 1)
    kinds = ("room", "corridor", "hall", "room")
    assert list(dataset.sequences) == [
        f"xtion_qvga_{kind}_{HELD_OUT_SEED + i}" for i, kind in enumerate(kinds)
    ]
    (frame,) = dataset.sequences[f"xtion_qvga_corridor_{HELD_OUT_SEED + 1}"]
    (expected,) = simulate_indoor(HELD_OUT_SEED + 1, "xtion_qvga", 1, kind="corridor")
    np.testing.assert_array_equal(frame.points, expected.points)
    assert set(np.unique(frame.labels)) <= {*range(len(dataset.label_set)), 255}


def test_rooms_measured_by_lidars_have_outdoor_labels():
    dataset = held_out_rooms([VLP16], 1, 1)
    assert dataset.label_set.name == "semantickitti19"
    (frame,) = dataset.sequences[f"vlp16_room_{HELD_OUT_SEED}"]
    (own,) = simulate_indoor(HELD_OUT_SEED, VLP16, 1)
    names = np.array([*dataset.label_set.names, *[""] * 237])[frame.labels]
    of_rooms = np.array([*LabelSet.load("indoor8").names, *[""] * 248])[own.labels]
    pairs = {*zip(of_rooms.tolist(), names.tolist(), strict=True)}
    assert {("floor", "sidewalk"), ("wall", "building")} <= pairs
    assert pairs <= {
        ("floor", "sidewalk"),
        ("person", "person"),
        *((name, "building") for name in ("wall", "ceiling", "table", "seat", "cabinet", "other")),
    }
    with pytest.raises(EvaluationError, match="different label sets"):
        held_out_rooms([VLP16, D435], 1, 1)


def test_another_seed_gives_other_streets_and_rooms():
    assert list(held_out_drives([VLP16], 2, 1, 6000).sequences) == ["vlp16_6000", "vlp16_6001"]
    rooms = held_out_rooms([D435], 2, 1, 6000)
    assert list(rooms.sequences) == ["d435_room_6000", "d435_corridor_6001"]
    (frame,), (expected,) = rooms.sequences["d435_room_6000"], simulate_indoor(6000, "d435", 1)
    np.testing.assert_array_equal(frame.points, expected.points)


@pytest.mark.parametrize("held_out", [held_out_drives, held_out_rooms])
def test_seeds_that_models_are_trained_on_are_refused(held_out):
    sensor = VLP16 if held_out is held_out_drives else D435
    with pytest.raises(ValueError, match=f"{HELD_OUT_SEED} or more, not 3999"):
        held_out([sensor], 2, 1, 3999)
