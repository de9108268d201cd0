# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Muon: an optimizer that orthogonalizes the momentum of the kernels of a network."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

_QUINTIC = (3.4445, -4.7750, 2.0315)
"""(a, b, c) of a Newton-Schulz iteration: X becomes a X + (b A + c A^2) X with A = X X^T."""
_ITERATIONS = 5
_ADAM_RMS = 0.2
"""Root mean square of AdamW's usual steps; Muon's steps are scaled to it."""
_EPSILON = 1e-8


class Muon(Optimizer):
    """Muon for kernels and matrices, AdamW for parameters of one dimension.

    A kernel [K, C_in, C_out] is one matrix [K C_in, C_out]. Its momentum M (Nesterov's) becomes
    O, which has the singular vectors of M and singular values near 1; its weights W become
    W - rate (decay W + 0.2 sqrt(max(K C_in, C_out)) O). Jordan et al., "Muon: An optimizer for
    hidden layers in neural networks", 2024; the factor is from Liu et al., "Muon is scalable for
    LLM training", 2025 (arXiv 2502.16982), and makes steps as large as AdamW's.

    Args:
        parameters: of the network.
        lr: learning rate.
        weight_decay: decoupled, as AdamW's.
        momentum: of Muon.
        betas: of AdamW.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        lr: float,
        weight_decay: float = 0.0,
        momentum: float = 0.95,
        betas: tuple[float, float] = (0.9, 0.999),
    ) -> None:
        super().__init__(
            parameters,
            {"lr": lr, "weight_decay": weight_decay, "momentum": momentum, "betas": betas},
        )

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Take a step; parameters without a gradient do not change."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for weights in group["params"]:
                if (gradient := weights.grad) is None:
                    continue
                update = _adam if weights.ndim < 2 else _muon
                weights.mul_(1.0 - group["lr"] * group["weight_decay"])
                weights.sub_(update(gradient, self.state[weights], group), alpha=group["lr"])
        return loss


def _muon(gradient: Tensor, state: dict[str, Any], group: Mapping[str, Any]) -> Tensor:
    if not state:
        state["momentum"] = torch.zeros_like(gradient)
    momentum: Tensor = state["momentum"].lerp_(gradient, 1.0 - group["momentum"])
    ahead = gradient.lerp(momentum, group["momentum"]).flatten(0, -2)
    scale = _ADAM_RMS * math.sqrt(max(ahead.shape))
    return scale * orthogonalized(ahead).view_as(gradient)


def _adam(gradient: Tensor, state: dict[str, Any], group: Mapping[str, Any]) -> Tensor:
    if not state:
        state["step"] = 0
        state["mean"] = torch.zeros_like(gradient)
        state["square"] = torch.zeros_like(gradient)
    state["step"] += 1
    first, second = group["betas"]
    mean: Tensor = state["mean"].lerp_(gradient, 1.0 - first) / (1.0 - first ** state["step"])
    square: Tensor = state["square"].lerp_(gradient.square(), 1.0 - second)
    deviation: Tensor = (square / (1.0 - second ** state["step"])).sqrt()
    return mean / (deviation + _EPSILON)


def orthogonalized(matrix: Tensor) -> Tensor:
    """Return a matrix with its singular values brought near 1, by Newton-Schulz iterations.

    They become 0.7 to 1.2; those below a hundredth of the norm of the matrix become smaller.

    Args:
        matrix: [M, N], float32.

    Returns:
        [M, N], with the singular vectors of the argument.
    """
    tall = matrix.shape[0] > matrix.shape[1]
    x: Tensor = matrix.T if tall else matrix
    x = x / (x.norm() + _EPSILON)
    a, b, c = _QUINTIC
    for _ in range(_ITERATIONS):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if tall else x
