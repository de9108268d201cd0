# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from minkowski_perception.labels import UNLABELLED, UNLABELLED_COLOUR, LabelSet, LabelSetError


@pytest.mark.parametrize("name", LabelSet.available())
def test_every_label_set_of_the_package_is_whole(name):
    labels = LabelSet.load(name)
    assert labels.name == name
    assert len(set(labels.colours)) == len(labels)
    for source in labels.sources:
        assert (labels.mapping_from(source) != UNLABELLED).any()


def test_semantickitti_is_in_the_order_of_its_benchmark():
    labels = LabelSet.load("semantickitti19")
    assert labels.names[0] == "car"
    assert labels.names.index("road") == 8
    assert labels.names[18] == "traffic-sign"
    raw = labels.mapping_from("semantickitti_raw")
    assert [raw[i] for i in (10, 252, 40, 60, 81, 0, 1, 52, 99)] == [0, 0, 8, 8, 18] + [255] * 4


def test_classes_that_can_move_are_told_from_the_ground_and_what_is_built_on_it():
    kitti, urban = LabelSet.load("semantickitti19"), LabelSet.load("urban10")
    assert kitti.movable_ids.tolist() == list(range(8))
    # A class is movable in the coarser set just where all that it takes in is.
    table = urban.mapping_from(kitti)
    assert set(table[kitti.movable_ids]) == set(urban.movable_ids)
    assert not set(table[8:19]) & set(urban.movable_ids)


OUTDOORS = ("nuscenes16", "nuscenes9", "pandaset12", "rellis9", "synthia12", "urban10")


@pytest.mark.parametrize("name", OUTDOORS)
def test_what_a_data_set_tells_both_ways_it_tells_alike(name):
    fine, own = LabelSet.load("semantickitti19"), LabelSet.load(name)
    there, back = fine.mapping_from(own), own.mapping_from(fine)
    told = np.flatnonzero(there[: len(own)] != UNLABELLED)
    assert len(told) >= 6
    # A bus, say, is an other vehicle, and an other vehicle may be called a bus, but no person.
    groups = LabelSet.load("outdoor_groups7")
    np.testing.assert_array_equal(
        groups.mapping_from(own)[told], groups.mapping_from(fine)[there[told]]
    )
    np.testing.assert_array_equal(
        groups.mapping_from(own)[back[there[told]]], groups.mapping_from(own)[told]
    )


@pytest.mark.parametrize("name", ["semantickitti19", *OUTDOORS])
def test_groups_keep_what_moves_apart_from_what_does_not(name):
    groups, own = LabelSet.load("outdoor_groups7"), LabelSet.load(name)
    table = groups.mapping_from(own)[: len(own)]
    movable = np.isin(np.arange(len(own)), own.movable_ids)
    told = table != UNLABELLED
    np.testing.assert_array_equal(np.isin(table, groups.movable_ids)[told], movable[told])
    assert told[movable].all()


def test_the_palette_gives_each_class_its_colour_and_grey_to_all_else():
    labels = LabelSet.load("urban10")
    assert tuple(labels.palette[7]) == labels.colours[7]
    assert tuple(labels.palette[10]) == UNLABELLED_COLOUR
    assert tuple(labels.palette[UNLABELLED]) == UNLABELLED_COLOUR


def test_one_set_s_labels_become_another_s_by_name():
    fine, coarse = LabelSet.load("semantickitti19"), LabelSet.load("urban10")
    table = coarse.mapping_from(fine)
    assert coarse.names[table[fine.names.index("parking")]] == "road"
    assert coarse.names[table[fine.names.index("trunk")]] == "vegetation"
    assert table[UNLABELLED] == UNLABELLED
    assert np.array_equal(fine.mapping_from(fine)[:19], np.arange(19))


def test_an_unknown_set_is_refused_with_the_valid_ones():
    with pytest.raises(LabelSetError, match=r"unknown label set 'moon'; .*semantickitti19"):
        LabelSet.load("moon")


def test_sets_that_do_not_map_are_refused_with_those_that_do():
    with pytest.raises(LabelSetError, match="of 'urban10' cannot be told in 'scannet20'"):
        LabelSet.load("scannet20").mapping_from("urban10")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: a\n", "classes"),
        ("name: a\nclasses: {}\n", "0 classes; 1 to 255"),
        ("name: a\nclasses: {car: [1, 2]}\n", "not enough values"),
        ("name: a\nclasses: {car: [1, 2, 300]}\n", "outside 0 to 255"),
        ("name: a\nclasses: {car: [1, 2, 3]}\nfrom: {b: {1: bus}}\n", "unknown classes .'bus'"),
        ("name: a\nclasses: {car: [1, 2, 3]}\nmovable: [bus]\n", "unknown classes .'bus'"),
        ("name: [", "malformed"),
    ],
)
def test_a_malformed_file_is_refused_and_named(tmp_path, text, message):
    path = tmp_path / "set.yaml"
    path.write_text(text)
    with pytest.raises(LabelSetError, match=f"set.yaml.*{message}|{message}"):
        LabelSet.load(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(LabelSetError, match=r"cannot read label set .*none\.yaml"):
        LabelSet.load(tmp_path / "none.yaml")
