# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Check the CUDA path on a GPU and measure it, in under ten minutes.

Every step is printed and written to the JSON file as soon as it is done. A step that fails does
not stop the next one, and none starts when the time is over, so the check can be cut off.

    python tools/gpu_check.py --out out/gpu_check.json
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
import traceback
from argparse import ArgumentDefaultsHelpFormatter, ArgumentParser, Namespace
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import torch

from minkowski_perception.frame import Frame
from minkowski_perception.lab.benchmarks import engines
from minkowski_perception.lab.benchmarks.scans import FEATURES, Scan
from minkowski_perception.networks.model import load_model
from minkowski_perception.segmenter import Segmenter
from minkowski_perception.sparse import quantize
from minkowski_perception.sparse.engines.base import EngineError
from minkowski_perception.trial import trial_frame

ROOT = Path(__file__).resolve().parents[1]
MODELS = ("outdoor_lidar", "indoor_depth")
CONTENDERS = (
    ("torch", "float32"),
    ("triton", "float32"),
    ("triton", "float16"),
    ("triton", "bfloat16"),
    ("spconv_triton", "float16"),
)
_FRAMES, _REPEATS = 4, 20
_RUNTIME = (
    "cudaLaunchKernel",
    "cudaGraphLaunch",
    "cudaStreamSynchronize",
    "cudaDeviceSynchronize",
    "cudaMemcpyAsync",
)


class Check:
    """The steps, cheap and telling ones first.

    Args:
        points: of a frame.
        network_points: of the scan for the large network.
    """

    device = torch.device("cuda")

    def __init__(self, points: int, network_points: int) -> None:
        self._points = points
        self._network_points = network_points

    @property
    def steps(self) -> tuple[Callable[[], Any], ...]:
        """Functions that return what goes into the report, under their names."""
        steps = self.card, self.labels, self.frames, self.rates, self.large_network, self.tests
        return steps

    def card(self) -> dict[str, Any]:
        """Name the GPU and the versions."""
        index = torch.cuda.current_device()
        return {
            "device": torch.cuda.get_device_name(index),
            "torch": torch.__version__,
            **{name: _version(name) for name in ("triton", "spconv-triton")},
            "date": time.strftime("%Y-%m-%d"),
        }

    def labels(self) -> dict[str, Any]:
        """Return the smallest share of labels of a frame that equal the CPU's."""
        report: dict[str, Any] = {}
        for model in MODELS:
            on_cpu = Segmenter(load_model(model), device="cpu", engine="torch")
            expected = [on_cpu.segment(frame).labels for frame in self._street(_FRAMES)]
            for engine, precision in CONTENDERS:
                report[f"{model}, {engine} {precision}"] = _or_error(
                    lambda m=model, e=engine, p=precision, x=expected: min(
                        float((found.labels == labels).mean())
                        for found, labels in zip(self._segment(m, e, p), x, strict=True)
                    )
                )
        return report

    def frames(self) -> dict[str, Any]:
        """Return milliseconds of a frame, by stage where it is no graph; calls; megabytes."""
        return {
            f"{model}, {engine} {precision}": _or_error(
                lambda m=model, e=engine, p=precision: self._cost(m, e, p)
            )
            for model in MODELS
            for engine, precision in CONTENDERS
        }

    def rates(self) -> dict[str, Any]:
        """Return multiply-adds of large products, and bytes of copies, each second."""
        size = 2**28
        source = torch.empty(size, dtype=torch.uint8, device=self.device)
        target = torch.empty_like(source)
        seconds = statistics.median(self._seconds(lambda: target.copy_(source)) for _ in range(10))
        return {"products": engines.matrix_rates(self.device), "copied bytes": 2 * size / seconds}

    def large_network(self) -> dict[str, Any]:
        """Return milliseconds of MinkUNet34-W32, beside spconv-triton's own network."""
        points = trial_frame(self._network_points).points
        voxels = torch.from_numpy(np.floor(points / 0.05).astype(np.int64))
        cells = quantize(torch.nn.functional.pad(voxels, (1, 0))).coordinates
        scan = Scan("street", len(points), cells, torch.ones(len(cells), len(FEATURES)))
        race = engines.race("MinkUNet34-W32", scan, self.device, repeats=_REPEATS)
        return {
            "voxels": len(cells),
            "multiply-adds": race.macs,
            **{
                timing.contender.name: {
                    "ms": 1e3 * timing.median,
                    "labels equal": timing.labels_equal,
                }
                for timing in race.timings
            },
            "not available": race.absent,
        }

    def tests(self) -> dict[str, Any]:
        """Run the tests of the CUDA path."""
        words = "cuda or triton or gemm or gpu"
        command = [sys.executable, "-m", "pytest", "-q", "-rs", "-k", words, str(ROOT / "test")]
        done = subprocess.run(command, capture_output=True, text=True, timeout=240, cwd=ROOT)
        return {"status": done.returncode, "output": done.stdout[-3000:]}

    @cached_property
    def _scans(self) -> list[Frame]:
        return [trial_frame(self._points, i) for i in range(_FRAMES)]

    def _street(self, frames: int) -> Iterator[Frame]:
        """Yield frames of a street from a car that drives 8 m/s; scans recur, poses do not."""
        for i, scan in zip(range(frames), cycle(self._scans), strict=False):
            pose = np.eye(4)
            pose[0, 3] = 0.8 * i
            yield replace(scan, stamp=(1 + i) * 10**8, pose=pose)

    def _segmenter(self, model: str, engine: str, precision: str) -> Segmenter:
        return Segmenter(load_model(model), device="cuda", engine=engine, precision=precision)

    def _segment(self, model: str, engine: str, precision: str) -> list[Any]:
        segmenter = self._segmenter(model, engine, precision)
        return [segmenter.segment(frame) for frame in self._street(_FRAMES)]

    def _cost(self, model: str, engine: str, precision: str) -> dict[str, Any]:
        report: dict[str, Any] = {}
        for name, graphs in (("by graphs", True), ("launch by launch", False)):
            segmenter = self._segmenter(model, engine, precision)
            if graphs and not segmenter.graphs:
                continue
            segmenter.graphs = graphs
            torch.cuda.reset_peak_memory_stats()
            stages: dict[str, list[float]] = {}
            *frames, last = self._street(_REPEATS + 3)
            for frame in frames:
                started = time.perf_counter()
                found = segmenter.segment(frame)
                whole = time.perf_counter() - started
                for stage, seconds in {**found.timings, "whole": whole}.items():
                    stages.setdefault(stage, []).append(1e3 * seconds)
            with torch.profiler.profile() as profile:
                segmenter.segment(last)
            counts = {event.key: event.count for event in profile.key_averages()}
            report[name] = {
                "ms": {stage: statistics.median(values[2:]) for stage, values in stages.items()},
                "calls": {call: counts.get(call, 0) for call in _RUNTIME},
                "peak MB": torch.cuda.max_memory_allocated() / 1e6,
            }
        return report

    def _seconds(self, work: Callable[[], Any]) -> float:
        torch.cuda.synchronize()
        started = time.perf_counter()
        work()
        torch.cuda.synchronize()
        return time.perf_counter() - started


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _or_error(work: Callable[[], Any]) -> Any:
    """Return a result, or what says why there is none."""
    try:
        return work()
    except EngineError as error:
        return {"not available": str(error)}
    except Exception as error:
        return {"error": repr(error), "trace": traceback.format_exc()[-1500:]}


