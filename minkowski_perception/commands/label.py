# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""`minkowski-perception label`: label the clouds of a bag without a ROS graph."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minkowski_perception.commands.segmenters import add_segmenter_arguments, load_segmenter

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from minkowski_perception.accounting import DropReason
    from minkowski_perception.codec import CloudData
    from minkowski_perception.frame import Frame
    from minkowski_perception.labels import LabelSet
    from minkowski_perception.motion.ego_motion import EgoMotion
    from minkowski_perception.recordings.bags import BagReader, BagWriter
    from minkowski_perception.segmenter import Segmenter
    from minkowski_perception.summary import Summary

LABELLED_TOPIC = "/minkowski_perception/labelled"
"""Where the labelled clouds are, the same as the node publishes them on."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("bag", type=Path, help="ROS 1 or ROS 2 bag (sqlite3 or MCAP)")
    parser.add_argument(
        "--out", type=Path, required=True, help="folder for the bag 'labelled' and summary.json"
    )
    add_run_arguments(parser)


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what every run over a bag can be told."""
    parser.add_argument("--topic", help="cloud topic; needed where the bag has several")
    add_segmenter_arguments(parser)
    parser.add_argument(
        "--ego-motion",
        choices=("auto", "bag", "kiss_icp", "none"),
        default="auto",
        help="bag: by its odometry or transforms; kiss_icp: by the clouds themselves; none: as if "
        "the sensor stood still; auto: bag where it tells of motion, else kiss_icp where that is "
        "installed, else none (%(default)s)",
    )
    parser.add_argument("--odometry-topic", help="where the bag has several")
    parser.add_argument(
        "--true-label-field",
        default="true_label",
        metavar="FIELD",
        help="field of the clouds with true labels; they are scored where it is there "
        "(%(default)s)",
    )
    parser.add_argument(
        "--true-label-set",
        default="semantickitti19",
        metavar="SET",
        help="label set of that field (%(default)s)",
    )


def run(args: argparse.Namespace) -> int:
    """Label the bag; 1 where not a single cloud could be labelled."""
    from minkowski_perception.labels import LabelSet
    from minkowski_perception.recordings.bags import BagReader, BagWriter
    from minkowski_perception.recordings.motion import choose_ego_motion

    truth_set = LabelSet.load(args.true_label_set)
    with BagReader(args.bag) as bag:
        topic = bag.choose_cloud_topic(args.topic)
        motion = choose_ego_motion(
            bag, topic, args.ego_motion, args.odometry_topic, deskew=not args.no_deskew
        )
        segmenter = load_segmenter(args)
        with BagWriter(args.out / "labelled") as writer:
            summary = label_bag(
                bag, topic, motion, segmenter, writer, args.true_label_field, truth_set
            )
    summary.save(args.out / "summary.json")
    print(f"{summary.table()}\n\n{args.out / 'labelled'}\n{args.out / 'summary.json'}")
    return 0 if summary.labelled else 1


def label_bag(
    bag: BagReader,
    topic: str,
    motion: EgoMotion,
    segmenter: Segmenter,
    writer: BagWriter,
    truth_field: str,
    truth_set: LabelSet,
) -> Summary:
    """Label the clouds of a topic as the node would if it lost none.

    Clouds that cannot be labelled are counted by reason, and the first of each reason is told on
    standard error.

    Args:
        bag: where the clouds are.
        topic: which of them.
        motion: of the sensor.
        segmenter: at the start of a stream.
        writer: takes the labelled clouds, on `LABELLED_TOPIC`.
        truth_field: field with true labels; clouds without it are not scored.
        truth_set: their label set.

    Raises:
        LabelSetError: the model's labels cannot be told in `truth_set`.
        BagError: the bag is corrupt.
    """
    from tqdm import tqdm

    from minkowski_perception.accounting import Accounting
    from minkowski_perception.summary import LabelStatistics, Summary

    accounting = Accounting()
    statistics = LabelStatistics(segmenter.label_set, truth_set)
    latencies: list[float] = []
    started = time.perf_counter()
    total = bag.cloud_topics()[topic]
    for receive_time, message in tqdm(
        bag.clouds(topic), "labelling", total, unit=" clouds", disable=None
    ):
        accounting.received()
        arrived = time.perf_counter()
        try:
            frame, cloud, labels = _label_cloud(
                message, receive_time, motion, segmenter, truth_field
            )
        except _DroppedError as drop:
            if drop.reason not in accounting.snapshot().dropped:
                tqdm.write(f"first cloud dropped as {drop.reason.value}: {drop}", sys.stderr)
            accounting.dropped(drop.reason)
            continue
        latencies.append(time.perf_counter() - arrived)
        accounting.labelled()
        writer.write_cloud(LABELLED_TOPIC, cloud, frame.stamp, frame.frame_id)
        statistics.add(labels, frame.labels)
    return Summary.of(
        bag=str(bag.path),
        topic=topic,
        model=segmenter.model.name,
        device=str(segmenter.device),
        engine=str(segmenter.engine),
        ego_motion=motion.name,
        ego_motion_reason=motion.reason,
        ego_motion_coasted=motion.coasted,
        counts=accounting.snapshot(),
        seconds=time.perf_counter() - started,
        latencies=latencies,
        statistics=statistics,
    )


def truth_field_of(message: Any, name: str) -> str | None:
    """Return the name if the cloud has a field of it, else None."""
    return name if any(field.name == name for field in message.fields) else None


class _DroppedError(Exception):
    """A cloud gets no labels, for a reason."""

    def __init__(self, reason: DropReason, message: object) -> None:
        super().__init__(message)
        self.reason = reason


def _label_cloud(
    message: Any,
    receive_time: int,
    motion: EgoMotion,
    segmenter: Segmenter,
    truth_field: str,
) -> tuple[Frame, CloudData, npt.NDArray[np.uint8]]:
    """Frame of a message, its labelled cloud, and the labels [N] uint8.

    Raises:
        _DroppedError: there are no labels for it.
    """
    from minkowski_perception.accounting import DropReason
    from minkowski_perception.codec import CloudError, decode, encode_labelled
    from minkowski_perception.motion.ego_motion import NoPoseError
    from minkowski_perception.streaming.continuity import OutOfOrderError

    try:
        frame = decode(message, label_field=truth_field_of(message, truth_field))
    except CloudError as error:
        raise _DroppedError(DropReason.MALFORMED, error) from error
    frame.stamp = frame.stamp or receive_time  # where the driver gave none
    try:
        if not segmenter.continues(frame):
            motion.reset()
        frame.pose = motion.locate(frame)
        result = segmenter.segment(frame)
    except NoPoseError as error:
        raise _DroppedError(DropReason.NO_POSE, error) from error
    except OutOfOrderError as error:
        raise _DroppedError(DropReason.OUT_OF_ORDER, error) from error
    except Exception as error:
        # One cloud that the engine fails on must not end a run over thousands, nor the node.
        raise _DroppedError(DropReason.INFERENCE_FAILED, repr(error)) from error
    colours = segmenter.label_set.palette[result.labels]
    return (
        frame,
        encode_labelled(message, result.labels, result.confidence, colours),
        result.labels,
    )
