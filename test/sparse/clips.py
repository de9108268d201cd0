# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""4D sparse tensors of clips: each a list of frames (voxels [M, 3], features [M, C])."""

import torch

from minkowski_perception.sparse import SparseTensor


def at_time(positions, time, batch=0):
    """Return the coordinates [M, 5] of voxels."""
    column = positions.new_ones(len(positions), 1)
    return torch.cat([batch * column, positions, time * column], dim=1)


def batch_of(clips):
    """Return all frames of all clips as one tensor."""
    coordinates = [
        at_time(positions, time, batch)
        for batch, clip in enumerate(clips)
        for time, (positions, _) in enumerate(clip)
    ]
    features = [features for clip in clips for _, features in clip]
    return SparseTensor(torch.cat(features), torch.cat(coordinates))
