# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Check the CUDA path on a GPU and measure it, in under ten minutes.

The steps that tell most come first. Each is printed and written to the JSON file as soon as it is
done, one that fails or hangs does not stop the next one, and none starts when the time is over:
the check can be cut off at any moment.

    python tools/gpu_check.py --out out/gpu_check.json
"""

from __future__ import annotations

import json
import multiprocessing
import re
import statistics
import subprocess
import sys
import time
import traceback
from argparse import ArgumentDefaultsHelpFormatter, ArgumentParser, Namespace
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cache, cached_property, partial
from importlib.metadata import PackageNotFoundError, version
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import torch

from minkowski_perception.frame import Frame
from minkowski_perception.lab.benchmarks import engines
from minkowski_perception.lab.benchmarks.scans import FEATURES, Scan
from minkowski_perception.labels import LabelSet
from minkowski_perception.networks import build_network
from minkowski_perception.networks.model import Model, load_model
from minkowski_perception.recordings.scan_files import is_scan, read_scan
from minkowski_perception.segmenter import Segmenter
from minkowski_perception.sparse import Capacities, quantize
from minkowski_perception.sparse.engines.base import EngineError
from minkowski_perception.trial import trial_frame
from minkowski_perception.voxels import VoxelInput, voxelize

ROOT = Path(__file__).resolve().parents[1]
MODELS = ("outdoor_lidar", "indoor_depth")
LARGE = "MinkUNet34-W32"
"""Network for 64 beams, with random weights."""
OTHERS = (
    ("triton", "float32"),
    ("triton", "bfloat16"),
    ("torch", "float32"),
    ("spconv_triton", "float16"),
)
"""Engines and precisions beside triton in float16. spconv-triton compiles for minutes."""
_FRAMES, _WARM_UP, _REPEATS = 4, 40, 20
"""Frames whose labels are compared; frames until memories have grown; frames that are timed."""
_TURNS = 1e4  # m/s^2, so that a car that turns back is no jump of its odometry
_STEP_AT_MOST, _TESTS_AT_MOST = 240.0, 200.0
"""Seconds of a step, and of the tests: these end before their step, or they would go on."""
_KERNELS = 30
"""Kernels that a report names, those that take longest."""
_TESTS = ("sparse", "streaming", "lab/training/test_resuming.py", "test_segmenter.py")
"""Where the tests of the CUDA path are."""
_WORDS = "cuda or triton or gemm or gpu or device or run_kernels or average_kernel"
_RUNTIME = (
    "cudaLaunchKernel",
    "cudaGraphLaunch",
    "cudaStreamSynchronize",
    "cudaDeviceSynchronize",
    "cudaEventSynchronize",
    "cudaMemcpyAsync",
)

Step = tuple[str, str, Callable[[], Any]]
"""Section and name in the report, and what returns the finding."""


class Check:
    """The steps, cheap and telling ones first.

    Args:
        points: of a frame.
        seconds: that the check may take.
        scans: folder of recorded scans to take instead of made-up ones; None for none.
    """

    device = torch.device("cuda")

    def __init__(self, points: int, seconds: float, scans: Path | None = None) -> None:
        self._points = points
        self._end = time.monotonic() + seconds
        self._folder = scans

    @property
    def steps(self) -> Iterator[Step]:
        """All steps, in their order."""
        first = "triton", "float16"
        yield "card", "card", self.card
        yield self._cost_step(MODELS[0], *first)
        yield "voxels", "share equal", self.voxels
        yield self._labels_step(MODELS[0], *first)
        yield self._cost_step(LARGE, *first)
        rivals = ("torch", "triton float16", "spconv-triton's own float16")
        yield "network", LARGE, partial(self.network, rivals)
        for model in MODELS[1:]:
            yield self._labels_step(model, *first)
            yield self._cost_step(model, *first)
        yield "rates", "each second", self.rates
        yield "tests", "CUDA", self.tests
        for engine, precision in OTHERS:
            for model in MODELS:
                yield self._labels_step(model, engine, precision)
                yield self._cost_step(model, engine, precision)

    def _labels_step(self, model: str, engine: str, precision: str) -> Step:
        work = partial(self.labels, model, engine, precision)
        return "labels equal to the CPU's", f"{model}, {engine} {precision}", work

    def _cost_step(self, model: str, engine: str, precision: str) -> Step:
        work = partial(self.cost, model, engine, precision)
        return "frames", f"{model}, {engine} {precision}", work

    def card(self) -> dict[str, Any]:
        """Name the GPU and the versions."""
        index = torch.cuda.current_device()
        return {
            "device": torch.cuda.get_device_name(index),
            "torch": torch.__version__,
            **{name: _version(name) for name in ("triton", "spconv-triton")},
            "date": time.strftime("%Y-%m-%d"),
        }

    def voxels(self) -> dict[str, float]:
        """Return the shares of voxels and features of a frame with the bits of the CPU's."""
        from minkowski_perception.streaming.device_voxels import DeviceVoxelizer, PointFrame

        (frame,) = self._street(1)
        spec = load_model(MODELS[0]).input
        expected = voxelize(frame, spec, frame.intensity)
        capacities = Capacities()
        given = PointFrame(
            frame, frame.intensity, DeviceVoxelizer(spec, 4, self.device, density=False)
        )
        found = given.placed(given.tensors(capacities), capacities)
        rows = slice(len(expected.features))
        pairs = {
            "keys": (found.keys[rows].cpu(), expected.quantization.keys),
            "features": (found.features[rows].cpu(), expected.features),
        }
        return {
            name: float((one == other).double().mean()) for name, (one, other) in pairs.items()
        }

    def labels(self, model: str, engine: str, precision: str) -> float:
        """Return the smallest share of a frame's labels that equal the CPU's."""
        segmenter = self._segmenter(model, engine, precision)
        return min(
            float((segmenter.segment(frame).labels == labels).mean())
            for frame, labels in zip(self._street(_FRAMES), self._expected(model), strict=True)
        )

    @cache  # noqa: B019  There is one check.
    def _expected(self, model: str) -> list[Any]:
        on_cpu = Segmenter(
            load_model(model), device="cpu", engine="torch", max_acceleration=_TURNS
        )
        return [on_cpu.segment(frame).labels for frame in self._street(_FRAMES)]

    def cost(self, model: str, engine: str, precision: str) -> dict[str, Any]:
        """Return milliseconds of a frame, by stage where it is no graph; calls; megabytes."""
        report: dict[str, Any] = {}
        for name, graphs in (("by graphs", True), ("launch by launch", False)):
            segmenter = self._segmenter(model, engine, precision)
            if graphs and not segmenter.graphs:
                continue
            segmenter.graphs = graphs
            torch.cuda.reset_peak_memory_stats()
            stages: dict[str, list[float]] = {}
            *frames, last = self._street(_WARM_UP + _REPEATS + 1)
            for i, frame in enumerate(frames):
                started = time.perf_counter()
                found = segmenter.segment(frame)
                whole = time.perf_counter() - started
                for stage, seconds in {**found.timings, "whole": whole}.items():
                    if i >= _WARM_UP:
                        stages.setdefault(stage, []).append(1e3 * seconds)
            with torch.profiler.profile(acc_events=True) as profile:
                segmenter.segment(last)
            events = profile.key_averages()
            counts = {event.key: event.count for event in events}
            report[name] = {
                "ms": {stage: statistics.median(values) for stage, values in stages.items()},
                "least ms": min(stages["whole"]),
                "busy ms": sum(event.self_device_time_total for event in events) / 1e3,
                "resets": segmenter.resets.total(),
                "graphs": segmenter.graphs,
                "voxels": found.voxel_count,
                "calls": {call: counts.get(call, 0) for call in _RUNTIME},
                "kernels": _longest(events),
                "peak MB": torch.cuda.max_memory_allocated() / 1e6,
            }
        return report

    def network(self, contenders: Sequence[str]) -> dict[str, Any]:
        """Return milliseconds of the large network alone, by contender, kernel maps included."""
        points = self._scans[0].points
        voxels = torch.from_numpy(np.floor(points / 0.05).astype(np.int64))
        cells = quantize(torch.nn.functional.pad(voxels, (1, 0))).coordinates
        scan = Scan("scan", len(points), cells, torch.ones(len(cells), len(FEATURES)))
        race = engines.race(LARGE, scan, self.device, repeats=_REPEATS, only=contenders)
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

    def rates(self) -> dict[str, Any]:
        """Return multiply-adds of large products, and bytes of copies, each second."""
        size = 2**28
        source = torch.empty(size, dtype=torch.uint8, device=self.device)
        target = torch.empty_like(source)
        seconds = statistics.median(self._seconds(lambda: target.copy_(source)) for _ in range(10))
        return {"products": engines.matrix_rates(self.device), "copied bytes": 2 * size / seconds}

    def tests(self) -> dict[str, Any]:
        """Run the tests of the CUDA path."""
        paths = (ROOT / "test" / name for name in _TESTS)
        command = [sys.executable, "-m", "pytest", "-q", "-n", "4", "-k", _WORDS, *paths]
        left = min(_TESTS_AT_MOST, self._end - time.monotonic())
        done = subprocess.run(command, capture_output=True, text=True, timeout=left, cwd=ROOT)
        return {"status": done.returncode, "output": done.stdout[-3000:]}

    @cached_property
    def _scans(self) -> list[Frame]:
        if self._folder is not None:
            paths = sorted(filter(is_scan, self._folder.iterdir()))
            return [_coloured(read_scan(path)) for path in paths]
        return [trial_frame(self._points, i) for i in range(_FRAMES)]

    def _street(self, frames: int) -> Iterator[Frame]:
        """Yield frames of a street from a car that drives 8 m/s, forward and back again."""
        there = list(range(len(self._scans)))
        for i, place in zip(range(frames), cycle(there + there[-2:0:-1]), strict=False):
            pose = np.eye(4)
            pose[0, 3] = 0.8 * place
            yield replace(self._scans[place], stamp=(1 + i) * 10**8, pose=pose)

    def _segmenter(self, model: str, engine: str, precision: str) -> Segmenter:
        loaded = _large() if model == LARGE else load_model(model)
        return Segmenter(
            loaded, device="cuda", engine=engine, precision=precision, max_acceleration=_TURNS
        )

    def _seconds(self, work: Callable[[], Any]) -> float:
        torch.cuda.synchronize()
        started = time.perf_counter()
        work()
        torch.cuda.synchronize()
        return time.perf_counter() - started


