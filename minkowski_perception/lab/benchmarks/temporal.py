# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What a frame costs that knows of those before it: incremental 4D beside 3D and windowed 4D.

All run the same stream on the CPU by the same engine and take each frame in turns, so that
whatever else the machine does slows all of them alike; the order is drawn anew for each frame, for
who follows a large window finds caches cold. A ratio is the median of those of the frames. What
counts is the network's time, kernel maps included: to make voxels takes all the same time, and
would flatter. Whole frames, from points to labels, are given beside it.
"""

from __future__ import annotations

import gc
import random
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Any

from minkowski_perception.frame import Frame
from minkowski_perception.lab.benchmarks import BenchmarkError
from minkowski_perception.lab.benchmarks.timing import held_memory
from minkowski_perception.networks import build_network
from minkowski_perception.networks.minkunet import SPATIAL_DIMENSION
from minkowski_perception.networks.model import Model
from minkowski_perception.networks.network import Network
from minkowski_perception.segmenter import Segmenter
from minkowski_perception.sparse.engines.base import precision_name

WINDOWS = (3, 5, 8)
FLAT, INCREMENTAL = "3D", "4D incremental"

MOST_OVER_3D = 1.25
LEAST_OVER_INCREMENTAL = 0.8
"""Of the frames of a window."""


def windowed(length: int) -> str:
    """Name of windowed execution with so many frames."""
    return f"4D window of {length}"


def causal_model(
    model: Model, links: Sequence[str] | None = None, recall: int | None = None
) -> Model:
    """Return a model whose network is causal: the same where it is and no other links are wanted.

    Else the network is built anew with random weights: time does not hang on them.

    Args:
        model: whose network it is to be, but for the kernels.
        links: see `Links.levels`.
        recall: see `Links.recall`.

    Raises:
        ValueError: the links or the recall are not possible, or the network has no causal kernel.
    """
    if model.network.causal and links is None and recall is None:
        return model
    wanted = {"kernel": "causal", "dimension": 4, "links": links, "recall": recall}
    config = {**model.card["network"], **{k: v for k, v in wanted.items() if v is not None}}
    network = build_network(**config).eval()
    name = f"{model.name} with causal kernels of random weights"
    return replace(model, name=name, network=network, crf=None)


def contenders(
    model: Model, engine: str = "auto", precision: str = "auto"
) -> dict[str, Segmenter]:
    """Segmenters to compare, by name; the engine is chosen once, for the 3D network.

    Args:
        model: with a causal network.
        engine: see `choose_engine`.
        precision: see `choose_engine`.

    Raises:
        ValueError: what is asked for is not possible.
    """
    # Recorded or simulated, whether points have times must not make a difference.
    settings: dict[str, Any] = {"device": "cpu", "crf": False, "averaging": 1, "deskew": False}
    network = model.network.twin(SPATIAL_DIMENSION, "cube").eval()
    in_3d = replace(model, name=f"{model.name} in 3D", network=network, window=1, crf=None)
    flat = Segmenter(in_3d, engine=engine, precision=precision, **settings)
    chosen = flat.engine.engine
    settings |= {"engine": chosen.name, "precision": precision_name(chosen.precision)}
    return {
        FLAT: flat,
        INCREMENTAL: Segmenter(model, execution="incremental", **settings),
        **{
            windowed(length): Segmenter(model, execution="window", window=length, **settings)
            for length in WINDOWS
        },
    }


@dataclass
class Cost:
    """What the frames of a stream cost.

    Attributes:
        network: seconds of the network, frame by frame.
        frame: seconds from points to labels.
        state_bytes: most that was kept for the frames to come.
    """

    network: list[float] = field(default_factory=list)
    frame: list[float] = field(default_factory=list)
    state_bytes: int = 0


def compare(
    segmenters: Mapping[str, Segmenter], frames: Iterable[Frame], count: int
) -> dict[str, Cost]:
    """Let all label the frames in turns.

    Args:
        segmenters: of `contenders`.
        frames: of one stream.
        count: how many to measure; those before all windows are full do not count.

    Returns:
        costs by name.

    Raises:
        BenchmarkError: the stream has not so many.
    """
    costs = {name: Cost() for name in segmenters}
    rng = random.Random(0)
    measured = 0
    for frame in frames:
        turns = {}
        gc.collect()
        for name, segmenter in rng.sample(list(segmenters.items()), len(segmenters)):
            started = time.perf_counter()
            answer = segmenter.segment(frame)
            turns[name] = answer, time.perf_counter() - started
            costs[name].state_bytes = max(costs[name].state_bytes, segmenter.state_bytes)
        if any(turns[windowed(length)][0].window < length for length in WINDOWS):
            continue
        for name, (answer, seconds) in turns.items():
            costs[name].network.append(answer.timings["network"])
            costs[name].frame.append(seconds)
        measured += 1
        if measured == count:
            return costs
    raise BenchmarkError(
        f"the stream has {measured} frames once a window of {max(WINDOWS)} is full, not {count}"
    )


def report(costs: Mapping[str, Cost]) -> dict[str, Any]:
    """Ratios, and what they are of, for machines to read."""
    return {
        **_ratios({name: cost.network for name, cost in costs.items()}),
        "whole_frame": _ratios({name: cost.frame for name, cost in costs.items()}),
        "milliseconds": {
            name: {"network": 1e3 * median(cost.network), "frame": 1e3 * median(cost.frame)}
            for name, cost in costs.items()
        },
        "state_bytes": {name: cost.state_bytes for name, cost in costs.items()},
    }


def _ratios(seconds: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    incremental = seconds[INCREMENTAL]
    return {
        "incremental_over_3d": _ratio(incremental, seconds[FLAT]),
        "window_over_incremental": {
            str(length): _ratio(seconds[windowed(length)], incremental) for length in WINDOWS
        },
    }


def _ratio(seconds: Sequence[float], others: Sequence[float]) -> float:
    return median(a / b for a, b in zip(seconds, others, strict=True))


def second_stream(segmenter: Segmenter, frames: Iterable[Frame]) -> dict[str, int]:
    """Bytes that another stream over the same network takes: in the process, and of state.

    Args:
        segmenter: of the first stream, which has run.
        frames: of the second.

    Raises:
        OSError: the system does not tell what is in memory.
    """
    before = held_memory()
    other = segmenter.another_stream()
    for frame in frames:
        other.segment(frame)
    return {
        "resident_bytes": held_memory() - before,
        "state_bytes": other.state_bytes,
        "weight_bytes": sum(p.nbytes for p in segmenter.model.network.parameters()),
    }


def table(figures: Mapping[str, Any]) -> str:
    """Return the figures of `report` as lines of text."""
    lines = [f"{'':16}{'network ms':>12}{'frame ms':>10}{'state MB':>10}"]
    for name, times in figures["milliseconds"].items():
        state = figures["state_bytes"][name] / 1e6
        lines.append(f"{name:16}{times['network']:>12.1f}{times['frame']:>10.1f}{state:>10.2f}")
    whole = figures["whole_frame"]
    lines += ["", f"{'':36}{'network':>8}{'frame':>8}"]
    name = "incremental over 3D"
    ratios = [f"{f['incremental_over_3d']:>8.2f}" for f in (figures, whole)]
    lines.append(f"{name:36}{''.join(ratios)}   at most {MOST_OVER_3D:.2f} wanted")
    for length in WINDOWS:
        name = f"window of {length} over incremental"
        ratios = [f"{f['window_over_incremental'][str(length)]:>8.2f}" for f in (figures, whole)]
        wanted = LEAST_OVER_INCREMENTAL * length
        lines.append(f"{name:36}{''.join(ratios)}   at least {wanted:.1f} wanted")
    return "\n".join(lines)


def state_sentence(network: Network, most: int) -> str:
    """Say what the state of an incremental stream is, which took so many bytes at most."""
    layers = len(network.linked_layers)
    frames = "frame" if network.recall == 1 else f"{network.recall} frames"
    return (
        f"State of the incremental stream: {most / 1e6:.2f} MB at most, the inputs of {layers} "
        f"layers on the voxels of the last {frames}, each voxel once; it does not grow with the "
        "stream."
    )


def second_stream_sentence(figures: Mapping[str, int]) -> str:
    """Say what `second_stream` found."""
    resident, state, weights = (
        figures[key] / 1e6 for key in ("resident_bytes", "state_bytes", "weight_bytes")
    )
    return (
        f"A second stream over the same network: {resident:+.2f} MB in memory, its state being "
        f"{state:.2f} MB; the weights, {weights:.2f} MB, are there once."
    )
