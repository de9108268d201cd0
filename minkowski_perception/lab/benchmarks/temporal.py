# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Cost of a frame: incremental 4D compared with 3D and windowed 4D.

All contenders run the same stream on the CPU with the same engine. They take each frame in turns,
so that other processes slow all of them equally, in a new random order for each frame, because a
contender that follows a large window finds cold caches. A ratio is the median of the ratios of the
frames. It compares the network's time, kernel maps included: voxelization takes all contenders the
same time. Whole frames, from points to labels, are reported too.

The stages of a frame are those of the model as a robot runs it: incremental, with its CRF and
averaging.
"""

from __future__ import annotations

import gc
import random
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import cycle, islice
from statistics import median
from typing import Any

from minkowski_perception.frame import NANOSECONDS, Frame
from minkowski_perception.lab.benchmarks import BenchmarkError
from minkowski_perception.lab.benchmarks.timing import held_memory
from minkowski_perception.networks import build_network
from minkowski_perception.networks.blocks import SPATIAL_DIMENSION
from minkowski_perception.networks.model import Model
from minkowski_perception.networks.network import Network
from minkowski_perception.segmenter import Segmenter
from minkowski_perception.sparse.engines.base import precision_name

WINDOWS = (3, 5, 8)
FLAT, INCREMENTAL = "3D", "4D incremental"

MOST_OVER_3D = 1.25
LEAST_OVER_INCREMENTAL = 0.8
"""Limits of the ratios in the table; the second for each frame of a window."""


_WARM_UP, _STAGED = 12, 30
"""Frames before averaging has its usual past, and frames whose stages are measured."""


def windowed(length: int) -> str:
    """Return the name of windowed execution with this number of frames."""
    return f"4D window of {length}"


def causal_model(
    model: Model, links: Sequence[str] | None = None, recall: int | None = None
) -> Model:
    """Return a model with a causal network.

    This is the model itself if its network is causal and no other links are given. Otherwise the
    network is rebuilt with causal kernels and random weights, which do not affect time.

    Args:
        model: defines the network, except for its kernels.
        links: see `Links.levels`.
        recall: see `Links.recall`.

    Raises:
        ValueError: invalid links or recall, or the network has no causal kernel.
    """
    if model.network.causal and links is None and recall is None:
        return model
    changes = {"kernel": "causal", "dimension": 4, "links": links, "recall": recall}
    config = {**model.card["network"], **{k: v for k, v in changes.items() if v is not None}}
    network = build_network(**config).eval()
    name = f"{model.name} with causal kernels of random weights"
    return replace(model, name=name, network=network, crf=None)


def contenders(
    model: Model, engine: str = "auto", precision: str = "auto"
) -> dict[str, Segmenter]:
    """Return the segmenters to compare, by name; the 3D network chooses the engine for all.

    Args:
        model: with a causal network.
        engine: see `choose_engine`.
        precision: see `choose_engine`.

    Raises:
        ValueError: the engine or the precision is not available.
    """
    # Without de-skewing, so that point times, which not all streams have, make no difference.
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
    """Time and memory of a contender.

    Attributes:
        network: seconds of the network, for each frame.
        frame: seconds from points to labels, for each frame.
        state_bytes: largest size of the stream's state.
    """

    network: list[float] = field(default_factory=list)
    frame: list[float] = field(default_factory=list)
    state_bytes: int = 0


def compare(
    segmenters: Mapping[str, Segmenter], frames: Iterable[Frame], count: int
) -> dict[str, Cost]:
    """Let all segmenters label the frames in turns.

    Args:
        segmenters: from `contenders`.
        frames: of one stream.
        count: number of frames to measure; frames before all windows are full do not count.

    Returns:
        costs by name.

    Raises:
        BenchmarkError: the stream has too few frames.
    """
    costs = {name: Cost() for name in segmenters}
    rng = random.Random(0)
    measured = 0
    for frame in frames:
        turns = {}
        gc.collect()
        for name, segmenter in rng.sample(list(segmenters.items()), len(segmenters)):
            started = time.perf_counter()
            result = segmenter.segment(frame)
            turns[name] = result, time.perf_counter() - started
            costs[name].state_bytes = max(costs[name].state_bytes, segmenter.state_bytes)
        if any(turns[windowed(length)][0].frame_count < length for length in WINDOWS):
            continue
        for name, (result, seconds) in turns.items():
            costs[name].network.append(result.timings["network"])
            costs[name].frame.append(seconds)
        measured += 1
        if measured == count:
            return costs
    raise BenchmarkError(
        f"the stream has {measured} frames once a window of {max(WINDOWS)} is full, not {count}"
    )


def report(costs: Mapping[str, Cost]) -> dict[str, Any]:
    """Return the ratios, times and state sizes for JSON."""
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


def stages(model: Model, like: Segmenter, frames: Sequence[Frame]) -> dict[str, float]:
    """Return the median milliseconds of each stage of a frame, and of the whole "frame".

    Args:
        model: runs incrementally, with its CRF and averaging.
        like: a segmenter with the engine to use.
        frames: of one stream, 2 or more; they are labelled forth and back.
    """
    engine = like.engine.engine
    segmenter = Segmenter(
        model,
        device="cpu",
        execution="incremental",
        engine=engine.name,
        precision=precision_name(engine.precision),
    )
    seconds: dict[str, list[float]] = {}
    for frame in islice(_forth_and_back(frames), _WARM_UP + _STAGED):
        gc.collect()
        started = time.perf_counter()
        timings = segmenter.segment(frame).timings
        for stage, value in {**timings, "frame": time.perf_counter() - started}.items():
            seconds.setdefault(stage, []).append(value)
    return {stage: 1e3 * median(values[-_STAGED:]) for stage, values in seconds.items()}


def _forth_and_back(frames: Sequence[Frame]) -> Iterator[Frame]:
    """Yield the frames forth and back without end, with stamps of 10 Hz."""
    for i, frame in enumerate(cycle([*frames, *frames[-2:0:-1]])):
        yield replace(frame, stamp=(i + 1) * NANOSECONDS // 10)


def second_stream(segmenter: Segmenter, frames: Iterable[Frame]) -> dict[str, int]:
    """Return the bytes that a second stream over the same network takes.

    Args:
        segmenter: of the first stream, which has labelled frames already.
        frames: of the second stream.

    Raises:
        OSError: the system does not report memory.
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
    lines.append(f"{name:36}{''.join(ratios)}   limit: at most {MOST_OVER_3D:.2f}")
    for length in WINDOWS:
        name = f"window of {length} over incremental"
        ratios = [f"{f['window_over_incremental'][str(length)]:>8.2f}" for f in (figures, whole)]
        limit = LEAST_OVER_INCREMENTAL * length
        lines.append(f"{name:36}{''.join(ratios)}   limit: at least {limit:.1f}")
    return "\n".join(lines)


def stage_table(milliseconds: Mapping[str, float]) -> str:
    """Return the figures of `stages` as lines of text."""
    lines = [f"{'stage':16}{'ms':>8}"]
    return "\n".join([*lines, *(f"{name:16}{ms:>8.1f}" for name, ms in milliseconds.items())])


def state_sentence(network: Network, most: int) -> str:
    """Describe the state of an incremental stream, whose largest size is `most` bytes."""
    layers = len(network.linked_layers)
    frames = "frame" if network.recall == 1 else f"{network.recall} frames"
    return (
        f"State of the incremental stream: at most {most / 1e6:.2f} MB, the inputs of {layers} "
        f"layers on the voxels of the last {frames}, each voxel once; it does not grow with the "
        "length of the stream."
    )


def second_stream_sentence(figures: Mapping[str, int]) -> str:
    """Describe the figures of `second_stream`."""
    resident, state, weights = (
        figures[key] / 1e6 for key in ("resident_bytes", "state_bytes", "weight_bytes")
    )
    return (
        f"A second stream over the same network: {resident:+.2f} MB of memory, of which "
        f"{state:.2f} MB are its state; both share the weights ({weights:.2f} MB)."
    )
