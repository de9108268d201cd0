# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
from collections import defaultdict

import numpy as np
import pytest

from minkowski_perception.lab.adaptation import places
from minkowski_perception.lab.adaptation.places import Places, place_keys

CLASSES = 3


def random_frames(rng, count=8, voxels=60):
    """Yield voxels [N, 3], each once in a frame, probabilities and ranges."""
    for _ in range(count):
        cells = np.unique(rng.integers(-3, 3, (voxels, 3)), axis=0)
        probabilities = rng.dirichlet(np.ones(CLASSES), len(cells)).astype(np.float32)
        yield cells, probabilities, rng.uniform(0.0, 60.0, len(cells))


@pytest.mark.parametrize("most_pending", [1, 100, 10**6])
def test_evidence_is_that_of_dictionaries_over_all_frames(monkeypatch, most_pending):
    monkeypatch.setattr(places, "_MOST_PENDING", most_pending)
    rng = np.random.default_rng(0)
    found = Places(CLASSES)
    sums: dict[tuple[int, ...], list[float]] = defaultdict(lambda: [0.0] * CLASSES)
    weights: dict[tuple[int, ...], float] = defaultdict(float)
    frames: dict[tuple[int, ...], int] = defaultdict(int)
    for cells, probabilities, ranges in random_frames(rng):
        found.add(place_keys(cells), probabilities, ranges)
        for cell, row, distance in zip(cells.tolist(), probabilities, ranges, strict=True):
            weight = 1.0 / (1.0 + (distance / 15.0) ** 2)
            for k in range(CLASSES):
                sums[tuple(cell)][k] += weight * float(row[k])
            weights[tuple(cell)] += weight
            frames[tuple(cell)] += 1

    known = np.array(sorted(sums))
    evidence = found.evidence(place_keys(known))

    means = [[value / weights[cell] for value in sums[cell]] for cell in sorted(sums)]
    assert evidence.labels.tolist() == [max(range(CLASSES), key=row.__getitem__) for row in means]
    assert evidence.confidence == pytest.approx([max(row) for row in means], rel=1e-5)
    assert evidence.frames.tolist() == [frames[cell] for cell in sorted(sums)]


def test_what_is_seen_near_outweighs_what_was_seen_far_away():
    found = Places(2)
    key = place_keys(np.array([[5, -2, 0]]))
    for _ in range(3):
        found.add(key, np.array([[0.8, 0.2]], np.float32), np.array([60.0]))
    found.add(key, np.array([[0.1, 0.9]], np.float32), np.array([5.0]))

    assert found.evidence(key).labels.tolist() == [1]


def test_a_place_that_no_frame_saw_has_no_evidence():
    found = Places(2)
    there, elsewhere = place_keys(np.array([[0, 0, 0], [0, 0, 1]]))
    assert found.evidence(np.array([there])).frames.tolist() == [0]
    found.add(np.array([there]), np.array([[0.8, 0.2]], np.float32), np.array([1.0]))

    evidence = found.evidence(np.array([elsewhere, there]))

    assert evidence.frames.tolist() == [0, 1]
    assert evidence.confidence == pytest.approx([0.0, 0.8])


def test_places_have_keys_of_their_own():
    axis = np.array([-(2**20), -1, 0, 1, 2**20 - 1])
    voxels = np.stack(np.meshgrid(axis, axis, axis), axis=-1).reshape(-1, 3)

    assert len(np.unique(place_keys(voxels))) == len(voxels)
