# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Memory does not grow with the length of a recording, but by its poses."""

import gc
import tracemalloc
from types import SimpleNamespace

import numpy as np
import pytest
from fake_segmenters import KITTI, HeightSegmenter, random_frame

from minkowski_perception.labelling.cloud_pictures import Pictures
from minkowski_perception.labelling.exports import open_export
from minkowski_perception.labelling.output import Output
from minkowski_perception.labelling.run import label_bag
from minkowski_perception.motion.ego_motion import StandingStill
from minkowski_perception.motion.transforms import TransformTree
from minkowski_perception.recordings.scan_files import FrameReader
from minkowski_perception.report.collector import Collector, EvenlySpaced, Timeline
from minkowski_perception.stream import Stream


class Reported(Output):
    """Takes the clouds as a report does."""

    def __init__(self):
        self.collector = Collector(KITTI, KITTI, EvenlySpaced(10))
        self.collector.timeline = Timeline(10)

    def add(self, labelled, received_at):
        result = labelled.result
        self.collector.add(labelled.frame, result.labels, {"confidence": result.confidence})


class Frames:
    """Frames that are made on access."""

    def __init__(self, count):
        self._count = count

    def __len__(self):
        return self._count

    def __getitem__(self, index):
        return random_frame(index, KITTI, points=40)


def kept(tmp_path, clouds):
    """Return the bytes that a run over so many clouds has allocated at its end."""
    folder = tmp_path / str(clouds)
    folder.mkdir()
    outputs = [Reported(), Pictures(folder, KITTI, "drive", 0, clouds)]
    outputs += [open_export(name, folder, KITTI) for name in ("semantickitti", "ply")]
    reader = FrameReader(folder, {"drive": Frames(clouds)}, label_field="true_label")
    segmenter = HeightSegmenter()
    segmenter.seen = SimpleNamespace(append=lambda frame: None, clear=lambda: None)
    stream = Stream(segmenter, StandingStill(), truth_field="true_label")
    segmenter.continues = lambda frame: True
    tracemalloc.start()
    try:
        label_bag(reader, "drive", stream, outputs, KITTI)
        gc.collect()  # cycles of finished clouds wait for the collector
        return tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
        for output in outputs:
            output.close()


def test_outputs_keep_a_bounded_part_of_a_recording(tmp_path):
    kept(tmp_path, 5)  # fills caches
    short, long = kept(tmp_path, 30), kept(tmp_path, 90)
    assert long < short + 60 * 250  # a cloud has 40 points of 13 bytes and more


def test_a_transform_takes_about_a_hundred_bytes():
    def transform(i):
        stamp = SimpleNamespace(sec=i, nanosec=0)
        return SimpleNamespace(
            header=SimpleNamespace(frame_id="odom", stamp=stamp),
            child_frame_id="base_link",
            transform=SimpleNamespace(
                translation=SimpleNamespace(x=float(i), y=0.0, z=0.0),
                rotation=SimpleNamespace(x=0.0, y=0.0, z=0.0, w=1.0),
            ),
        )

    tree = TransformTree()
    tree.add(transform(0), static=False)
    tracemalloc.start()
    for i in range(1, 501):
        tree.add(transform(i), static=False)
    grown, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert grown < 500 * 200
    pose = tree.path("base_link", "odom").at(400 * 10**9)
    np.testing.assert_array_equal(pose[:3, 3], [400.0, 0.0, 0.0])
    assert pose[0, 0] == pytest.approx(1.0)
