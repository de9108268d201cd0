# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Differentiable convolution and pooling over kernel maps, on the CPU and on CUDA.

Convolutions on the CPU are compiled by Numba; the rest is plain PyTorch. Under `torch.autocast`,
convolutions run in its precision.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import Function, once_differentiable

from minkowski_perception.sparse.kernel_maps import KernelMap
from minkowski_perception.sparse.threads import run_on_rows

try:
    from minkowski_perception.sparse import compiled_convolution
except Exception:  # Numba is absent or does not fit NumPy: use PyTorch.
    compiled_convolution = None  # type: ignore[assignment]


_ROWS = 2**15
"""Pairs whose inputs are gathered at once on the CPU: enough to be fast, and few megabytes."""


def convolve(features: Tensor, weight: Tensor, kernel_map: KernelMap) -> Tensor:
    """Sparse convolution: out[u] = sum over k of in[u + offset_k] @ weight[k].

    This is a correlation: kernels are not flipped, as in all sparse engines (Choy et al. 2019,
    eq. 3). Results and first derivatives are bit-exact between runs; second derivatives are not
    supported.

    Args:
        features: [inputs, C_in] floats.
        weight: [K, C_in, C_out], in the order of the kernel region's offsets.
        kernel_map: pairs of input and output rows.

    Returns:
        [outputs, C_out]; zeros for outputs without neighbours.

    Raises:
        ValueError: the weight does not match the features or the kernel map.
    """
    _require_fit(features, weight, kernel_map)
    if torch.is_autocast_enabled(features.device.type):
        precision = torch.get_autocast_dtype(features.device.type)
        features, weight = features.to(precision), weight.to(precision)
    if kernel_map.centre is not None and len(kernel_map) == 1:
        return features @ weight[0]
    on_cpu = features.device.type == weight.device.type == "cpu"
    supported = features.dtype == weight.dtype and weight.dtype in (torch.float32, torch.bfloat16)
    compiled = compiled_convolution is not None and on_cpu and supported
    function: type[Function] = _CompiledConvolution if compiled else _Convolution
    output: Tensor = function.apply(features, weight, kernel_map)
    return output


def gather_gemm_scatter(features: Tensor, weight: Tensor, kernel_map: KernelMap) -> Tensor:
    """Compute `convolve` in plain PyTorch, offset by offset, on any device.

    Each output row occurs at most once per offset, so the order of summation is fixed and results
    are bit-exact between runs.
    """
    _require_fit(features, weight, kernel_map)
    centre = kernel_map.centre
    if centre is None:
        output = features.new_zeros(len(kernel_map.target), weight.shape[2])
    else:
        output = features @ weight[centre]
    # On CUDA each part would be three more launches.
    most = _ROWS if features.device.type == "cpu" else len(kernel_map.pairs.inputs)
    for k, *pairs in kernel_map:
        if k != centre:
            for inputs, outputs in zip(*(rows.split(most) for rows in pairs), strict=True):
                product = features.index_select(0, inputs) @ weight[k]
                output.index_add_(0, _wide(outputs), product)
    return output


def _wide(rows: Tensor) -> Tensor:
    """Convert row indices to int64 on the CPU, where `index_add_` is three times as fast."""
    return rows.long() if rows.device.type == "cpu" else rows


def _require_fit(features: Tensor, weight: Tensor, kernel_map: KernelMap) -> None:
    if weight.shape[:2] != (len(kernel_map), features.shape[1]):
        raise ValueError(
            f"weight must have shape [{len(kernel_map)}, {features.shape[1]}, C_out], "
            f"not {list(weight.shape)}"
        )