def _coloured(scan: Frame) -> Frame:
    """Return a scan with colours, for models that need them."""
    colour = np.random.default_rng(0).integers(0, 256, (len(scan), 3), dtype=np.uint8)
    return scan if scan.colour is not None else replace(scan, colour=colour)


def _large() -> Model:
    """Return a model of the large network: voxels of 5 cm, random weights."""
    features, labels = ("x", "y", "z", "intensity"), LabelSet.load("semantickitti19")
    torch.manual_seed(0)
    heads = {"classes": len(labels)}
    network = build_network(LARGE, in_channels=len(features), heads=heads).eval()
    spec = VoxelInput(0.05, features, reduce="mean")
    return Model(LARGE, network, labels, spec, window=1, card={})


def _longest(events: Iterator[Any]) -> dict[str, dict[str, float]]:
    """Return calls and milliseconds of the kernels that take longest, by name."""
    on_device = (event for event in events if event.device_type.name == "CUDA")
    longest = sorted(on_device, key=lambda event: -event.self_device_time_total)[:_KERNELS]
    return {
        event.key[:90]: {"calls": event.count, "ms": event.self_device_time_total / 1e3}
        for event in longest
    }


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


class Worker:
    """Performs steps in a process of its own, since an error on CUDA can end all work in it.

    After an error, and after a step that takes too long, the process is another one.

    Args:
        check: whose steps to perform; as it is at the beginning.
    """

    def __init__(self, check: Check) -> None:
        self._check = check
        self._process: Any = None

    def perform(self, section: str, name: str) -> Any:
        """Return the finding of a step, or what says why there is none."""
        if self._process is None:
            self._start()
        found: Any
        self._pipe.send((section, name))
        try:
            if self._pipe.poll(_STEP_AT_MOST):
                found = self._pipe.recv()
            else:
                found = {"error": f"no answer within {_STEP_AT_MOST:.0f} s"}
        except EOFError:
            found = {"error": "the process ended"}
        if isinstance(found, dict) and "error" in found:
            self.close()
        return found

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_perform_all, args=(self._check, theirs))
        self._process.start()
        theirs.close()

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._process = None


