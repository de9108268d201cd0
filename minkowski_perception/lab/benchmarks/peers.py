# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Our networks in other libraries, to compare with.

A peer makes the same forward pass with the same weights, but every tensor and convolution in it is
the other library's: its coordinates, its kernel maps, its products. Both are built at each call.
"""

from __future__ import annotations

import copy
import importlib
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from minkowski_perception.networks.heads import CLASSES
from minkowski_perception.sparse import BatchNorm, Convolution, cube
from minkowski_perception.sparse.engines.base import EngineError
from minkowski_perception.sparse.engines.minkowski_engine import (
    coordinate_manager,
    import_minkowski_engine,
)
from minkowski_perception.sparse.engines.spconv_engine import one_openmp_thread
from minkowski_perception.sparse.regions import inscribed_box

_COARSEST = (16, 16, 16, 1)
"""Stride of a MinkUNet's coarsest voxels."""


@dataclass(frozen=True)
class _Tensor:
    """Sparse tensor of another library, with the interface that our forward passes use.

    Attributes:
        features: [N, C].
        map: identifies the voxels.
        native: tensor of the library on these voxels, with any features.
    """

    features: Tensor
    map: Any
    native: Any

    def replace(self, features: Tensor) -> _Tensor:
        """Return a tensor with other features on the same voxels."""
        return replace(self, features=features)

    def require_voxels(self, map_: Any) -> None:
        """Check that the features lie on these voxels."""
        assert self.map == map_


class _Layer(nn.Module, ABC):
    """One of our convolutions, computed by another library and called like ours.

    Both libraries have only kernels that are boxes; other regions are sums of boxes.
    """

    def __init__(self, layer: Convolution) -> None:
        super().__init__()
        self.bias = layer.bias
        self.boxes: Any = nn.ModuleList(self.box(layer, *box) for box in _boxes(layer))

    @abstractmethod
    def box(self, layer: Convolution, sizes: tuple[int, ...], kernel: Tensor) -> Any:
        """Return the library's convolution with a box of offsets, [K, C_in, C_out]."""

    @abstractmethod
    def convolve(self, tensor: _Tensor) -> _Tensor:
        """Sum the convolutions with all boxes."""

    def forward(
        self,
        tensor: _Tensor,
        norm: BatchNorm | None = None,
        residual: _Tensor | None = None,
        relu: bool = False,
    ) -> _Tensor:
        """Convolve; then normalise, add the residual and rectify, as requested."""
        output = self.convolve(tensor)
        features = output.features
        if self.bias is not None:
            features += self.bias
        if norm is not None:
            features = norm.bn(features)
        if residual is not None:
            features += residual.features
        return output.replace(torch.relu_(features) if relu else features)


def _boxes(layer: Convolution) -> list[tuple[tuple[int, ...], Tensor]]:
    """Divide a kernel into the largest box in its region and lines, zero where they overlap.

    Raises:
        ValueError: the region is no sum of a box and lines.
    """
    region = layer.region
    weight = layer.kernel.detach().reshape(len(region), *layer.kernel.shape[-2:])
    left = {offset: k for k, offset in enumerate(region.offsets)}

    def take(sizes: tuple[int, ...]) -> tuple[tuple[int, ...], Tensor]:
        slots = [left.pop(offset, None) for offset in cube(sizes).offsets]
        if slots == list(range(len(region))):
            return sizes, weight
        kernel = weight.new_zeros(len(slots), *weight.shape[1:])
        for position, k in enumerate(slots):
            if k is not None:
                kernel[position] = weight[k]
        return sizes, kernel

    box = inscribed_box(region)
    boxes = [] if box is None else [take(box)]
    for axis, steps in enumerate(zip(*region.offsets, strict=True)):
        line = tuple(len(set(steps)) if a == axis else 1 for a in range(region.dimension))
        if not left.keys().isdisjoint(cube(line).offsets):
            boxes.append(take(line))
    if left:
        raise ValueError(f"these offsets lie in no box and on no axis: {list(left)}")
    return boxes


class Peer(ABC):
    """One of our networks, run by another library.

    Args:
        network: its forward pass consists of convolutions, batch norms and `cat`; it is not
            changed.

    Raises:
        EngineError: the library is not installed.
        ValueError: the library cannot compute one of the kernels.
    """

    name: ClassVar[str]

    def __init__(self, network: nn.Module) -> None:
        weights = {id(parameter): parameter for parameter in network.parameters()}
        self._network = copy.deepcopy(network, weights).eval()
        for module in list(self._network.modules()):
            for name, child in module.named_children():
                if isinstance(child, Convolution):
                    setattr(module, name, self._layer(child))

    @abstractmethod
    def _layer(self, layer: Convolution) -> _Layer: ...

    @abstractmethod
    def _tensor(self, coordinates: Tensor, features: Tensor) -> _Tensor: ...

    @torch.no_grad()
    def __call__(self, coordinates: Tensor, features: Tensor) -> Tensor:
        """Return the logits [N, classes] of distinct voxels [N, 1 + D] with features [N, C]."""
        logits: Tensor = self._network(self._tensor(coordinates, features))[CLASSES].features
        return logits


