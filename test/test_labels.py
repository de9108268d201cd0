# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import dataclasses

import numpy as np
import pytest

from minkowski_perception.labels import UNLABELLED, UNLABELLED_COLOUR, LabelSet, LabelSetError
from minkowski_perception.schema import dump_yaml, parse_yaml


@pytest.mark.parametrize("name", LabelSet.available())
def test_every_label_set_of_the_package_loads_and_maps(name):
    labels = LabelSet.load(name)
    assert labels.name == name
    assert len(set(labels.colours)) == len(labels)
    for source in labels.sources:
        assert (labels.mapping_from(source) != UNLABELLED).any()


def test_semantickitti_has_the_order_of_its_benchmark():
    labels = LabelSet.load("semantickitti19")
    assert labels.names[0] == "car"
    assert labels.names.index("road") == 8
    assert labels.names[18] == "traffic-sign"
    raw = labels.mapping_from("semantickitti_raw")
    assert [raw[i] for i in (10, 252, 40, 60, 81, 0, 1, 52, 99)] == [0, 0, 8, 8, 18] + [255] * 4


def test_movable_classes_agree_between_sets():
    kitti, urban = LabelSet.load("semantickitti19"), LabelSet.load("urban10")
    assert kitti.movable_ids.tolist() == list(range(8))
    # A coarser class is movable if and only if all classes that map to it are.
    table = urban.mapping_from(kitti)
    assert set(table[kitti.movable_ids]) == set(urban.movable_ids)
    assert not set(table[8:19]) & set(urban.movable_ids)


OUTDOORS = ("nuscenes16", "nuscenes9", "pandaset12", "rellis9", "synthia12", "urban10")


@pytest.mark.parametrize("name", OUTDOORS)
def test_mappings_to_and_from_semantickitti_agree_up_to_groups(name):
    fine, own = LabelSet.load("semantickitti19"), LabelSet.load(name)
    there, back = fine.mapping_from(own), own.mapping_from(fine)
    mapped = np.flatnonzero(there[: len(own)] != UNLABELLED)
    assert len(mapped) >= 6
    # A bus maps to other-vehicle, and other-vehicle to bus: the classes differ, their groups not.
    groups = LabelSet.load("outdoor_groups7")
    np.testing.assert_array_equal(
        groups.mapping_from(own)[mapped], groups.mapping_from(fine)[there[mapped]]
    )
    np.testing.assert_array_equal(
        groups.mapping_from(own)[back[there[mapped]]], groups.mapping_from(own)[mapped]
    )


@pytest.mark.parametrize("name", ["semantickitti19", *OUTDOORS])
def test_groups_separate_movable_from_static_classes(name):
    groups, own = LabelSet.load("outdoor_groups7"), LabelSet.load(name)
    table = groups.mapping_from(own)[: len(own)]
    movable = np.isin(np.arange(len(own)), own.movable_ids)
    mapped = table != UNLABELLED
    np.testing.assert_array_equal(np.isin(table, groups.movable_ids)[mapped], movable[mapped])
    assert mapped[movable].all()


def test_the_palette_is_grey_for_labels_that_are_no_class():
    labels = LabelSet.load("urban10")
    assert tuple(labels.palette[7]) == labels.colours[7]
    assert tuple(labels.palette[10]) == UNLABELLED_COLOUR
    assert tuple(labels.palette[UNLABELLED]) == UNLABELLED_COLOUR


def test_labels_map_between_sets_by_class_name():
    fine, coarse = LabelSet.load("semantickitti19"), LabelSet.load("urban10")
    table = coarse.mapping_from(fine)
    assert coarse.names[table[fine.names.index("parking")]] == "road"
    assert coarse.names[table[fine.names.index("trunk")]] == "vegetation"
    assert table[UNLABELLED] == UNLABELLED
    assert np.array_equal(fine.mapping_from(fine)[:19], np.arange(19))


def test_an_unknown_set_is_refused_with_the_valid_ones():
    with pytest.raises(LabelSetError, match=r"unknown label set 'moon'; .*semantickitti19"):
        LabelSet.load("moon")


def test_sets_without_a_mapping_are_refused_with_the_available_ones():
    with pytest.raises(
        LabelSetError,
        match="no mapping from label set 'urban10' to 'scannet20'; available: scannet20, scann",
    ):
        LabelSet.load("scannet20").mapping_from("urban10")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: a\n", "classes: missing; valid keys: name, classes, movable, from"),
        ("name: a\nclasses: {car: [1, 2, 3]}\ncolors: 3\n", "colors: unknown key"),
        ("name: a\nclasses: {car: [1, 2, 3]}\nmoveable: [car]\n", "did you mean 'movable'"),
        ("name: ../a\nclasses: {car: [1, 2, 3]}\n", "name: must be a plain file name"),
        ("name: a\nclasses: {car: [1, 2, 3], car: [1, 2, 4]}\n", "key 'car' appears twice"),
        ("name: a\nclasses: {car: [1, 2, .nan]}\n", r"car\[2\]: must be an integer, not nan"),
        ("name: a\nclasses: {no: [1, 2, 3]}\n", "key classes.False: must be text"),
        ("name: a\nclasses: {car: [1, 2, 3]}\nfrom: {b: {-1: car}}\n", "-1: ids are 0 to 65535"),
        ("name: a\nclasses: {}\n", "there must be 1 to 255 classes, not 0"),
        ("name: a\nclasses: {car: [1, 2]}\n", r"classes.car: must be a list of 3, not \[1, 2\]"),
        ("name: a\nclasses: {car: [1, 2, 300]}\n", r"classes.car\[2\]: must be 0 to 255, not 300"),
        (
            "name: a\nclasses: {car: [1, 2, 3]}\nfrom: {b: {1: bus}}\n",
            "from.b.1: unknown class 'bus'",
        ),
        ("name: a\nclasses: {car: [1, 2, 3]}\nmovable: [bus]\n", "movable: unknown class 'bus'"),
        ("name: [", "is not plain YAML"),
    ],
)
def test_a_malformed_file_is_refused_and_named(tmp_path, text, message):
    path = tmp_path / "set.yaml"
    path.write_text(text)
    with pytest.raises(LabelSetError, match=rf"label set .*set\.yaml: .*{message}"):
        LabelSet.load(path)


def test_two_sets_of_one_name_with_other_classes_do_not_map():
    labels = LabelSet.load("indoor8")
    turned = dataclasses.replace(labels, names=labels.names[::-1])
    with pytest.raises(LabelSetError, match="two label sets of different classes are named 'ind"):
        labels.mapping_from(turned)


@pytest.mark.parametrize("name", LabelSet.available())
def test_a_set_comes_back_from_its_plain_content(name):
    labels = LabelSet.load(name)
    again = LabelSet.from_dict(parse_yaml(dump_yaml(labels.to_dict())))
    assert again == labels
    assert again.movable == labels.movable
    for source in labels.sources:
        np.testing.assert_array_equal(again.mapping_from(source), labels.mapping_from(source))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(LabelSetError, match=r"label set .*none\.yaml: cannot be read"):
        LabelSet.load(tmp_path / "none.yaml")
