# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Warm-up: what the first clouds would compile, load and allocate."""

from __future__ import annotations

from collections.abc import Iterator

from minkowski_perception.codec import CloudData, as_message, encode_frame
from minkowski_perception.frame import NANOSECONDS
from minkowski_perception.motion.ego_motion import StandingStill
from minkowski_perception.segmenter import Segmenter
from minkowski_perception.stream import Stream
from minkowski_perception.trial import trial_frame

_POINTS = 20_000
_FRAMES = 2  # the second one is averaged, and reads the features of the first
_PERIOD = NANOSECONDS // 10


def label_trial_clouds(segmenter: Segmenter) -> Iterator[CloudData]:
    """Label made-up clouds, in a stream of their own, and yield each with its labels.

    Raises:
        Dropped: they cannot be labelled.
    """
    stream = Stream(segmenter.another_stream(), StandingStill())
    for i in range(_FRAMES):
        cloud = encode_frame(trial_frame(_POINTS, i))
        stream.accounting.received()
        yield stream.label(as_message(cloud, NANOSECONDS + i * _PERIOD, "trial")).cloud
    stream.map()
