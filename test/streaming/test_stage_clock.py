# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import time

import pytest
import torch

from minkowski_perception.streaming.stage_clock import StageClock


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_stages_last_from_the_end_of_the_one_before(device):
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("needs CUDA")
    started = time.perf_counter()
    clock = StageClock(torch.device(device))
    torch.ones(10, device=device).sum()
    clock.end("first")
    clock.end("second")
    seconds = clock.seconds()
    elapsed = time.perf_counter() - started
    assert list(seconds) == ["first", "second"]
    assert min(seconds.values()) >= 0.0
    assert sum(seconds.values()) <= elapsed
