# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from minkowski_perception.lab.simulation.meshes import (
    Material,
    Mesh,
    box,
    cylinder,
    ellipsoid,
    prism,
    relief,
    tube,
)

STONE = Material(3, 0.5)


def area(mesh: Mesh) -> float:
    a, b, c = (mesh.vertices[mesh.triangles[:, k]].astype(float) for k in range(3))
    return float(np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2)


def open_edges(mesh: Mesh) -> int:
    """Return the number of edges that are not shared by exactly two triangles."""
    corners = mesh.triangles
    edges = np.sort(np.concatenate([corners[:, [0, 1]], corners[:, [1, 2]], corners[:, [2, 0]]]))
    return int((np.unique(edges, axis=0, return_counts=True)[1] != 2).sum())


def test_a_box_has_the_given_extent_and_area():
    mesh = box(STONE, (1.0, 2.0, 3.0), (2.0, 4.0, 6.0))
    np.testing.assert_allclose(mesh.vertices.min(axis=0), (0.0, 0.0, 0.0))
    np.testing.assert_allclose(mesh.vertices.max(axis=0), (2.0, 4.0, 6.0))
    assert area(mesh) == pytest.approx(2 * (2 * 4 + 4 * 6 + 6 * 2))


@pytest.mark.parametrize("axis", [(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, -2, 3)])
def test_a_cylinder_of_many_sides_approaches_the_area_of_a_round_one(axis):
    end = 2.0 * np.array(axis) / np.linalg.norm(axis)
    mesh = cylinder(STONE, (0, 0, 0), end, 0.5, sides=64)
    assert area(mesh) == pytest.approx(2 * np.pi * 0.5 * 2.0 + 2 * np.pi * 0.25, rel=5e-3)


def test_an_ellipsoid_reaches_its_radii():
    mesh = ellipsoid(STONE, (0, 0, 0), (1.0, 2.0, 3.0))
    np.testing.assert_allclose(mesh.vertices.max(axis=0), (1.0, 2.0, 3.0), rtol=1e-6)
    assert np.abs(np.linalg.norm(mesh.vertices / (1.0, 2.0, 3.0), axis=1) - 1.0).max() < 1e-6


@pytest.mark.parametrize(
    "mesh",
    [
        box(STONE, (0, 0, 0), (1, 1, 1)),
        cylinder(STONE, (0, 0, 0), (0, 0, 1), 1.0, 0.2),
        prism(STONE, [(-1, 0), (0, 1), (1, 0)], 0.5),
    ],
    ids=["box", "cylinder", "prism"],
)
def test_solids_are_closed(mesh):
    assert open_edges(mesh) == 0


def test_a_merged_mesh_keeps_the_materials_of_its_parts():
    both = Mesh.merge(
        [
            tube(STONE, [(0, 0, 0), (1, 0, 0)], 0.1),
            box(Material(7, 0.2, 0.1), (5, 0, 0), (1, 1, 1)),
        ]
    )
    middles = both.vertices[both.triangles].mean(axis=1)
    assert set(both.labels[middles[:, 0] < 2]) == {3}
    assert set(both.labels[middles[:, 0] > 2]) == {7}
    np.testing.assert_allclose(both.reflectances[both.labels == 7], 0.2)
    np.testing.assert_allclose(both.scatter_depth, np.where(both.labels == 7, 0.1, 0.0), rtol=1e-6)


def test_merging_no_meshes_gives_an_empty_one():
    assert len(Mesh.merge([]).triangles) == 0


def test_a_mesh_turns_left_before_it_moves():
    mesh = box(STONE, (1.0, 0.0, 0.0), (0.0, 0.0, 0.0)).moved((10.0, 0.0, 5.0), np.pi / 2)
    np.testing.assert_allclose(mesh.vertices, [[10.0, 1.0, 5.0]] * 8, atol=1e-6)


def test_a_relief_has_walls_at_steps_only():
    level = np.array([[0.0, 0.3], [0.0, 0.3]])
    label = np.array([[1, 2], [1, 2]])
    flat = np.zeros((2, 2))
    mesh = relief(np.array([0.0, 1.0, 3.0]), np.array([0.0, 2.0, 4.0]), level, label, flat, flat)
    a, b, c = (mesh.vertices[mesh.triangles[:, k]] for k in range(3))
    upright = np.abs(np.cross(b - a, c - a)[:, 2]) < 1e-6
    assert area(mesh) == pytest.approx(3 * 4 + 3 * 0.3)
    assert upright.sum() == 4
    assert set(mesh.labels[upright]) == {2}
