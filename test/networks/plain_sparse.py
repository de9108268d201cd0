# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Sparse operations as their definitions say them, to check networks and conversions against.

Nothing here uses minkowski_perception. Voxels are int64 tensors [N, D] of one cloud, without a
batch column and without duplicates, in units of the finest grid at every stride; features are
float64 tensors [N, C] in the same order of rows. Kernels are [K, Cin, Cout], slot k belonging to
the k-th offset of `offsets`. No library of the family flips a kernel: out[u] = sum over k of
in[u + offset_k * spacing] @ kernel[k].
"""

import itertools

import torch

ORDERS = ("first-axis", "last-axis", "hybrid")


def offsets(order, sizes):
    """Offsets of a region of the given size per axis, as a list of tuples, one per kernel slot.

    "first-axis": all offsets of the box, the first axis changing fastest (MinkowskiEngine's
        cubes of odd size in every version, and of even size since 0.3.2; torchsparse's kernels of
        odd volume).
    "last-axis": the same box, the last axis changing fastest (even kernels of MinkowskiEngine up
        to 0.3.1 and of torchsparse; every kernel of spconv).
    "hybrid": MinkowskiEngine's HYBRID up to 0.4.3 for 3 or 4 axes of odd size: the centre, then
        for each spatial axis every offset so far with that axis set to each other value, and last
        the steps of the time axis alone.

    An even size n has steps 0 to n - 1, an odd size n steps -(n // 2) to n // 2.
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
    """Rows (of source, of target) where source = target + offset * spacing; spacing per axis."""
    row_of = {voxel: row for row, voxel in enumerate(map(tuple, source.tolist()))}
    wanted = target + torch.tensor(offset) * torch.tensor(spacing)
    pairs = [(row_of.get(voxel), row) for row, voxel in enumerate(map(tuple, wanted.tolist()))]
    found = torch.tensor([p for p in pairs if p[0] is not None], dtype=torch.int64)
    return found.reshape(-1, 2).unbind(1)


def convolve(features, source, target, kernel, offsets, spacing):
    """Features [M, Cout] at target from features [N, Cin] at source, whose spacing is given."""
    result = features.new_zeros(len(target), kernel.shape[2])
    for weight, offset in zip(kernel, offsets, strict=True):
        inputs, outputs = matches(source, target, offset, spacing)
        result.index_add_(0, outputs, features[inputs] @ weight)
    return result


def convolve_transposed(features, coarse, fine, kernel, offsets, spacing):
    """Features [M, Cout] at fine, whose spacing is given, from features [N, Cin] at coarse.

    out[c + offset_k * spacing] += in[c] @ kernel[k]: the slots mean what they mean going down.
    """
    result = features.new_zeros(len(fine), kernel.shape[2])
    for weight, offset in zip(kernel, offsets, strict=True):
        outputs, inputs = matches(fine, coarse, offset, spacing)
        result.index_add_(0, outputs, features[inputs] @ weight)
    return result


def coarsen(voxels, spacing, cells=None):
    """Voxels of the coarser spacing (per axis) that hold the given ones, in sorted order.

    `cells`, where given, is how many voxels of that spacing the grid has per axis: what lies
    beyond is dropped, as spconv does where an extent is odd.
    """
    step = torch.tensor(spacing)
    index = torch.div(voxels, step, rounding_mode="floor")
    if cells is not None:
        index = index[(index < torch.tensor(cells)).all(1)]
    return torch.unique(index, dim=0) * step


def batch_norm(features, state, prefix, eps=1e-5):
    """Inference of the batch norm whose tensors are at `prefix` (without a dot at its end)."""
    mean, variance, weight, bias = (
        state[f"{prefix}.{name}"].double()
        for name in ("running_mean", "running_var", "weight", "bias")
    )
    return (features - mean) / (variance + eps).sqrt() * weight + bias


def devoxelise(features, voxels, points, spacing):
    """Features [M, C] at integer points [M, 3] of the finest grid, as torchsparse interpolates.

    Trilinear between the 8 voxel origins (spacing: one int) around the point, over the corners
    that exist alone: the weights are divided by (their sum + 1e-8).
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
    """Mean of features [M, C] of the integer points [M, 3] in each voxel; zero in empty ones."""
    corner = torch.div(points, spacing, rounding_mode="floor") * spacing
    inputs, outputs = matches(voxels, corner, (0, 0, 0), [spacing] * 3)
    result = features.new_zeros(len(voxels), features.shape[1])
    result.index_add_(0, inputs, features[outputs])
    count = torch.bincount(inputs, minlength=len(voxels)).clamp(min=1)
    return result / count[:, None]


class Levels:
    """Voxels of a U-Net at each of its strides, and convolutions between them.

    `voxels` [N, D]: space (the first three axes) is halved from level to level, time never. With
    `clip`, the extents are those of spconv: the largest coordinate + 1 at first, then halved
    without the remainder, so that voxels in the last plane of an odd extent have no parent.
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
        """Convolution that keeps the voxels."""
        at = self.voxels[level]
        return convolve(features, at, at, kernel, offsets, self.spacings[level])

    def down(self, level, features, kernel, offsets):
        """Strided convolution from `level` to the next coarser one."""
        fine, coarse = self.voxels[level : level + 2]
        return convolve(features, fine, coarse, kernel, offsets, self.spacings[level])

    def up(self, level, features, kernel, offsets):
        """Transposed convolution from the next coarser level back to `level`."""
        fine, coarse = self.voxels[level : level + 2]
        spacing = self.spacings[level]
        return convolve_transposed(features, coarse, fine, kernel, offsets, spacing)


def random_kernel(name, volume, inputs, outputs, random):
    """{"name.kernel": [volume, inputs, outputs]}, or [inputs, outputs] where the volume is 1.

    Large enough that every slot shows in the logits, small enough that deep networks stay tame.
    """
    shape = (inputs, outputs) if volume == 1 else (volume, inputs, outputs)
    spread = 1.5 * (volume * inputs) ** -0.5
    return {f"{name}.kernel": torch.randn(shape, generator=random) * spread}


def random_norm(name, channels, random):
    """State of a batch norm at the given prefix, as if it had seen data."""
    return {
        f"{name}.weight": torch.rand(channels, generator=random) + 0.5,
        f"{name}.bias": torch.randn(channels, generator=random) * 0.2,
        f"{name}.running_mean": torch.randn(channels, generator=random) * 0.2,
        f"{name}.running_var": torch.rand(channels, generator=random) + 0.5,
        f"{name}.num_batches_tracked": torch.tensor(1000),
    }
