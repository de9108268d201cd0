# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Checks that all random objects of streets pass."""

import numpy as np

from minkowski_perception.lab.simulation.surfaces import LABELS
from minkowski_perception.labels import UNLABELLED


def check_maker(maker, classes, seeds=40):
    """Check the meshes of a maker: classes, reflectances, and reproducibility by seed.

    Returns:
        [seeds, 3] extents and [seeds] heights of the tops, metres.
    """
    meshes = [maker(np.random.default_rng(seed)) for seed in range(seeds)]
    shapes = [mesh.vertices.tobytes() for mesh in meshes]
    assert shapes[0] == maker(np.random.default_rng(0)).vertices.tobytes()
    assert len(set(shapes)) > seeds / 2
    for mesh in meshes:
        known = {LABELS.names[label] for label in mesh.labels if label != UNLABELLED}
        assert known <= classes
        assert ((mesh.reflectances > 0) & (mesh.reflectances <= 8)).all()
        assert (mesh.scatter_depth >= 0).all()
        assert np.isfinite(mesh.vertices).all()
    drawn = np.concatenate([mesh.labels for mesh in meshes])
    assert {LABELS.names[label] for label in drawn if label != UNLABELLED} == classes
    extents = np.array([np.ptp(mesh.vertices, axis=0) for mesh in meshes])
    return extents, np.array([mesh.vertices[:, 2].max() for mesh in meshes])
