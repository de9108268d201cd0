# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import sys

import pytest

from minkowski_perception.lab.benchmarks.memory import resident_while_streaming
from minkowski_perception.segmenter import Segmenter


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux reports memory")
def test_memory_does_not_grow_during_a_stream():
    pytest.importorskip("open3d", reason="needs Open3D, which simulates the stream")
    held = dict(resident_while_streaming(Segmenter.load(device="cpu"), 300, 1500))
    assert held[300].resident - held[100].resident < 8e6
