# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Base class of the engines: features, weights and a kernel map in, features out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from minkowski_perception.sparse.kernel_maps import KernelMap

Weights = tuple[Tensor, Tensor | None]
"""Kernel [K, C_in, C_out] and bias [C_out], as returned by `Engine.prepare`."""


class EngineError(ValueError):
    """An engine cannot run: a library is missing, or it does not support the device."""


class Engine(ABC):
    """Base class: runs convolutions in inference, with batch norms folded into the weights.

    Training uses `functional.convolve` with every engine.

    Args:
        precision: dtype of the features between layers and of the products; one of `precisions`.

    Attributes:
        name: name of the engine in parameters.
        deterministic: whether results are bit-exact between runs; on CUDA, with PyTorch's
            deterministic algorithms.
        uses_capacities: whether frames are computed with capacities, without waiting for numbers
            of voxels; see `capacity`.
    """

    name: ClassVar[str]
    deterministic: ClassVar[bool] = False
    uses_capacities: ClassVar[bool] = False

    def __init__(self, precision: torch.dtype = torch.float32) -> None:
        self.precision = precision
        self._prepared: WeakKeyDictionary[nn.Module, tuple[Any, Any]] = WeakKeyDictionary()

    def __str__(self) -> str:
        """Return the name of the engine, with its precision unless it is float32."""
        lower = self.precision != torch.float32
        return f"{self.name} {precision_name(self.precision)}" if lower else self.name

    @classmethod  # noqa: B027
    def check(cls, device: torch.device) -> None:
        """Check that the engine can run on a device; by default, every device is accepted.

        Raises:
            EngineError: a library is missing, or the device is not supported.
        """

    @classmethod
    def precisions(cls, device: torch.device) -> tuple[torch.dtype, ...]:
        """Return the precisions that the engine supports on a device; float32 comes first."""
        return (torch.float32,)

    def prepare(self, kernel: Tensor, bias: Tensor | None, last: bool) -> Any:
        """Convert weights to the format of `convolve`; by default, kernel and bias as they are.

        Args:
            kernel: [K, C_in, C_out].
            bias: [C_out].
            last: whether no norm follows; the outputs are logits then and stay in float32.
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
            weights: result of `prepare`.
            kernel_map: pairs of input and output rows.
            residual: [outputs, C_out].
            relu: whether act is ReLU; the identity otherwise.

        Returns:
            [outputs, C_out].
        """

    def weights(
        self, layer: nn.Module, kernel: Tensor, bias: Tensor | None, norm: nn.BatchNorm1d | None
    ) -> Any:
        """Return the prepared weights of a layer; they are updated when a parameter changes."""
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
    """Return the name of a precision in parameters, such as "float32"."""
    return str(precision).removeprefix("torch.")


def finish(output: Tensor, bias: Tensor | None, residual: Tensor | None, relu: bool) -> Tensor:
    """Add bias and residual if given, then apply ReLU if requested, all in place."""
    if bias is not None:
        output += bias
    if residual is not None:
        output += residual
    return torch.relu_(output) if relu else output


def fold(
    kernel: Tensor, bias: Tensor | None, norm: nn.BatchNorm1d | None
) -> tuple[Tensor, Tensor | None]:
    """Fold a batch norm in evaluation mode into the weights of the preceding convolution.

    norm(x W + b) = x (W g) + (b - mean) g + beta, with g = gamma / sqrt(variance + epsilon).

    Args:
        kernel: [K, C_in, C_out].
        bias: [C_out].
        norm: batch norm with running statistics; None to return the weights unchanged.
    """
    if norm is None:
        return kernel, bias
    assert norm.running_mean is not None
    assert norm.running_var is not None
    gain = norm.weight.double() * torch.rsqrt(norm.running_var.double() + norm.eps)
    shift = (0.0 if bias is None else bias.double()) - norm.running_mean.double()
    folded_bias = shift * gain + norm.bias.double()
    return (kernel.double() * gain).to(kernel.dtype), folded_bias.to(kernel.dtype)
