# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import sys
import time

import pytest
import torch

from minkowski_perception.lab.benchmarks.timing import peak_memory, resident_memory, seconds

CPU = torch.device("cpu")


def test_seconds_include_all_of_the_work():
    assert seconds(lambda: time.sleep(0.05), CPU) >= 0.05


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux reports memory")
def test_peak_memory_includes_what_the_work_frees():
    peak = peak_memory(lambda: b"x" * 100_000_000, CPU)
    assert 90e6 < peak < 130e6
    assert 0 < resident_memory() <= resident_memory("VmHWM")
