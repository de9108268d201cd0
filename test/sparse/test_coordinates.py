# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import torch

from minkowski_perception.sparse import CoordinateMap, KeyLayout, RecentVoxels

LAYOUT = KeyLayout.for_dimension(3)


def voxels(positions):
    coordinates = torch.tensor([(0, *position) for position in sorted(positions)]).reshape(-1, 4)
    return CoordinateMap(LAYOUT.pack(coordinates), LAYOUT, (1, 1, 1))


def test_recent_voxels_have_their_last_frame_and_at_most_the_recalled_age():
    draw, recall = np.random.default_rng(0), 3
    frames = [set(map(tuple, draw.integers(0, 3, (8, 3)).tolist())) for _ in range(9)]
    recent, known = RecentVoxels.of(voxels(frames[0]), torch.int16), sorted(frames[0])
    for now in range(1, len(frames)):
        before = known
        recent, rows = recent.updated(voxels(frames[now]), recall)
        both = [*sorted(frames[now]), *before]
        known = [both[row] for row in rows.tolist()]
        last = {p: i for i, frame in enumerate(frames[: now + 1]) for p in frame}
        ages = {p: now - i + 1 for p, i in last.items() if now - i < recall}
        assert dict(zip(known, recent.age.tolist(), strict=True)) == ages
        assert known == [tuple(p) for p in recent.map.coordinates[:, 1:].tolist()] == sorted(ages)
        # Rows of older frames are voxels that the newer frame does not have.
        assert all(
            p not in frames[now] for p, r in zip(known, rows, strict=True) if r >= len(frames[now])
        )
        assert recent.age.dtype == torch.int16


def test_voxels_shifted_out_of_the_key_range_are_dropped():
    most = LAYOUT.limits[1][1]
    recent = RecentVoxels(
        voxels([(0, 0, 0), (most, 0, 0), (most - 2, 1, 1)]), torch.tensor([1, 2, 3])
    )
    moved, rows = recent.shifted(torch.tensor([2, -5, 0]))
    assert moved.map.coordinates.tolist() == [[0, 2, -5, 0], [0, most, -4, 1]]
    assert moved.age.tolist() == [1, 2]
    assert rows.tolist() == [0, 1]
