# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from minkowski_perception.lab.simulation import furniture, materials
from minkowski_perception.lab.simulation.people import person
from minkowski_perception.labels import LabelSet

LABELS = LabelSet.load("indoor8")
KINDS = {
    "table": ["table", "coffee_table", "desk"],
    "seat": ["chair", "office_chair", "stool", "sofa", "bench"],
    "cabinet": ["cupboard", "fridge", "shelf", "kitchen"],
    "other": ["carton", "plant", "floor_lamp", "bin_", "bag", "bed", "monitor", "books", "cup"],
}
SECOND_CLASS = {"kitchen": "table"}
"""Second class of furniture that has parts of two classes."""


def names(mesh) -> set[str]:
    return {LABELS.names[label] for label in mesh.labels}


@pytest.mark.parametrize(("label", "kind"), [(k, v) for k, all_ in KINDS.items() for v in all_])
def test_furniture_stands_on_the_floor_and_has_its_class(label, kind):
    for seed in range(20):
        mesh = getattr(furniture, kind)(np.random.default_rng(seed))
        low, top = mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)
        assert -0.05 < low[2] < 0.06
        assert 0.0 < top[2] < 2.6
        assert (top - low)[:2].max() < 4.0
        assert label in names(mesh)
        assert names(mesh) <= {label, SECOND_CLASS.get(kind, label)}
        assert ((mesh.reflectances >= 0) & (mesh.reflectances <= 1)).all()
        for colours in (mesh.paints["colour"], mesh.paints["accent"]):
            assert ((colours >= 0) & (colours <= 1)).all()


def test_tabletop_objects_stay_within_the_table():
    for seed in range(20):
        rng = np.random.default_rng(seed)
        table = furniture.table(rng)
        laid = furniture.with_tabletop_objects(rng, table, 4)
        added = laid.vertices[len(table.vertices) :]
        if len(added):
            height = table.vertices[:, 2].max()
            assert added[:, 2].min() > height - 0.01
            middle = (added.min(axis=0) + added.max(axis=0))[:2] / 2
            half = np.abs(table.vertices[:, :2]).max(axis=0)
            assert (np.abs(middle) < half).all()


@pytest.mark.parametrize("kind", ["cupboard", "kitchen", "fridge"])
def test_gaps_between_doors_are_darker_than_the_rest_of_a_cabinet(kind):
    for seed in range(20):
        mesh = getattr(furniture, kind)(np.random.default_rng(seed))
        # Sheets of this thickness are behind the fronts and visible in the gaps.
        corners = mesh.vertices[mesh.triangles].reshape(-1, 12, 3, 3)  # boxes, 12 triangles each
        deep = np.ptp(corners[..., 1], axis=(1, 2))
        values = mesh.paints["colour"].max(axis=1).reshape(-1, 12)[:, 0]
        gaps = np.abs(deep - 0.004) < 1e-5
        assert gaps.any()
        assert values[gaps].max() < 0.5 * values[~gaps].max()


def test_cupboards_reach_the_floor():
    for seed in range(40):
        mesh = furniture.cupboard(np.random.default_rng(seed))
        assert mesh.vertices[:, 2].min() < 0.001


def test_shelves_and_their_contents_are_labelled_cabinet():
    for seed in range(20):
        assert names(furniture.shelf(np.random.default_rng(seed))) == {"cabinet"}


def test_a_radiator_is_in_front_of_its_wall_and_its_pipe_reaches_the_floor():
    for seed in range(20):
        rng = np.random.default_rng(seed)
        mesh = furniture.radiator(rng, materials.lacquer(rng, "other"), 0.8)
        low, top = mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)
        assert names(mesh) == {"other"}
        assert -0.12 < low[1] < top[1] < 0.0
        assert low[2] == pytest.approx(0.0, abs=0.01)
        assert 0.6 < top[2] < 0.7


def test_a_derived_generator_does_not_advance_its_parent():
    with_details, without = (np.random.default_rng(3) for _ in range(2))
    details = materials.derived_rng(with_details)
    drawn = details.random(8)
    np.testing.assert_array_equal(with_details.random(8), after := without.random(8))
    assert not np.isin(drawn, after).any()


def test_people_stand_on_the_floor_and_have_plausible_heights():
    heights = []
    for seed in range(40):
        mesh = person(np.random.default_rng(seed), stride=0.4 * (seed % 3 - 1))
        assert names(mesh) == {"person"}
        assert abs(mesh.vertices[:, 2].min()) < 0.1
        heights.append(mesh.vertices[:, 2].max())
    assert 1.4 < min(heights) < 1.65
    assert 1.8 < max(heights) < 2.05


def test_a_sitting_person_has_the_feet_on_the_floor_in_front():
    for seed in range(20):
        mesh = person(np.random.default_rng(seed), seat=0.45)
        assert abs(mesh.vertices[:, 2].min()) < 0.05
        assert 1.0 < mesh.vertices[:, 2].max() < 1.65
        assert mesh.vertices[:, 0].max() > 0.35  # knees and feet are in front
