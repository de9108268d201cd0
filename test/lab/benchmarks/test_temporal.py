# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import sys
from dataclasses import replace

import numpy as np
import pytest
from tiny_models import save_tiny

from minkowski_perception.frame import Frame
from minkowski_perception.lab.benchmarks import BenchmarkError
from minkowski_perception.lab.benchmarks.temporal import (
    FLAT,
    INCREMENTAL,
    WINDOWS,
    Cost,
    causal_model,
    compare,
    contenders,
    report,
    second_stream,
    stage_table,
    stages,
    table,
    windowed,
)
from minkowski_perception.networks.model import load_model


@pytest.fixture
def causal(tmp_path):
    save_tiny(tmp_path / "causal", dimension=4, kernel="causal")
    return load_model(tmp_path / "causal.yaml")


def stream(count, points=300):
    rng = np.random.default_rng(0)
    return [
        Frame(
            rng.uniform(-9, 9, (points, 3)).astype(np.float32),
            intensity=rng.random(points, dtype=np.float32),
            stamp=(1 + i) * 10**8,
        )
        for i in range(count)
    ]


def test_ratios_are_medians_over_the_frames():
    costs = {
        # The second frame was disturbed: a ratio of medians would differ.
        FLAT: Cost([0.1, 0.4, 0.1], [0.2, 0.5, 0.2], 10),
        INCREMENTAL: Cost([0.11, 0.48, 0.12], [0.22, 0.55, 0.2], 30),
        windowed(3): Cost([0.33, 1.44, 0.24], [0.44, 1.1, 0.4], 20),
        windowed(5): Cost([0.55, 2.4, 0.6], [0.66, 1.65, 0.6], 40),
        windowed(8): Cost([0.99, 4.32, 1.08], [0.88, 2.2, 0.8], 60),
    }
    figures = report(costs)
    assert figures["incremental_over_3d"] == pytest.approx(1.2)
    assert figures["window_over_incremental"] == pytest.approx({"3": 3.0, "5": 5.0, "8": 9.0})
    assert figures["whole_frame"]["incremental_over_3d"] == pytest.approx(1.1)
    assert figures["whole_frame"]["window_over_incremental"]["8"] == pytest.approx(4.0)
    assert figures["milliseconds"][INCREMENTAL] == pytest.approx({"network": 120, "frame": 220})
    assert figures["state_bytes"][windowed(8)] == 60
    shown = table(figures).splitlines()
    assert [f"{name} " in row for name, row in zip(costs, shown[1:6], strict=True)] == [True] * 5
    assert shown[-1].split()[-5:] == ["4.00", "limit:", "at", "least", "6.4"]


def test_frames_count_after_all_windows_are_full(causal):
    segmenters = contenders(causal, "torch")
    costs = compare(segmenters, stream(9), 2)
    assert all(len(cost.network) == len(cost.frame) == 2 for cost in costs.values())
    assert all(a < b for c in costs.values() for a, b in zip(c.network, c.frame, strict=True))
    assert all(cost.state_bytes > 0 for cost in costs.values())
    with pytest.raises(BenchmarkError, match="1 frames once a window of 8 is full, not 2"):
        compare({name: s.another_stream() for name, s in segmenters.items()}, stream(8), 2)


def test_stages_are_those_of_a_frame_with_averaging(causal):
    frames = [replace(frame, pose=np.eye(4)) for frame in stream(3)]
    incremental = contenders(causal, "torch")[INCREMENTAL]
    figures = stages(causal, incremental, frames)
    assert list(figures) == ["voxelize", "network", "heads", "average", "slice", "frame"]
    assert 0 < max(ms for name, ms in figures.items() if name != "frame") < figures["frame"]
    assert [row.split()[0] for row in stage_table(figures).splitlines()] == ["stage", *figures]


def test_contenders_have_the_same_engine_and_widths(causal):
    segmenters = contenders(causal, "torch")
    assert list(segmenters) == [FLAT, INCREMENTAL, *map(windowed, WINDOWS)]
    assert {str(s.engine) for s in segmenters.values()} == {"torch"}
    flat, incremental = segmenters[FLAT].model.network, segmenters[INCREMENTAL].model.network
    assert (flat.dimension, flat.architecture) == (3, incremental.architecture)
    assert [segmenters[n].execution for n in (INCREMENTAL, windowed(5))] == [
        "incremental",
        "window 5",
    ]


def test_a_model_is_rebuilt_only_if_it_is_not_causal_or_links_are_given(tmp_path, causal):
    assert causal_model(causal) is causal
    linked = causal_model(causal, ("none", "none", "none", "none", "voxel"), 4)
    assert list(linked.network.linked_layers) == ["block4.0.conv1"]
    assert linked.network.recall == 4
    save_tiny(tmp_path / "hybrid", dimension=4, kernel="hybrid", crf=True)
    made = causal_model(load_model(tmp_path / "hybrid.yaml"))
    assert made.network.causal
    assert made.crf is None


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux reports memory")
def test_a_second_stream_shares_the_network(causal):
    first = contenders(causal, "torch")[INCREMENTAL]
    frames = stream(3)
    first.segment(frames[0])
    figures = second_stream(first, frames)
    assert figures["weight_bytes"] == 4 * sum(p.numel() for p in causal.network.parameters())
    alone = first.another_stream()
    for frame in frames:
        alone.segment(frame)
    assert figures["state_bytes"] == alone.state_bytes > 0
