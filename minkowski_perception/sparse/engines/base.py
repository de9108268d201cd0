# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What an engine is: features, weights and a kernel map in, features out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from minkowski_perception.sparse.kernel_maps import KernelMap

Weights = tuple[Tensor, Tensor | None]
"""Kernel [K, C_in, C_out] and bias [C_out], as `Engine.prepare` leaves them."""


class EngineError(ValueError):
    """An engine cannot run here: something is not installed, or the device is not one of its."""


class Engine(ABC):
    """Runs the convolutions of inference, batch norms folded into their weights.

    Training goes through `functional.convolve`, whatever the engine.

    Args:
        precision: of the features between layers and of the products; one of `precisions`.

    Attributes:
        name: what it is called in parameters.
        deterministic: whether it gives the same bits in every run, on CUDA too if PyTorch's
            deterministic algorithms are used.
    """

    name: ClassVar[str]
    deterministic: ClassVar[bool] = False

    def __init__(self, precision: torch.dtype = torch.float32) -> None:
        self.precision = precision
        self._prepared: WeakKeyDictionary[nn.Module, tuple[Any, Any]] = WeakKeyDictionary()

    def __str__(self) -> str:
        """Name of the engine, with its precision unless it is float32."""
        lower = self.precision != torch.float32
        return f"{self.name} {precision_name(self.precision)}" if lower else self.name

    @classmethod  # noqa: B027
    def check(cls, device: torch.device) -> None:
        """Refuse where the engine cannot run; one that runs everywhere has nothing to refuse.

        Raises:
            EngineError: what is missing and how to install it, or the device that is needed.
        """

    @classmethod
    def precisions(cls, device: torch.device) -> tuple[torch.dtype, ...]:
        """Return what the engine can be made with on a device where it runs; float32 first."""
        return (torch.float32,)

    def prepare(self, kernel: Tensor, bias: Tensor | None, last: bool) -> Any:
        """Bring weights into the form that `convolve` wants: kernel and bias, unless overridden.

        Args:
            kernel: [K, C_in, C_out].
            bias: [C_out].
            last: whether no norm follows, so that the outputs are logits: keep them in float32.
        """
        return kernel, bias

    @abstractmethod
    def convolve(
        self,
        features: Tensor,
        weights: Any,
        kernel_map: KernelMap,
        residual: Tensor | None = None,
        relu: bool = False,
    ) -> Tensor:
        """Return act(sum over k of in[u + offset_k] @ kernel[k] + bias + residual).

        Args:
            features: [inputs, C_in].
            weights: from `prepare`.
            kernel_map: between the rows of the inputs and the outputs.
            residual: [outputs, C_out].
            relu: whether act rectifies.

        Returns:
            [outputs, C_out].
        """

    def weights(
        self, layer: nn.Module, kernel: Tensor, bias: Tensor | None, norm: nn.BatchNorm1d | None
    ) -> Any:
        """Return a layer's prepared weights; they are made anew when a parameter changes."""
        tensors = [kernel, bias]
        if norm is not None:
            tensors += [norm.weight, norm.bias, norm.running_mean, norm.running_var]
        state = [
            (t.data_ptr(), None if t.is_inference() else t._version)
            for t in tensors
            if t is not None
        ]
        known_state, prepared = self._prepared.get(layer, (None, None))
        if known_state != state:
            prepared = self.prepare(*fold(kernel, bias, norm), last=norm is None)
            self._prepared[layer] = (state, prepared)
        return prepared


def precision_name(precision: torch.dtype) -> str:
    """Name of a precision as parameters have it: "float32"."""
    return str(precision).removeprefix("torch.")


def finish(output: Tensor, bias: Tensor | None, residual: Tensor | None, relu: bool) -> Tensor:
    """Add what is there and rectify, in place: what an engine does after products of its own."""
    if bias is not None:
        output += bias
    if residual is not None:
        output += residual
    return torch.relu_(output) if relu else output


def fold(
    kernel: Tensor, bias: Tensor | None, norm: nn.BatchNorm1d | None
) -> tuple[Tensor, Tensor | None]:
    """Weights that do at once what a convolution and the batch norm after it do in evaluation.

    norm(x W + b) = x (W g) + (b - mean) g + beta, with g = gamma / sqrt(variance + epsilon).

    Args:
        kernel: [K, C_in, C_out].
        bias: [C_out].
        norm: with running statistics.
    """
    if norm is None:
        return kernel, bias
    assert norm.running_mean is not None
    assert norm.running_var is not None
    gain = norm.weight.double() * torch.rsqrt(norm.running_var.double() + norm.eps)
    shift = (0.0 if bias is None else bias.double()) - norm.running_mean.double()
    folded_bias = shift * gain + norm.bias.double()
    return (kernel.double() * gain).to(kernel.dtype), folded_bias.to(kernel.dtype)
