# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Reference implementation of sparse convolution with dictionaries and plain loops."""

import itertools

import torch


def offsets_of(kind, sizes, time_axis=None):
    """Return the offsets of a region as a set."""
    reach = [range(s) if s % 2 == 0 else range(-(s // 2), s // 2 + 1) for s in sizes]
    box = set(itertools.product(*reach))
    if kind == "cube":
        return box
    if kind == "cross":
        return {o for o in box if sum(step != 0 for step in o) <= 1}
    space = {o for o in box if o[time_axis] == 0}
    return space | {o for o in box if not any(s for a, s in enumerate(o) if a != time_axis)}


def coarse(coordinate, stride):
    """Return the coarser voxel that contains the coordinate [batch, ...]."""
    return (coordinate[0], *(c // s * s for c, s in zip(coordinate[1:], stride, strict=True)))


def kernel_map(source, target, offsets, step):
    """Return pairs (input voxel, output voxel) per offset: input = output + offset * step."""
    voxels = set(source)
    found = []
    for offset in offsets:
        moves = (0, *(o * s for o, s in zip(offset, step, strict=True)))
        near = [(tuple(a + b for a, b in zip(c, moves, strict=True)), c) for c in target]
        found.append([(i, o) for i, o in near if i in voxels])
    return found


def convolve(features, coordinates, weight, offsets, stride, in_stride, dilation=1):
    """Return {coordinate: features}: out[u] = sum over k of in[u + offset_k] @ weight[k]."""
    source = {tuple(c): f for c, f in zip(coordinates.tolist(), features, strict=True)}
    out_stride = [a * b for a, b in zip(in_stride, stride, strict=True)]
    result = {}
    for target in {coarse(c, out_stride) for c in source}:
        total = torch.zeros(weight.shape[2], dtype=features.dtype)
        for k, offset in enumerate(offsets):
            steps = (o * s * dilation for o, s in zip(offset, in_stride, strict=True))
            near = (target[0], *(c + s for c, s in zip(target[1:], steps, strict=True)))
            if near in source:
                total = total + source[near] @ weight[k]
        result[target] = total
    return result


def convolve_transposed(features, coordinates, weight, offsets, fine, fine_stride):
    """Return {coordinate: features} of fine voxels: out[c + offset_k] += in[c] @ weight[k]."""
    result = {tuple(c): torch.zeros(weight.shape[2], dtype=features.dtype) for c in fine.tolist()}
    for c, f in zip(coordinates.tolist(), features, strict=True):
        for k, offset in enumerate(offsets):
            steps = (o * s for o, s in zip(offset, fine_stride, strict=True))
            reached = (c[0], *(a + s for a, s in zip(c[1:], steps, strict=True)))
            if reached in result:
                result[reached] = result[reached] + f @ weight[k]
    return result
