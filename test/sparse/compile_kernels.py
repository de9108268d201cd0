# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Compile the Triton kernels for GPUs, without one; print what became of them as JSON."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.backends.nvidia.compiler import get_ptxas
from triton.compiler import ASTSource

from minkowski_perception.sparse.implicit_gemm import choose_tile
from minkowski_perception.sparse.run_kernels import begin_kernel, run_kernel
from minkowski_perception.sparse.triton_kernels import convolution_kernel, table_kernel
from minkowski_perception.streaming.average_kernel import average_kernel
from minkowski_perception.streaming.voxel_kernels import FEATURES, point_kernel, voxel_kernel

LAYERS = {
    "9 to 16 channels, float16": (9, 16, torch.float16),
    "16 channels, bfloat16": (16, 16, torch.bfloat16),
    "32 channels, float16": (32, 32, torch.float16),
    "64 channels, float16": (64, 64, torch.float16),
    "64 channels, pointwise, float16": (64, 64, torch.float16),
    "128 channels, bfloat16": (128, 128, torch.bfloat16),
    "16 channels, float32": (16, 16, torch.float32),
    "128 channels, float32": (128, 128, torch.float32),
}
_POINTERS = {torch.float32: "*fp32", torch.float16: "*fp16", torch.bfloat16: "*bf16"}
_ROWS = {"rows": "*i32", "codes": "*i32", "order": "*i64"}
_RUNS = dict.fromkeys(("ordered", "order", "numbers", "inverse", "starts"), "*i64")
_AVERAGE = {"rows": "*i32", "past": "*fp16", "ages": "*i16"}
_KEYS = dict.fromkeys(("first", "second", "targets", "deltas"), "*i64")
_COUNT = len(FEATURES)
_POINTS = {
    "header": "*fp64",
    "colour": "*u8",
    **dict.fromkeys(("points", "intensity", "factors", "values"), "*fp32"),
    "keys": "*i64",
}
_VOXELS = {
    **dict.fromkeys(("ordered", "order", "starts", "coordinates", "keys", "sizes"), "*i64"),
    **dict.fromkeys(("values", "factors", "features", "distances"), "*fp32"),
}


def compiled(
    kernel: Any,
    capability: int,
    pointers: dict[str, str],
    constants: dict[str, Any],
    **options: Any,
) -> Any:
    """Compile a kernel; other arguments are int32, and pointers are aligned to 16 bytes."""
    names = kernel.arg_names
    kinds = {n: "constexpr" if n in constants else pointers.get(n, "i32") for n in names}
    aligned = {
        (i,): [["tt.divisibility", 16]] for i, n in enumerate(names) if kinds[n].startswith("*")
    }
    values = {(names.index(name),): value for name, value in constants.items()}
    source = ASTSource(fn=kernel, signature=kinds, constexprs=values, attrs=aligned)
    target = GPUTarget("cuda", capability, 32)
    return triton.compile(source, target=target, options=options)


def figures(kernel: Any, capability: int) -> dict[str, int]:
    """Return bytes spilled to memory, and counts of instructions."""
    assembly = kernel.asm["ptx"]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "kernel.ptx")
        path.write_text(assembly)
        suffix = "a" if capability >= 90 else ""
        arch = f"-arch=sm_{capability}{suffix}"
        assembler = get_ptxas(capability).path
        command = [assembler, arch, "-v", path, "-o", path.with_suffix(".cubin")]
        output = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    return {
        "spilled": sum(map(int, re.findall(r"(\d+) bytes spill stores", output))),
        "tensor_core": len(re.findall(r"wgmma\.mma_async|mma\.sync", assembly)),
        "inexact": len(re.findall(r"fma\.rn\.f|\.approx|\.full", assembly)),
        "asynchronous_copies": len(re.findall(r"cp\.async\.c[ag]", assembly)),
    }


def main() -> None:
    """Compile for the capabilities that are named, such as 80 89 90."""
    report: dict[str, dict[str, dict[str, int]]] = {}
    for capability in map(int, sys.argv[1:]):
        table = {"STEPS": 17, "K": 54, "FIRST_K": 27, "PART": 27, "OFFSETS": 32, "ROWS": 16}
        one_list = table | {"K": 27, "FIRST_K": 27}
        cells = {"CHANNELS": _COUNT, "WIDTH": _COUNT + 1, "BITS": 17}
        points = cells | {
            "LOW": -49152,
            "HIGH": 49151,
            "ROWS": 256,
            "NUMBERS": sum(i << 4 * i for i in range(_COUNT)),
        }
        voxels = cells | {"COLUMN": _COUNT - 1, "FIRST": False}
        voxels |= {"COLUMNS": 16, "STEPS": 8, "ROWS": 32}
        first = voxels | {"WIDTH": voxels["CHANNELS"], "COLUMN": -1, "FIRST": True}
        runs = {"ROWS": 512}
        sums = dict.fromkeys(("now", "sums", "averaged"), "*fp32")
        average = {"FADING": -0.15, "LEAST": 1e-3, "OWN": 13, "OFFSETS": 27}
        average |= {"CLASSES": 19, "COLUMNS": 32, "ROWS": 8}
        exact = {"enable_fp_fusion": False}
        kernels = {
            "table": compiled(table_kernel, capability, _KEYS | _ROWS, table),
            "table of one list": compiled(table_kernel, capability, _KEYS | _ROWS, one_list),
            "points": compiled(point_kernel, capability, _POINTS, points, **exact),
            "voxels": compiled(voxel_kernel, capability, _VOXELS, voxels, **exact),
            "first points": compiled(voxel_kernel, capability, _VOXELS, first, **exact),
            "begins": compiled(begin_kernel, capability, _RUNS | {"begins": "*i32"}, runs),
            "runs": compiled(run_kernel, capability, _RUNS | {"begins": "*i32"}, runs),
            "averages": compiled(average_kernel, capability, _AVERAGE | sums, average),
        }
        for name, (inputs, outputs, dtype) in LAYERS.items():
            tile = choose_tile(100_000, inputs, outputs, dtype)
            pointers = dict.fromkeys(("x", "w", "bias", "residual", "out"), _POINTERS[dtype])
            constants = {"CI": inputs, "CO": outputs, "SAME": "pointwise" in name}
            constants |= {"ROWS": tile.rows, "CHANNELS": tile.channels, "DEPTH": tile.depth}
            constants |= dict.fromkeys(("PARTIAL", "BIAS", "RESIDUAL", "RELU"), True)
            constants |= {"PRECISION": "ieee", "UPCAST": False}
            kernels[name] = compiled(
                convolution_kernel,
                capability,
                {**pointers, "partial": "*fp32", **_ROWS},
                constants,
                num_stages=tile.stages,
            )
        report[str(capability)] = {n: figures(k, capability) for n, k in kernels.items()}
    print(json.dumps(report))


if __name__ == "__main__":
    main()