def run(steps: tuple[Callable[[], Any], ...], out: Path, seconds: float) -> dict[str, Any]:
    """Run steps until the time is over; write the report after each.

    Args:
        steps: return what goes into the report.
        out: JSON file.
        seconds: after which no step starts.
    """
    start, report = time.monotonic(), {}
    out.parent.mkdir(parents=True, exist_ok=True)
    for step in steps:
        began = time.monotonic()
        in_time = began - start <= seconds
        found = _or_error(step) if in_time else {"not available": "no time was left"}
        report[step.__name__] = found
        report.setdefault("seconds", {})[step.__name__] = round(time.monotonic() - began, 1)
        out.write_text(json.dumps(report, indent=1))
        print(f"{time.monotonic() - start:4.0f} s  {step.__name__}: {json.dumps(found)[:800]}")
    return report


def main() -> int:
    """Run as the module says."""
    parser = ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("out/gpu_check.json"))
    parser.add_argument("--seconds", type=float, default=540.0, help="no step starts after them")
    parser.add_argument("--points", type=int, default=120_000, help="of a frame")
    arguments: Namespace = parser.parse_args()
    if not torch.cuda.is_available():
        print("PyTorch finds no CUDA device: nothing to check")
        return 1
    check = Check(arguments.points, arguments.points)
    report = run(check.steps, arguments.out, arguments.seconds)
    return int("error" in json.dumps(report))


if __name__ == "__main__":
    sys.exit(main())
