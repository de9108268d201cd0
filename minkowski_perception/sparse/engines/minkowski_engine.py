# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""MinkowskiEngine 0.5.4 as an engine: its convolutions and its kernel maps on our coordinates."""

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
    """Import MinkowskiEngine, which looks for `collections.Sequence`: gone since Python 3.10.

    Raises:
        EngineError: it is not installed, or does not load.
    """
    missing = not hasattr(collections, "Sequence")
    if missing:
        collections.Sequence = collections.abc.Sequence  # type: ignore[attr-defined]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it says at each import that it knows no CUDA
            return importlib.import_module("MinkowskiEngine")
    except ImportError as error:
        raise EngineError(
            f"MinkowskiEngine does not load ({error}); docs/engines.md says how to install it"
        ) from error
    finally:
        if missing:
            del collections.Sequence  # type: ignore[attr-defined]


def coordinate_manager(dimension: int) -> Any:
    """Return a coordinate manager of MinkowskiEngine, on the CPU.

    It sets the number of OpenMP's threads, PyTorch's too: to what it is.
    """
    engine = import_minkowski_engine()
    return engine.CoordinateManager(
        D=dimension,
        num_threads=torch.get_num_threads(),
        coordinate_map_type=engine.CoordinateMapType.CPU,
    )


@dataclass(frozen=True)
class _Plan:
    """How MinkowskiEngine runs the convolutions of one kernel map.

    Attributes:
        manager: its own coordinate manager, with the voxels of both sides.
        fine: key of the side whose stride the offsets are steps of.
        coarse: key of the other side; the same for a stride of 1.
        generator: its description of the box in the region.
        slots: [box volume] the box's slices of our kernel, in its order; None for all as they are.
        rest: offsets outside of the box: their slices, and our kernel map of them.
    """

    manager: Any
    fine: Any
    coarse: Any
    generator: Any
    slots: Tensor | None
    rest: tuple[Tensor, KernelMap] | None


class MinkowskiEngine(Engine):
    """Boxes by MinkowskiEngine; offsets outside of them (version 0.5 has no others) by PyTorch."""

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
            # There is nothing that it could do.
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
        output = function.apply(
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
        # Distinct coordinates keep their rows on the CPU.
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