def _perform_all(check: Check, pipe: Any) -> None:
    """Perform the steps that are named through a pipe, until it closes."""
    while True:
        try:
            wanted = pipe.recv()
        except EOFError:
            return
        (work,) = (work for *names, work in check.steps if tuple(names) == wanted)
        pipe.send(_or_error(work))


def run(steps: Iterator[Step], out: Path, seconds: float) -> dict[str, Any]:
    """Run steps until the time is over; write the report after each.

    Args:
        steps: in their order.
        out: JSON file.
        seconds: after which no step starts.
    """
    start, report = time.monotonic(), {}
    out.parent.mkdir(parents=True, exist_ok=True)
    for section, name, work in steps:
        began = time.monotonic()
        in_time = began - start <= seconds
        found = _or_error(work) if in_time else {"not available": "no time was left"}
        report.setdefault(section, {})[name] = found
        taken = round(time.monotonic() - began, 1)
        report.setdefault("seconds", {})[f"{section}: {name}"] = taken
        whole = out.with_suffix(".part")
        whole.write_text(json.dumps(report, indent=1))
        whole.replace(out)  # a check that is cut off leaves no half of a file
        shown = json.dumps(found)[:800]
        print(f"{time.monotonic() - start:4.0f} s  {section}, {name}: {shown}", flush=True)
    return report


def main() -> int:
    """Run as the module says."""
    parser = ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("out/gpu_check.json"))
    parser.add_argument("--seconds", type=float, default=540.0, help="no step starts after them")
    parser.add_argument("--points", type=int, default=120_000, help="of a made-up scan")
    parser.add_argument("--scans", type=Path, help="folder of recorded scans to take instead")
    parser.add_argument("--only", default="", help="regular expression of the steps to take")
    arguments: Namespace = parser.parse_args()
    if not torch.cuda.is_available():
        print("PyTorch finds no CUDA device: nothing to check")
        return 1
    check = Check(arguments.points, arguments.seconds, arguments.scans)
    worker = Worker(check)
    steps = (
        (section, name, partial(worker.perform, section, name))
        for section, name, _ in check.steps
        if re.search(arguments.only, f"{section}: {name}")
    )
    report = run(steps, arguments.out, arguments.seconds)
    worker.close()
    return int('"error"' in json.dumps(report))


if __name__ == "__main__":
    sys.exit(main())
