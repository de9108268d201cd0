# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from minkowski_perception.frame import Frame
from minkowski_perception.objects import MovingObjects, connected_objects


def test_points_of_a_class_in_touching_cells_are_an_object():
    points = np.array([[0.1, 0, 0], [0.6, 0, 0], [1.1, 0.6, 0], [0.6, 0, 0], [3, 0, 0]])
    objects = connected_objects(points, np.array([1, 1, 1, 2, 1]))
    assert objects[0] == objects[1] == objects[2]
    assert len(np.unique(objects)) == 3
    assert connected_objects(points[:0], np.zeros(0, int)).shape == (0,)


def frame(number, *places, skipped=0.0):
    """A frame of blocks of points of class 1 that move, and a wall that does not."""
    block = np.stack(np.meshgrid(*[np.arange(4) * 0.2] * 3), axis=-1).reshape(-1, 3)
    wall = block + np.array([0.0, 30.0, 0.0])
    points = np.concatenate([block + place for place in places] + [wall])
    moving = np.arange(len(points)) < len(block) * len(places)
    return Frame(
        points,
        stamp=round((number * 0.1 + skipped) * 1e9) + 1,
        labels=np.where(moving, 1, 2).astype(np.uint8),
        moving=moving,
        pose=np.eye(4),
    )


def test_moving_objects_are_followed_at_their_speed():
    follower = MovingObjects()
    for i in range(8):
        places = [[0.2 * i, 0.0, 0.0], [0.0, 10.0 - 0.8 * i, 0.0]]
        objects, speeds = follower.update(frame(i, *places))
        assert objects.tolist() == [0] * 64 + [1] * 64 + [-1] * 64
        if i:
            expected = np.repeat([2.0, 8.0, np.nan], 64)
            assert speeds == pytest.approx(expected, rel=1e-3, nan_ok=True)
        else:
            assert np.isnan(speeds).all()


def test_a_hidden_object_and_one_after_a_gap_are_new():
    follower = MovingObjects()
    place, other = [0.0, 0.0, 0.0], [20.0, 0.0, 0.0]
    numbers = [
        set(follower.update(each)[0][:64].tolist())
        for each in (
            frame(0, place),
            frame(1, place),
            frame(2, other),
            frame(3, place),
            frame(4, place, skipped=5.0),
        )
    ]
    assert numbers == [{0}, {0}, {1}, {2}, {3}]
