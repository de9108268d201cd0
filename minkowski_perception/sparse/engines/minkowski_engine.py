# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Engine that runs MinkowskiEngine 0.5.4, with its kernel maps on our coordinates."""

from __future__ import annotations

import collections
import collections.abc
import importlib
import warnings
from dataclasses import dataclass
from functools import cache
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from minkowski_perception.sparse.engines.base import Engine, EngineError, Weights, finish
from minkowski_perception.sparse.functional import gather_gemm_scatter
from minkowski_perception.sparse.kernel_maps import KernelMap
from minkowski_perception.sparse.links import CausalMap
from minkowski_perception.sparse.regions import KernelRegion, cube, inscribed_box


@cache
def import_minkowski_engine() -> Any:
    """Import MinkowskiEngine.

    It needs `collections.Sequence`, which Python 3.10 removed, so the name is restored during the
    import.

    Raises:
        EngineError: MinkowskiEngine is not installed or cannot be imported.
    """
    missing = not hasattr(collections, "Sequence")
    if missing:
        collections.Sequence = collections.abc.Sequence  # type: ignore[attr-defined]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Each import warns about missing CUDA.
            return importlib.import_module("MinkowskiEngine")
    except ImportError as error:
        raise EngineError(
            f"cannot import MinkowskiEngine ({error}); see docs/engines.md for its installation"
        ) from error
    finally:
        if missing:
            del collections.Sequence  # type: ignore[attr-defined]


def coordinate_manager(dimension: int) -> Any:
    """Return a MinkowskiEngine coordinate manager for the CPU.

    Its constructor sets the number of OpenMP threads, which PyTorch shares, so it gets the current
    number.
    """
    engine = import_minkowski_engine()
    return engine.CoordinateManager(
        D=dimension,
        num_threads=torch.get_num_threads(),
        coordinate_map_type=engine.CoordinateMapType.CPU,
    )


@dataclass(frozen=True)
class _Plan:
    """MinkowskiEngine's objects for the convolutions of one kernel map.

    Attributes:
        manager: MinkowskiEngine coordinate manager with the voxels of both sides.
        fine: key of the side whose stride is the unit of the offsets.
        coarse: key of the other side; the same for a stride of 1.
        generator: kernel generator of the largest box in the region.
        slots: [box volume] our kernel slices of the box, in MinkowskiEngine's order; None if that
            is the whole kernel in its own order.
        rest: kernel slices of the offsets outside the box, and their kernel map.
    """

    manager: Any
    fine: Any
    coarse: Any
    generator: Any
    slots: Tensor | None
    rest: tuple[Tensor, KernelMap] | None


class MinkowskiEngine(Engine):
    """Box kernels by MinkowskiEngine 0.5; offsets outside the box by PyTorch."""

    name = "minkowski"

    def __init__(self, precision: torch.dtype = torch.float32) -> None:
        super().__init__(precision)
        self._plans: WeakKeyDictionary[KernelMap, _Plan] = WeakKeyDictionary()

    @classmethod
    def check(cls, device: torch.device) -> None:
        """See `Engine.check`."""
        if device.type != "cpu":
            raise EngineError(
                f"engine 'minkowski' runs on the CPU only, not on {device}: "
                "MinkowskiEngine 0.5.4 does not compile with current CUDA"
            )
        import_minkowski_engine()

    def convolve(
        self,
        features: Tensor,
        weights: Weights,
        kernel_map: KernelMap,
        residual: Tensor | None = None,
        relu: bool = False,
    ) -> Tensor:
        """See `Engine.convolve`."""
        kernel, bias = weights
        if len(kernel) == 1 and kernel_map.centre is not None:
            output = features @ kernel[0]
        elif (
            len(kernel_map.source) == 0
            or isinstance(kernel_map, CausalMap)
            or inscribed_box(kernel_map.region) is None
        ):
            # MinkowskiEngine does not support these.
            output = gather_gemm_scatter(features, kernel, kernel_map)
        else:
            output = self._convolve(features, kernel, kernel_map)
        return finish(output, bias, residual, relu)

    def _convolve(self, features: Tensor, kernel: Tensor, kernel_map: KernelMap) -> Tensor:
        engine = import_minkowski_engine()
        forward = kernel_map.forward or kernel_map
        plan = self._plans.get(forward)
        if plan is None:
            plan = self._plans[forward] = _plan(forward)
        transposed = kernel_map.forward is not None
        function = (
            engine.MinkowskiConvolutionTransposeFunction
            if transposed
            else engine.MinkowskiConvolutionFunction
        )
        output: Tensor = function.apply(
            features.contiguous(),
            (kernel if plan.slots is None else kernel[plan.slots]).contiguous(),
            plan.generator,
            importlib.import_module("MinkowskiEngineBackend._C").ConvolutionMode.DEFAULT,
            *((plan.coarse, plan.fine) if transposed else (plan.fine, plan.coarse)),
            plan.manager,
        )
        if plan.rest is not None:
            slots, rest = plan.rest
            rest = rest.transposed() if transposed else rest
            output += gather_gemm_scatter(features, kernel[slots], rest)
        return output


def _plan(kernel_map: KernelMap) -> _Plan:
    engine = import_minkowski_engine()
    source, target, region = kernel_map.source, kernel_map.target, kernel_map.region
    manager = coordinate_manager(region.dimension)

    def insert(name: str, coordinates: Tensor, stride: tuple[int, ...]) -> Any:
        # On the CPU, unique coordinates keep their order.
        return manager.insert_and_map(coordinates.int(), list(stride), name)[0]

    fine = insert("source", source.coordinates, source.stride)
    coarse = fine
    if target is not source:
        coarse = insert("target", target.coordinates, target.stride)
    sizes = inscribed_box(region)
    assert sizes is not None
    position = {offset: k for k, offset in enumerate(region.offsets)}
    slots = [position.pop(offset) for offset in cube(sizes).offsets]
    rest = None
    if position:
        others = KernelMap(source, target, KernelRegion(tuple(position)), kernel_map.dilation)
        rest = torch.tensor(list(position.values())), others
    generator = engine.KernelGenerator(
        sizes,
        [t // s for s, t in zip(source.stride, target.stride, strict=True)],
        kernel_map.dilation,
        dimension=region.dimension,
    )
    in_order = slots == list(range(len(region)))
    return _Plan(manager, fine, coarse, generator, None if in_order else torch.tensor(slots), rest)