class _MinkowskiLayer(_Layer):
    def box(self, layer: Convolution, sizes: tuple[int, ...], kernel: Tensor) -> Any:
        engine = import_minkowski_engine()
        kind = (
            engine.MinkowskiConvolutionTranspose
            if layer.transposed
            else engine.MinkowskiConvolution
        )
        box = kind(
            *kernel.shape[1:],
            kernel_size=sizes,
            stride=layer.stride,
            dilation=layer.dilation,
            dimension=layer.region.dimension,
        )
        box.kernel = nn.Parameter(kernel[0] if box.use_mm else kernel)
        return box

    def convolve(self, tensor: _Tensor) -> _Tensor:
        source = import_minkowski_engine().SparseTensor(
            tensor.features,
            coordinate_map_key=tensor.map,
            coordinate_manager=tensor.native.coordinate_manager,
        )
        first, *others = (box(source) for box in self.boxes)
        output = sum(others, first)
        return _Tensor(output.F, output.coordinate_map_key, output)


class MinkowskiPeer(Peer):
    """Our network in MinkowskiEngine 0.5.4; a hybrid kernel is a cube plus a line."""

    name = "minkowski"

    def _layer(self, layer: Convolution) -> _Layer:
        return _MinkowskiLayer(layer)

    def _tensor(self, coordinates: Tensor, features: Tensor) -> _Tensor:
        # Distinct coordinates keep their rows on the CPU.
        native = import_minkowski_engine().SparseTensor(
            features,
            coordinates.int(),
            coordinate_manager=coordinate_manager(coordinates.shape[1] - 1),
        )
        return _Tensor(native.F, native.coordinate_map_key, native)


class _SpconvLayer(_Layer):
    def __init__(self, layer: Convolution, library: Any) -> None:
        self.library = library
        super().__init__(layer)
        self.step = layer.stride
        self.transposed = layer.transposed

    def box(self, layer: Convolution, sizes: tuple[int, ...], kernel: Tensor) -> Any:
        dimension = layer.region.dimension
        options: dict[str, Any] = {"kernel_size": sizes, "bias": False, "indice_key": str(sizes)}
        if layer.transposed:
            kind = f"SparseInverseConv{dimension}d"
        elif set(layer.stride) != {1}:
            kind = f"SparseConv{dimension}d"
            options |= {"stride": layer.stride}
        else:
            kind = f"SubMConv{dimension}d"
            options |= {"dilation": layer.dilation}
        box = getattr(self.library, kind)(*kernel.shape[1:], **options)
        if box.conv1x1:  # its weight is read as [C_in, C_out], whatever its shape
            weight = kernel.reshape(box.weight.shape)
        else:  # [C_out, x, y, z(, t), C_in], the last axis fastest
            axes = kernel.unflatten(0, tuple(reversed(sizes)))
            weight = axes.permute(-1, *reversed(range(dimension)), -2).contiguous()
        box.weight = nn.Parameter(weight)
        return box

    def convolve(self, tensor: _Tensor) -> _Tensor:
        stride = tensor.map
        if self.transposed:
            output_stride = tuple(s // r for s, r in zip(stride, self.step, strict=True))
        else:
            output_stride = tuple(s * r for s, r in zip(stride, self.step, strict=True))
        native, parts = tensor.native, []
        for box in self.boxes:
            # Kernel maps are stored in the tensors; layers with the same key share one.
            box.indice_key = f"{box.kernel_size} on {min(stride, output_stride)}"
            with one_openmp_thread(tensor.features.device):
                native = box(native.replace_feature(tensor.features))
            parts.append(native.features)
        return _Tensor(sum(parts[1:], parts[0]), output_stride, native)


class SpconvPeer(Peer):
    """Our network in spconv, or in spconv-triton, which has the same interface.

    Args:
        network: see `Peer`.
        library: "spconv" or "spconv_triton".
    """

    name = "spconv"

    def __init__(self, network: nn.Module, library: str = "spconv") -> None:
        try:
            self._library = importlib.import_module(f"{library}.pytorch")
        except ImportError as error:
            raise EngineError(f"{library} does not load: {error}") from error
        super().__init__(network)

    def _layer(self, layer: Convolution) -> _Layer:
        return _SpconvLayer(layer, self._library)

    def _tensor(self, coordinates: Tensor, features: Tensor) -> _Tensor:
        """Shift the voxels to coordinates from 0, in an extent of whole coarsest voxels.

        spconv drops voxels whose parent lies outside of the extent.
        """
        dimension = coordinates.shape[1] - 1
        whole = torch.tensor(_COARSEST[:dimension], device=coordinates.device)
        batch, voxels = coordinates[:, :1], coordinates[:, 1:]
        low = voxels.amin(dim=0).div(whole, rounding_mode="floor") * whole
        extents = (voxels.amax(dim=0) - low).div(whole, rounding_mode="floor") * whole + whole
        native = self._library.SparseConvTensor(
            features,
            torch.cat([batch, voxels - low], dim=1).int(),
            extents.tolist(),
            batch_size=int(batch.max()) + 1,
        )
        return _Tensor(features, (1,) * dimension, native)
