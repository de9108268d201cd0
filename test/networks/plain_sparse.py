# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Reference implementation of sparse operations, for tests of networks and conversions.

It does not use minkowski_perception. Voxels are unique int64 coordinates [N, D] of one cloud,
without a batch column, in units of the finest grid at every stride. Features are float64 tensors
[N, C] in the same order. Kernels are [K, Cin, Cout]; slot k belongs to the k-th offset of
`offsets`. Kernels are not flipped, as in all libraries of this family: out[u] = sum over k of
in[u + offset_k * spacing] @ kernel[k].
"""

import itertools

import torch

ORDERS = ("first-axis", "last-axis", "hybrid")


def offsets(order, sizes):
    """Return the offsets of a region with a size per axis, as a list of one tuple per slot.

    "first-axis": all offsets of the box, the first axis changing fastest (MinkowskiEngine's
        cubes of odd size in every version, and of even size since 0.3.2; torchsparse's kernels of
        odd volume).
    "last-axis": the same box, the last axis changing fastest (even kernels of MinkowskiEngine up
        to 0.3.1 and of torchsparse; every kernel of spconv).
    "hybrid": MinkowskiEngine's HYBRID up to 0.4.3 for 3 or 4 axes of odd size. It starts with the
        centre. For each spatial axis it repeats all offsets so far with each other value of that
        axis. The steps along the time axis are last.

    An even size n has steps 0 to n - 1; an odd size n has steps -(n // 2) to n // 2.
    """
    steps = [range(-(n // 2), n // 2 + 1) if n % 2 else range(n) for n in sizes]
    if order == "first-axis":
        return [o[::-1] for o in itertools.product(*reversed(steps))]
    if order == "last-axis":
        return list(itertools.product(*steps))
    if order != "hybrid":
        raise ValueError(f"unknown order {order!r}; one of {', '.join(ORDERS)}")
    found = [(0,) * len(sizes)]
    for axis in range(3):
        found += [(*o[:axis], s, *o[axis + 1 :]) for o in found for s in steps[axis] if s]
    if len(sizes) == 4:
        found += [(0, 0, 0, s) for s in steps[3] if s]
    return found


def matches(source, target, offset, spacing):
    """Return rows (of source, of target) with source = target + offset * spacing per axis."""
    row_of = {voxel: row for row, voxel in enumerate(map(tuple, source.tolist()))}
    neighbours = target + torch.tensor(offset) * torch.tensor(spacing)
    pairs = [(row_of.get(voxel), row) for row, voxel in enumerate(map(tuple, neighbours.tolist()))]
    found = torch.tensor([p for p in pairs if p[0] is not None], dtype=torch.int64)
    return found.reshape(-1, 2).unbind(1)


def convolve(features, source, target, kernel, offsets, spacing):
    """Return features [M, Cout] on target; `spacing` is that of source, with [N, Cin]."""
    result = features.new_zeros(len(target), kernel.shape[2])
    for weight, offset in zip(kernel, offsets, strict=True):
        inputs, outputs = matches(source, target, offset, spacing)
        result.index_add_(0, outputs, features[inputs] @ weight)
    return result


def convolve_transposed(features, coarse, fine, kernel, offsets, spacing):
    """Return features [M, Cout] on the fine voxels; `spacing` is that of the fine voxels.

    out[c + offset_k * spacing] += in[c] @ kernel[k]: the slots have the same offsets as in the
    strided convolution.
    """
    result = features.new_zeros(len(fine), kernel.shape[2])
    for weight, offset in zip(kernel, offsets, strict=True):
        outputs, inputs = matches(fine, coarse, offset, spacing)
        result.index_add_(0, outputs, features[inputs] @ weight)
    return result


def coarsen(voxels, spacing, cells=None):
    """Return the voxels of a coarser spacing (per axis) that contain the given ones, sorted.

    `cells` is the number of coarse voxels of the grid per axis; voxels beyond it are dropped, as
    in spconv for odd extents.
    """
    step = torch.tensor(spacing)
    index = torch.div(voxels, step, rounding_mode="floor")
    if cells is not None:
        index = index[(index < torch.tensor(cells)).all(1)]
    return torch.unique(index, dim=0) * step


def batch_norm(features, state, prefix, eps=1e-5):
    """Apply the batch norm with the tensors at `prefix` (without a trailing dot), as in eval."""
    mean, variance, weight, bias = (
        state[f"{prefix}.{name}"].double()
        for name in ("running_mean", "running_var", "weight", "bias")
    )
    return (features - mean) / (variance + eps).sqrt() * weight + bias


def devoxelise(features, voxels, points, spacing):
    """Interpolate features [M, C] at integer points [M, 3] of the finest grid, as torchsparse.

    The interpolation is trilinear between the 8 voxel origins (spacing: one int) around a point.
    Missing corners are dropped; the other weights are divided by (their sum + 1e-8).
    """
    corner = torch.div(points, spacing, rounding_mode="floor") * spacing
    part = (points - corner).double() / spacing
    result = features.new_zeros(len(points), features.shape[1])
    total = features.new_zeros(len(points))
    for offset in itertools.product((0, 1), repeat=3):
        weight = torch.where(torch.tensor(offset) == 1, part, 1 - part).prod(1)
        inputs, outputs = matches(voxels, corner, offset, [spacing] * 3)
        result.index_add_(0, outputs, features[inputs] * weight[outputs, None])
        total.index_add_(0, outputs, weight[outputs])
    return result / (total + 1e-8)[:, None]


def voxelise(features, points, voxels, spacing):
    """Average features [M, C] of integer points [M, 3] in each voxel; empty voxels are zero."""
    corner = torch.div(points, spacing, rounding_mode="floor") * spacing
    inputs, outputs = matches(voxels, corner, (0, 0, 0), [spacing] * 3)
    result = features.new_zeros(len(voxels), features.shape[1])
    result.index_add_(0, inputs, features[outputs])
    count = torch.bincount(inputs, minlength=len(voxels)).clamp(min=1)
    return result / count[:, None]


class Levels:
    """Voxels of a U-Net at each stride, and convolutions between them.

    Each level halves the resolution along the first three axes of `voxels` [N, D], but not along
    time. With `clip`, extents follow spconv: the largest coordinate + 1, halved and rounded down
    at each level, so voxels in the last plane of an odd extent have no parent.
    """

    def __init__(self, voxels, depth=4, clip=False):
        axes = voxels.shape[1]
        self.voxels, self.spacings = [voxels], [(1,) * axes]
        extent = voxels.amax(0) + 1
        for level in range(1, depth + 1):
            spacing = (2**level,) * 3 + (1,) * (axes - 3)
            cells = [int(e) >> level for e in extent[:3]] + extent[3:].tolist() if clip else None
            self.voxels.append(coarsen(self.voxels[-1], spacing, cells))
            self.spacings.append(spacing)

    def convolve(self, level, features, kernel, offsets):
        """Convolve on the voxels of one level."""
        at = self.voxels[level]
        return convolve(features, at, at, kernel, offsets, self.spacings[level])

    def down(self, level, features, kernel, offsets):
        """Apply a strided convolution from `level` to the next coarser one."""
        fine, coarse = self.voxels[level : level + 2]
        return convolve(features, fine, coarse, kernel, offsets, self.spacings[level])

    def up(self, level, features, kernel, offsets):
        """Apply a transposed convolution from the next coarser level to `level`."""
        fine, coarse = self.voxels[level : level + 2]
        spacing = self.spacings[level]
        return convolve_transposed(features, coarse, fine, kernel, offsets, spacing)


def random_kernel(name, volume, inputs, outputs, random):
    """Return {"name.kernel": [volume, inputs, outputs]}, or [inputs, outputs] for volume 1.

    The weights are large enough for every slot to affect the logits and small enough for deep
    networks to stay stable.
    """
    shape = (inputs, outputs) if volume == 1 else (volume, inputs, outputs)
    spread = 1.5 * (volume * inputs) ** -0.5
    return {f"{name}.kernel": torch.randn(shape, generator=random) * spread}


def random_norm(name, channels, random):
    """Return the state of a batch norm at a prefix, with random statistics."""
    return {
        f"{name}.weight": torch.rand(channels, generator=random) + 0.5,
        f"{name}.bias": torch.randn(channels, generator=random) * 0.2,
        f"{name}.running_mean": torch.randn(channels, generator=random) * 0.2,
        f"{name}.running_var": torch.rand(channels, generator=random) + 0.5,
        f"{name}.num_batches_tracked": torch.tensor(1000),
    }
