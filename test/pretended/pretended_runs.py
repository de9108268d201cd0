# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Run streams on a pretended GPU and on the CPU; print what differs and what it costs, as JSON."""

# ruff: noqa: I001  pretended_gpu comes before the package.
from __future__ import annotations

import importlib.util
import json
import sys
import tempfile
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pretended_gpu
import numpy as np
import torch

from minkowski_perception.frame import Frame
from minkowski_perception.networks.model import load_model
from minkowski_perception.segmenter import Segmenter
from minkowski_perception.temperature import TemperatureScaling
from minkowski_perception.trial import trial_frame

Change = Callable[[int, Frame], Frame]

RAYS, FRAMES = 1200, 3


def street(change: Change = lambda _, frame: frame) -> list[Frame]:
    """Frames of a street between two walls, from a car that moves at 8 m/s."""
    frames = []
    for i in range(FRAMES):
        pose = np.eye(4)
        pose[0, 3] = 0.8 * i
        frame = replace(trial_frame(RAYS, i), stamp=(1 + i) * 10**8, pose=pose)
        frames.append(change(i, frame))
    return frames


def far(i: int, frame: Frame) -> Frame:
    """Drive so far that the origin of the voxels moves."""
    pose = np.eye(4)
    pose[0, 3] = 60.0 * i
    return replace(frame, pose=pose)


def nearly_empty(i: int, frame: Frame) -> Frame:
    """Leave one point of the second frame."""
    if i != 1:
        return frame
    return replace(frame, points=frame.points[:1], intensity=frame.intensity[:1], colour=None)


def without_points(i: int, frame: Frame) -> Frame:
    """Leave no measured point, and no intensity, of the second frame."""
    if i != 1:
        return frame
    return replace(frame, points=np.full_like(frame.points, np.nan), intensity=None)


RUNS: dict[str, tuple[dict[str, Any], Change]] = {
    "torch": ({"engine": "torch"}, lambda _, frame: frame),
    "triton": ({"engine": "triton", "precision": "float32"}, lambda _, frame: frame),
    "triton float16": ({"engine": "triton", "precision": "float16"}, lambda _, frame: frame),
    "window": ({"engine": "triton", "precision": "float32", "window": 2}, lambda _, f: f),
    "no CRF, no averaging": ({"engine": "torch", "crf": False, "averaging": 1}, lambda _, f: f),
    "with a map": ({"engine": "triton", "precision": "float32", "map": True}, lambda _, f: f),
    "far drive": ({"engine": "triton", "precision": "float32"}, far),
    "no poses": ({"engine": "torch"}, lambda _, frame: replace(frame, pose=None)),
    "a frame of one point": ({"engine": "triton", "precision": "float32"}, nearly_empty),
    "a frame without a point": ({"engine": "triton", "precision": "float32"}, without_points),
    "indoor_depth": (
        {"model": "indoor_depth", "engine": "triton", "precision": "float32"},
        lambda _, frame: frame,
    ),
}
"""Options of the segmenter and changes of the frames, by the name of a run."""


def segmenter(device: str, model: str = "outdoor_lidar", **options: Any) -> Segmenter:
    """Load a model on a device."""
    return Segmenter(load_model(model), device=device, **options)


def calibrated(device: str, **options: Any) -> Segmenter:
    """Load the default model with temperatures that differ by range and density."""
    temperature = ((0.5, 2.0), (1.5, 0.8))
    scaling = TemperatureScaling(temperature, (10.0,), (3,), tuple(np.linspace(-1, 1, 19)))
    return Segmenter(replace(load_model(), calibration=scaling), device=device, **options)


def run(options: dict[str, Any], change: Change) -> dict[str, Any]:
    """Return the shares of labels equal to the CPU's, and launches and waits of the last frame."""
    frames = street(change)
    on_cpu = segmenter("cpu", **{**options, "engine": "torch", "precision": "float32"})
    expected = [on_cpu.segment(frame).labels for frame in frames]
    with pretended_gpu.started() as log:
        ours = segmenter("cuda", **options)
        equal = []
        for frame, labels in zip(frames, expected, strict=True):
            log.clear()
            equal.append(float((ours.segment(frame).labels == labels).mean()))
        return {"equal": equal, **cost(log)}


def cost(log: pretended_gpu.Log) -> dict[str, Any]:
    """Return launches and waits since the log was cleared."""
    waits = {f"{kind}: {where}": times for (kind, where), times in log.waits.items()}
    return {"launches": log.launches.total(), "waits": waits}


