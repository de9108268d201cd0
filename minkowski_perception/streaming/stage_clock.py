# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Durations of the stages of a frame on a device."""

from __future__ import annotations

import copy
from itertools import pairwise
from time import perf_counter
from typing import Any

import torch


class StageClock:
    """Durations of consecutive stages; the first one starts now.

    CUDA runs behind the host, so there the device itself notes when each stage ends, and the host
    does not wait until it asks for the durations.

    Args:
        device: that computes the stages.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._names: list[str] = []
        self._marks = [self._mark()]

    def again(self) -> StageClock:
        """Return a clock that started at the same time, without stages."""
        clock = copy.copy(self)
        clock._names, clock._marks = [], self._marks[:1]
        return clock

    def end(self, stage: str) -> None:
        """End a stage; the next one starts."""
        self._names.append(stage)
        self._marks.append(self._mark())

    def seconds(self) -> dict[str, float]:
        """Return the durations by stage, when the device has computed them all."""
        if self._device.type == "cuda":
            self._marks[-1].synchronize()
            durations = [1e-3 * start.elapsed_time(end) for start, end in pairwise(self._marks)]
        else:
            durations = [end - start for start, end in pairwise(self._marks)]
        return dict(zip(self._names, durations, strict=True))

    def _mark(self) -> Any:
        if self._device.type != "cuda":
            return perf_counter()
        if torch.cuda.is_current_stream_capturing():
            return None  # a graph has no stages
        event = torch.cuda.Event(enable_timing=True)
        event.record(torch.cuda.current_stream(self._device))
        return event