class _Convolution(Function):
    """Convolution in plain PyTorch; only the inputs are saved for the backward pass."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, weight: Tensor, kernel_map: KernelMap) -> Tensor:
        ctx.save_for_backward(features, weight)
        ctx.kernel_map = kernel_map
        return gather_gemm_scatter(features, weight, kernel_map)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        features, weight = ctx.saved_tensors
        needs_features, needs_weight, _ = ctx.needs_input_grad
        grad_features = torch.zeros_like(features) if needs_features else None
        grad_weight = torch.zeros_like(weight) if needs_weight else None
        for k, inputs, outputs in ctx.kernel_map:
            grad = grad_output.index_select(0, outputs)
            if grad_features is not None:
                grad_features.index_add_(0, _wide(inputs), grad @ weight[k].T)
            if grad_weight is not None:
                grad_weight[k] = features.index_select(0, inputs).T @ grad
        return grad_features, grad_weight, None


class _CompiledConvolution(Function):
    """Compiled convolution; the feature gradient is a convolution over the transposed map."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, weight: Tensor, kernel_map: KernelMap) -> Tensor:
        ctx.save_for_backward(features, weight)
        ctx.kernel_map = kernel_map
        packed = compiled_convolution.PackedWeights.pack(weight, precision=weight.dtype)
        return compiled_convolution.convolve(features, packed, kernel_map)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        features, weight = ctx.saved_tensors
        needs_features, needs_weight, _ = ctx.needs_input_grad
        grad_features = grad_weight = None
        if needs_features:
            packed = compiled_convolution.PackedWeights.pack(
                weight.transpose(1, 2), precision=weight.dtype
            )
            swapped = ctx.kernel_map.transposed()
            grad_features = compiled_convolution.convolve(grad_output, packed, swapped)
        if needs_weight:
            grad_weight = compiled_convolution.kernel_gradient(
                features, grad_output, ctx.kernel_map
            ).to(weight.dtype)
        return grad_features, grad_weight, None


def softmax(values: Tensor) -> Tensor:
    """Return the softmax of each row of [N, C]; on the CPU without gradients, on all threads."""
    if values.device.type != "cpu" or values.requires_grad:
        return torch.softmax(values, dim=1)
    result = torch.empty_like(values)
    run_on_rows(lambda rows: torch.softmax(values[rows], dim=1, out=result[rows]), len(values))
    return result


def largest(values: Tensor) -> tuple[Tensor, Tensor]:
    """Return the largest value of each row of [N, C] and its column; no gradients.

    On the CPU it takes all threads.
    """
    if values.device.type != "cpu":
        return values.max(dim=1)
    most, column = values.new_empty(len(values)), torch.empty(len(values), dtype=torch.int64)
    run_on_rows(
        lambda rows: torch.max(values[rows], dim=1, out=(most[rows], column[rows])), len(values)
    )
    return most, column


def pool(features: Tensor, kernel_map: KernelMap, how: Literal["sum", "mean", "max"]) -> Tensor:
    """Pool the occupied neighbours of each output; [inputs, C] to [outputs, C].

    The mean divides by the number of occupied neighbours, as MinkowskiEngine does. Outputs without
    neighbours are zero.

    Raises:
        ValueError: `how` is not one of these.
    """
    if how not in ("sum", "mean", "max"):
        raise ValueError(f"how must be 'sum', 'mean' or 'max', not {how!r}")
    if features.device.type != "cpu" and how == "sum" and not features.requires_grad:
        # The pairs would make the host wait for their numbers.
        rows = kernel_map.rows().T
        none = len(features)
        padded = F.pad(features, (0, 0, 0, 1))
        return F.embedding_bag(
            torch.where(rows < 0, none, rows), padded, mode="sum", padding_idx=none
        )
    pairs = kernel_map.pairs
    # index_select is faster than indexing with brackets.
    values = features.index_select(0, pairs.inputs)
    pooled = features.new_zeros(len(kernel_map.target), features.shape[1])
    reduction = {"sum": "sum", "mean": "mean", "max": "amax"}[how]
    # From 16 channels on, PyTorch's reduction needs int64 indices.
    index = pairs.outputs.long()[:, None].expand_as(values)
    return pooled.scatter_reduce(0, index, values, reduction, include_self=False)
