# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Tests of when frames are graphs; test_pretended_gpu.py records and replays real ones."""

from contextlib import contextmanager, nullcontext
from itertools import count
from unittest import mock

import pytest
import torch

from minkowski_perception.streaming.frame_graph import FrameGraph


@contextmanager
def recording(*, fails=False):
    """Graphs that repeat nothing, as if their results were always the same."""

    def begin(graph, **_):
        if fails:
            raise RuntimeError("operation not permitted")
        return nullcontext()

    with mock.patch.multiple(torch.cuda, CUDAGraph=mock.Mock, graph=begin):
        yield


def frames_of(graph, keys, raw=lambda: 1):
    """Compute frames that are their numbers; return those that are new results."""
    for i, key in enumerate(keys):
        found, replayed = graph.computed(
            key, [], (), lambda _, i=i: (i, torch.tensor([raw()]), ())
        )
        yield found, replayed is not None


def test_the_second_frame_of_a_key_is_recorded_and_the_later_ones_are_replays():
    with recording():
        found = list(frames_of(FrameGraph(enabled=True), "aaabbba"))
    assert found == [
        *((0, False), (1, True), (1, True)),
        *((3, False), (4, True), (4, True)),
        (6, False),
    ]


def test_without_graphs_each_frame_is_computed():
    with recording():
        found = list(frames_of(FrameGraph(enabled=False), "aaa"))
    assert found == [(0, False), (1, False), (2, False)]


@pytest.mark.parametrize("fails", [True, False])
def test_a_graph_that_cannot_be_recorded_or_differs_ends_graphs_with_a_warning(fails):
    graph = FrameGraph(enabled=True)
    raw = (lambda: 1) if fails else count().__next__
    cause = "operation not permitted" if fails else "its results differ"
    with recording(fails=fails), pytest.warns(UserWarning, match=f"without a CUDA graph: {cause}"):
        found = list(frames_of(graph, "aaa", raw))
    assert found == [(0, False), (1, False), (2, False)]
    assert not graph.enabled
