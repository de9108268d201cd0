# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Data sets of a recipe that are missing, wrong or unlike its model, found before the training."""

import re

import numpy as np
import pytest
import yaml
from small_recipes import small_recipe, write_sequences

from minkowski_perception.lab.training.data_checks import check_sets
from minkowski_perception.lab.training.loop import train
from minkowski_perception.lab.training.recipe import Recipe, RecipeError


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    write_sequences(root)
    return root


def checked(recipe):
    return check_sets(Recipe.from_dict(recipe))


def own_classes(folder, ids):
    """Return the path of a label set with classes of these ids."""
    classes = {f"class{id}": [id, 0, 0] for id in ids}
    content = {
        "name": "own",
        "classes": classes,
        "from": {"semantickitti_raw": {id: f"class{id}" for id in ids}},
    }
    path = folder / "own.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def with_classes(recipe, labels, count):
    heads = {"classes": count}
    return {**recipe, "labels": str(labels), "network": {**recipe["network"], "heads": heads}}


def test_data_sets_that_suit_the_recipe_pass_without_a_word(root):
    assert checked(small_recipe(root)) == []


@pytest.mark.parametrize("key", ["sets", "held_out_sets"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"root": "nowhere"},
            "no data set 'semantickitti' found: expected sequences/S/velodyne/*.bin, but nowhere "
            "does not exist; correct root or split, or pass --root semantickitti=DIR",
        ),
        ({"split": "training"}, "unknown split 'training'; choose one of train, val, test"),
        ({"split": "test"}, "but found only 00, 08"),
        ({"name": "kitti"}, "unknown data set 'kitti'; choose one of semantickitti,"),
    ],
)
def test_a_wrong_root_split_or_name_is_refused_by_its_place(root, key, change, message):
    recipe = small_recipe(root)
    recipe["data"][key] = [{**recipe["data"][key][0], **change}]
    with pytest.raises(RecipeError, match=rf"recipe\.data\.{key}\[0\]: .*{re.escape(message)}"):
        checked(recipe)


def test_data_without_labels_are_refused(tmp_path):
    write_sequences(tmp_path)
    for file in (tmp_path / "sequences" / "08" / "labels").iterdir():
        file.unlink()
    with pytest.raises(RecipeError, match=r"held_out_sets\[0\].* has no labels; expected seq"):
        checked(small_recipe(tmp_path))


def test_ids_of_no_class_are_named_with_their_share(root, tmp_path):
    labels = own_classes(tmp_path, (10, 40, 50, 70))  # the data have 30 too
    warnings = checked(with_classes(small_recipe(root), labels, 4))
    assert len(warnings) == 2
    match = re.search(r"ids 30 \((\d+\.\d)%\) without a class of 'own'.* from\.sem", warnings[0])
    raw = [np.fromfile(f, "<u4") for f in root.glob("sequences/00/labels/*.label")]
    assert float(match[1]) == pytest.approx(100 * np.mean(np.concatenate(raw) == 30), abs=0.06)


def test_data_whose_ids_are_of_no_class_at_all_are_refused(root, tmp_path):
    labels = own_classes(tmp_path, (1, 2))
    with pytest.raises(RecipeError, match=r"no point of \d frames .* 'own'; they have ids"):
        checked(with_classes(small_recipe(root), labels, 2))


def test_a_field_that_the_network_needs_and_the_clouds_lack_is_named(root):
    recipe = small_recipe(root, input={"voxel_size": 0.5, "features": ["one", "red"]})
    with pytest.raises(RecipeError, match=r"data\.sets\[0\]: .*: the model needs colour, but"):
        checked(recipe)


def test_a_training_checks_the_data_of_all_stages_before_the_first_step(root, tmp_path):
    wrong = {"held_out_sets": [{"name": "semantickitti", "root": "nowhere"}]}
    stages = [{"name": "one"}, {"name": "two", "data": wrong}]
    with pytest.raises(RecipeError, match="nowhere does not exist"):
        train(small_recipe(root, stages=stages), tmp_path / "out", "cpu", workers=0)
    assert not (tmp_path / "out").exists()


def test_warnings_are_printed_once_at_the_start(root, tmp_path, capsys):
    labels = own_classes(tmp_path, (10, 40, 50, 70))
    recipe = with_classes(small_recipe(root), labels, 4)
    recipe["optimization"] |= {"iterations": 1}
    train(recipe, tmp_path / "out", "cpu", workers=0)
    printed = capsys.readouterr().err
    assert printed.count("warning: semantickitti in") == 2  # once for each split
    assert printed.index("warning:") < printed.index("training")
