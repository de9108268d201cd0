# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Reference implementation of mean field with dictionaries, plain loops and float64.

It does not use minkowski_perception.
"""

import numpy as np


def softmax(scores):
    powers = np.exp(scores - scores.max())
    return powers / powers.sum()


def cell_of(voxel, sigma_space, chroma=(), sigma_chroma=1.0):
    """Return the node of a voxel (batch, x, y, z, t): cells in space and chroma, and time."""
    batch, *space, t = voxel
    steps = [int(np.floor(c / sigma_chroma)) for c in chroma]
    return (batch, *(int(np.floor(c / sigma_space)) for c in space), *steps, t)


def cross(axes, sigma_time, causal):
    """Return offsets along (x, y, z, chroma..., t): centre, then +1 and -1 along each axis."""
    offsets = [(0,) * axes]
    for axis in range(axes):
        step = sigma_time if axis == axes - 1 else 1
        for sign in (1, -1):
            if not (causal and axis == axes - 1 and sign == 1):
                offsets.append(tuple(sign * step if a == axis else 0 for a in range(axes)))
    return offsets


def mean_field(logits, cells, kernel, offsets, iterations, fixed=None):
    """Return refined scores [N, K] of the voxels, and the marginals {node: [K]}.

    Args:
        logits: [N, K].
        cells: N nodes, one per voxel.
        kernel: [V, K, K], one slice per offset.
        fixed: {node: [K]}, marginals that do not change.
    """
    unary = {}
    for cell, scores in zip(cells, logits, strict=True):
        unary.setdefault(cell, []).append(scores)
    unary = {cell: np.mean(scores, axis=0) for cell, scores in unary.items()}
    marginals = {cell: softmax(scores) for cell, scores in unary.items()}
    for _ in range(iterations):
        seen = {**(fixed or {}), **marginals}
        message = {}
        for cell in unary:
            message[cell] = np.zeros(logits.shape[1])
            for offset, matrix in zip(offsets, kernel, strict=True):
                near = (cell[0], *(c + o for c, o in zip(cell[1:], offset, strict=True)))
                if near in seen:
                    message[cell] += seen[near] @ matrix
        marginals = {cell: softmax(unary[cell] + message[cell]) for cell in unary}
    scores = [s + message[cell] for cell, s in zip(cells, logits, strict=True)]
    return np.array(scores).reshape(logits.shape), marginals


def sts_filter(logits, voxels, colours, kernel, iterations=10):
    """Return unnormalised scores [N, K] refined by the CRF of SpatioTemporalSegmentation.

    Args:
        logits: [N, K].
        voxels: N tuples (x, y, z), or (x, y, z, t) for its trilateral CRF.
        colours: [N, 3] integers, 0 to 255; its sigma is 12.
        kernel: [13 or 15, K, K]; centre, then +1 and -1 along x, y, z, red, green, blue(, t).
    """
    axes = len(voxels[0]) + 3
    offsets = [(0,) * axes]
    for axis in range(axes):
        offsets += [tuple(sign * (a == axis) for a in range(axes)) for sign in (1, -1)]
    lattice = [
        (*voxel[:3], *(int(c) // 12 for c in colour), *voxel[3:])
        for voxel, colour in zip(voxels, colours, strict=True)
    ]
    out = dict(zip(lattice, logits, strict=True))
    for _ in range(iterations):
        marginals = {cell: softmax(scores) for cell, scores in out.items()}
        for cell, scores in zip(lattice, logits, strict=True):
            out[cell] = scores.copy()
            for offset, matrix in zip(offsets, kernel, strict=True):
                near = tuple(c + o for c, o in zip(cell, offset, strict=True))
                if near in marginals:
                    out[cell] += marginals[near] @ matrix
    return np.array([out[cell] for cell in lattice])
