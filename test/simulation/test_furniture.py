# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from minkowski_perception.labels import LabelSet
from minkowski_perception.simulation import furniture
from minkowski_perception.simulation.people import person

LABELS = LabelSet.load("indoor8")
KINDS = {
    "table": ["table", "coffee_table", "desk"],
    "seat": ["chair", "office_chair", "stool", "sofa", "bench"],
    "cabinet": ["cupboard", "fridge", "shelf", "kitchen"],
    "other": ["carton", "plant", "floor_lamp", "bin_", "bag", "bed", "monitor", "books", "cup"],
}
BESIDE = {"shelf": "other", "kitchen": "table"}
"""The class of what lies on, or is a part of, some things."""


def names(mesh) -> set[str]:
    return {LABELS.names[label] for label in mesh.labels}


@pytest.mark.parametrize(("label", "kind"), [(k, v) for k, all_ in KINDS.items() for v in all_])
def test_things_stand_on_the_floor_and_are_of_their_class(label, kind):
    for seed in range(20):
        mesh = getattr(furniture, kind)(np.random.default_rng(seed))
        low, top = mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)
        assert -0.05 < low[2] < 0.06
        assert 0.0 < top[2] < 2.6
        assert (top - low)[:2].max() < 4.0
        assert label in names(mesh)
        assert names(mesh) <= {label, BESIDE.get(kind, label)}
        assert ((mesh.reflectances >= 0) & (mesh.reflectances <= 1)).all()
        for colours in (mesh.paints["colour"], mesh.paints["accent"]):
            assert ((colours >= 0) & (colours <= 1)).all()


def test_things_are_strewn_on_top_and_not_over_the_edge():
    for seed in range(20):
        rng = np.random.default_rng(seed)
        table = furniture.table(rng)
        laid = furniture.strewn(rng, table, 4)
        added = laid.vertices[len(table.vertices) :]
        if len(added):
            height = table.vertices[:, 2].max()
            assert added[:, 2].min() > height - 0.01
            middle = (added.min(axis=0) + added.max(axis=0))[:2] / 2
            half = np.abs(table.vertices[:, :2]).max(axis=0)
            assert (np.abs(middle) < half).all()


def test_people_stand_on_the_floor_and_are_as_tall_as_people():
    heights = []
    for seed in range(40):
        mesh = person(np.random.default_rng(seed), stride=0.4 * (seed % 3 - 1))
        assert names(mesh) == {"person"}
        assert abs(mesh.vertices[:, 2].min()) < 0.1
        heights.append(mesh.vertices[:, 2].max())
    assert 1.4 < min(heights) < 1.65
    assert 1.8 < max(heights) < 2.05


def test_who_sits_is_on_the_seat_with_the_feet_on_the_floor():
    for seed in range(20):
        mesh = person(np.random.default_rng(seed), seat=0.45)
        assert abs(mesh.vertices[:, 2].min()) < 0.05
        assert 1.0 < mesh.vertices[:, 2].max() < 1.65
        assert mesh.vertices[:, 0].max() > 0.35  # knees and feet are in front
