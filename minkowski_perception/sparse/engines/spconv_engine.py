# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Engine that runs spconv 2's native gather-GEMM-scatter on our kernel maps."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from minkowski_perception.sparse.engines.base import Engine, EngineError, finish
from minkowski_perception.sparse.kernel_maps import KernelMap


@cache
def _import_spconv() -> Any:
    """Import spconv's operations.

    Raises:
        EngineError: spconv is not installed or cannot be imported.
    """
    try:
        from spconv import cppconstants
        from spconv.pytorch import ops
    except ImportError as error:
        raise EngineError(f"cannot import spconv ({error}): pip install spconv") from error
    return ops, cppconstants.CPU_ONLY_BUILD


@contextmanager
def one_openmp_thread(device: torch.device) -> Iterator[None]:
    """Restrict spconv's own loops on the CPU to one thread; matrix products still use all.

    The threads of spconv 2.3.8's scatter-add on the CPU share row pointers, so with more than one
    thread, sums go to wrong rows.
    """
    if device.type != "cpu":
        yield
        return
    from spconv import core_cc

    # spconv's loops use the OpenMP library that PyTorch has loaded globally, if there is one.
    openmp = ctypes.CDLL(None)
    if not hasattr(openmp, "omp_set_num_threads"):
        openmp = ctypes.CDLL(core_cc.__file__)
    threads = torch.get_num_threads()
    torch.set_num_threads(threads)  # Pins MKL, which would follow OpenMP otherwise.
    openmp.omp_set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


class SpconvEngine(Engine):
    """spconv's native algorithm, which supports kernel maps of any region and dimension."""

    name = "spconv"

    def __init__(self, precision: torch.dtype = torch.float32) -> None:
        super().__init__(precision)
        self._pairs: WeakKeyDictionary[KernelMap, tuple[Tensor, Tensor]] = WeakKeyDictionary()

    @classmethod
    def check(cls, device: torch.device) -> None:
        """See `Engine.check`."""
        _, cpu_only = _import_spconv()
        if device.type not in ("cpu", "cuda") or (device.type == "cuda" and cpu_only):
            raise EngineError(
                f"engine 'spconv' cannot run on {device}: this spconv was built for the CPU; "
                "for CUDA, install the wheel for your CUDA version, such as spconv-cu120"
            )

    def prepare(
        self, kernel: Tensor, bias: Tensor | None, last: bool
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return the kernel, the kernel in spconv's layout [C_out, K, C_in], and the bias."""
        return kernel, kernel.permute(2, 0, 1).contiguous(), bias

    def convolve(
        self,
        features: Tensor,
        weights: tuple[Tensor, Tensor, Tensor | None],
        kernel_map: KernelMap,
        residual: Tensor | None = None,
        relu: bool = False,
    ) -> Tensor:
        """See `Engine.convolve`."""
        kernel, filters, bias = weights
        centre = kernel_map.centre
        if centre is not None and len(kernel) == 1:
            output = features @ kernel[0]
        else:
            output = self._convolve(features, filters, kernel_map)
            if centre is not None:
                output.addmm_(features, kernel[centre])
        return finish(output, bias, residual, relu)

    def _convolve(self, features: Tensor, filters: Tensor, kernel_map: KernelMap) -> Tensor:
        """Sum over all offsets except the centre of a submanifold convolution."""
        forward = kernel_map.forward or kernel_map
        if forward not in self._pairs:
            self._pairs[forward] = native_pairs(forward)
        pairs, counts = self._pairs[forward]
        outputs = len(kernel_map.target)
        if pairs.shape[2] == 0:
            return features.new_zeros(outputs, len(filters))
        ops, _ = _import_spconv()
        inverse = kernel_map.forward is not None
        with one_openmp_thread(features.device):
            output: Tensor = ops.indice_conv(
                features, filters, pairs, counts, outputs, inverse=inverse
            )
        return output


def native_pairs(kernel_map: KernelMap) -> tuple[Tensor, Tensor]:
    """Convert a kernel map to the format of spconv's native algorithm, without the centre.

    Returns:
        [2, K, P] int32, input and output rows of each offset, padded with -1; [K] int32, the
        number of pairs of each offset. P is the largest number.
    """
    starts = torch.tensor(kernel_map.pairs.starts, dtype=torch.int32)
    counts = starts.diff()
    if kernel_map.centre is not None:
        counts[kernel_map.centre] = 0
    device = kernel_map.source.keys.device
    pairs = torch.full(
        (2, len(kernel_map), int(counts.max())), -1, dtype=torch.int32, device=device
    )
    for k, inputs, outputs in kernel_map:
        if k != kernel_map.centre:
            pairs[0, k, : len(inputs)] = inputs
            pairs[1, k, : len(outputs)] = outputs
    return pairs, counts.to(device)