def repeated() -> dict[str, Any]:
    """Run a calibrated stream of a sensor that creeps, by graphs and launch by launch.

    Returns the shares of labels equal to the CPU's, those of both equal to each other, the
    launches of each frame by graphs, and the cost of the last one launch by launch. (In growing
    memory, a frame may be computed twice.)
    """
    frames = []
    for i in range(7):
        pose = np.eye(4)
        pose[0, 3] = 0.01 * i
        frames.append(replace(trial_frame(RAYS // 4, 0), stamp=(1 + i) * 10**8, pose=pose))
    on_cpu = calibrated("cpu", engine="torch", precision="float32")
    expected = [on_cpu.segment(frame).labels for frame in frames]
    report: dict[str, Any] = {"equal": [], "operations": []}
    sequences = []
    with pretended_gpu.started() as log:
        graphs, singly = (
            calibrated("cuda", engine="triton", precision="float32") for _ in range(2)
        )
        singly.graphs = False
        for frame, labels in zip(frames, expected, strict=True):
            log.clear()
            by_graph = graphs.segment(frame)
            report["operations"].append(len(log.sequence))
            log.clear()
            found = singly.segment(frame)
            sequences.append(list(log.sequence))
            report["equal"].append(float((by_graph.labels == labels).mean()))
            same = np.array_equal(by_graph.confidence, found.confidence)
            report["equal"].append(float(same))
        report |= cost(log)
        kept = graphs.state(), singly.state()
        report["equal"] += [float(torch.equal(kept[1][name], t)) for name, t in kept[0].items()]
    pairs = zip(*sequences[-2:], strict=False)
    report["differing"] = [pair for pair in pairs if pair[0] != pair[1]][:5]
    report["lengths"] = [len(each) for each in sequences]
    return report


def driven() -> dict[str, Any]:
    """Run a stream of a car that drives on; return the operations of each frame."""
    operations = []
    with pretended_gpu.started() as log:
        ours = segmenter("cuda", engine="triton", precision="float32")
        for i in range(40):
            pose = np.eye(4)
            pose[0, 3] = 0.8 * i
            frame = replace(trial_frame(150, i), stamp=(1 + i) * 10**8, pose=pose)
            log.clear()
            ours.segment(frame)
            operations.append(len(log.sequence))
    return {"operations": operations, "resets": ours.resets.total()}


def restored() -> dict[str, Any]:
    """Continue a stream from its state on the CPU, beside another stream of the same network."""
    frames = street()
    with pretended_gpu.started():
        first, second = (segmenter("cuda", engine="triton", precision="float32") for _ in range(2))
        beside = first.another_stream()
        for frame in frames[:-1]:
            first.segment(frame)
            beside.segment(frame)
        second.restore({name: kept.cpu().clone() for name, kept in first.state().items()})
        labels = [each.segment(frames[-1]).labels for each in (first, second, beside)]
    return {"equal": [float((each == labels[0]).mean()) for each in labels], "waits": {}}


def multiply_adds() -> dict[str, Any]:
    """Count those of voxels that are on the GPU, as `benchmark engines` does."""
    from minkowski_perception.lab.benchmarks.engines import build
    from minkowski_perception.lab.benchmarks.networks import count_macs
    from minkowski_perception.lab.benchmarks.scans import FEATURES, Scan

    with pretended_gpu.started():
        places = torch.unique(torch.randint(-9, 9, (500, 3)), dim=0)
        voxels = torch.nn.functional.pad(places, (1, 0)).to("cuda")
        cloud = Scan("cloud", len(voxels), voxels, torch.ones(len(voxels), len(FEATURES)))
        return {"equal": [float(count_macs(build("MinkUNet14A"), cloud) > 0)], "waits": {}}


def gpu_check() -> dict[str, Any]:
    """Run the steps of tools/gpu_check.py that need no GPU's figures, on few points."""
    path = Path(__file__).parents[2] / "tools" / "gpu_check.py"
    spec = importlib.util.spec_from_file_location("gpu_check", path)
    assert spec is not None
    assert spec.loader is not None
    check = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(check)
    check._FRAMES, check._WARM_UP, check._REPEATS = 2, 2, 2
    check.MODELS = ("outdoor_lidar",)
    check.LARGE = "MinkUNet14A"  # a smaller one
    check.OTHERS = (("spconv_triton", "float16"),)
    steps = check.Check(points=100, seconds=1e6).steps
    some = (step for step in steps if step[0] not in {"rates", "tests"})
    with pretended_gpu.started(), tempfile.TemporaryDirectory() as folder:
        return check.run(some, Path(folder, "report.json"), seconds=1e6)


def main() -> None:
    """Run all, or those that are named."""
    torch.set_num_threads(1)
    actions: dict[str, Callable[[], dict[str, Any]]] = {
        name: lambda each=each: run(*each) for name, each in RUNS.items()
    }
    actions |= {
        "repeated": repeated,
        "driven": driven,
        "restored": restored,
        "multiply-adds": multiply_adds,
        "gpu check": gpu_check,
    }
    report = {}
    for name in sys.argv[1:] or actions:
        try:
            report[name] = actions[name]()
        except Exception:
            report[name] = {"error": traceback.format_exc()[-3000:]}
    print(json.dumps(report))


if __name__ == "__main__":
    main()
