# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import threading

import pytest
import torch

from minkowski_perception.sparse import largest, softmax, threads
from minkowski_perception.sparse.threads import run_on_rows, run_on_threads


@pytest.fixture
def two_threads(monkeypatch):
    monkeypatch.setattr(threads, "thread_count", lambda: 2)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)


def test_threads_that_have_not_started_are_not_waited_for():
    started, release = threading.Event(), threading.Event()

    def block():
        started.set()
        release.wait(60)

    busy = threads._pool(1).submit(block)
    assert started.wait(60)
    calls = []
    run_on_threads(lambda: calls.append(threading.get_ident()), 2)
    assert calls == [threading.get_ident()]
    release.set()
    busy.result(60)


def test_an_error_of_another_thread_is_raised():
    both = threading.Barrier(2, timeout=60)
    caller = threading.get_ident()

    def fail_elsewhere():
        both.wait()
        if threading.get_ident() != caller:
            raise ValueError("elsewhere")

    with pytest.raises(ValueError, match="elsewhere"):
        run_on_threads(fail_elsewhere, 2)


@pytest.mark.parametrize("count", [0, 1, 5001, 20_000])
def test_slices_cover_all_rows_once(two_threads, count):
    seen = torch.zeros(count)
    run_on_rows(lambda rows: seen[rows].add_(1), count)
    assert torch.equal(seen, torch.ones(count))


@pytest.mark.parametrize("inference", [False, True])
@pytest.mark.parametrize("count", [0, 3, 20_001])
def test_row_operations_equal_those_of_pytorch_to_the_bit(two_threads, count, inference):
    with torch.inference_mode(inference):
        values = torch.randn(count, 19)
        assert torch.equal(softmax(values), torch.softmax(values, dim=1))
        for ours, theirs in zip(largest(values), values.max(dim=1), strict=True):
            assert torch.equal(ours, theirs)


def test_gradients_flow_through_the_softmax():
    values = torch.randn(3, 4, requires_grad=True)
    softmax(values)[:, 0].sum().backward()
    assert values.grad.abs().sum() > 0
