# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Mutated clouds through codec, segmenter and encoder."""

import numpy as np
from campaigns import Campaign
from cloud_mutations import mutated_cloud, random_word

from minkowski_perception.accounting import DropReason
from minkowski_perception.codec import field_values
from minkowski_perception.labels import UNLABELLED
from minkowski_perception.motion.ego_motion import StandingStill
from minkowski_perception.segmenter import Segmenter
from minkowski_perception.stream import Dropped, Stream

CLOUDS = 10  # of a stream
REFUSALS = {DropReason.MALFORMED, DropReason.OUT_OF_ORDER, DropReason.UNSUITABLE}


class Clouds(Campaign):
    """Streams of mutated clouds; a word is a cloud of `cloud_mutations`.

    Each cloud is labelled or refused by its content, and counted once. A labelled cloud has the
    input's bytes and a label for each point.
    """

    name = "clouds"
    number = 100_000

    def __init__(self, model):
        self._segmenter = Segmenter.load(model, engine="torch", device="cpu")

    def case(self, rng):
        return [random_word(rng) for _ in range(CLOUDS)]

    def check(self, words):
        stream = Stream(self._segmenter.another_stream(), StandingStill())
        for index, word in enumerate(words):
            cloud = mutated_cloud(word, index)
            stream.accounting.received()
            try:
                labelled = stream.label(cloud, received_at=1)
            except Dropped as drop:
                if drop.reason not in REFUSALS:
                    raise AssertionError(f"{drop.reason.value}: {drop}") from drop
                continue
            self._check_labelled(cloud, labelled)
            stream.delivered(labelled)
        counts = stream.accounting.snapshot()
        assert counts.received == len(words)
        assert counts.pending == 0

    def _check_labelled(self, cloud, labelled):
        number = cloud.height * cloud.width
        out = labelled.cloud
        assert len(labelled.frame) == out.height * out.width == number
        rows = np.frombuffer(out.data, np.uint8).reshape(out.height, out.width, out.point_step)
        given = np.frombuffer(cloud.data, np.uint8)
        step = max(cloud.row_step, cloud.width * cloud.point_step)
        for row in range(cloud.height if number else 0):
            first = row * step
            length = cloud.width * cloud.point_step
            kept = rows[row, :, : cloud.point_step].reshape(-1)
            assert np.array_equal(given[first : first + length], kept)
        labels = field_values(out, "label")
        confidence = field_values(out, "confidence")
        assert len(labels) == len(confidence) == number
        classes = len(self._segmenter.label_set)
        assert ((labels < classes) | (labels == UNLABELLED)).all()
        assert ((confidence >= 0.0) & (confidence <= 1.0)).all()
        finite = np.isfinite(labelled.frame.points).all(axis=1)
        assert (labels[~finite] == UNLABELLED).all()
