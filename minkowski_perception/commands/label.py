# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""`minkowski-perception label`: label the clouds of a bag without a ROS graph."""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from minkowski_perception.commands import CommandError
from minkowski_perception.commands.segmenters import (
    add_ego_motion_argument,
    add_segmenter_arguments,
    load_segmenter,
    settings_of,
)

if TYPE_CHECKING:
    from minkowski_perception.lab.datasets.catalogue import Dataset
    from minkowski_perception.labels import LabelSet
    from minkowski_perception.recordings.bags import BagReader, BagWriter
    from minkowski_perception.recordings.scan_files import FrameReader
    from minkowski_perception.stream import Stream
    from minkowski_perception.summary import Summary

LABELLED_TOPIC = "/minkowski_perception/labelled"
"""Topic of the labelled clouds, the same as the node's."""
MAP_TOPIC = "/minkowski_perception/map"
"""Topic of the map, the same as the node's."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "bag",
        type=Path,
        help="ROS 1 or ROS 2 bag (sqlite3 or MCAP); a scan (.bin, .pcd, .ply, .npy, .npz, .las, "
        ".laz) or a folder of scans; or the root of a data set, see --dataset",
    )
    parser.add_argument(
        "--dataset",
        metavar="NAME",
        help="data set whose sequences are labelled, as in evaluate; --topic names the sequence",
    )
    parser.add_argument(
        "--out", type=Path, required=True, help="folder for the bag 'labelled' and summary.json"
    )
    parser.add_argument(
        "--map",
        type=Path,
        metavar="FILE",
        help="also make a map of the bag's voxels; write it to this PLY file, and to the end of "
        f"the bag 'labelled' as {MAP_TOPIC}",
    )
    add_run_arguments(parser)


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of every run over a bag."""
    parser.add_argument("--topic", help="cloud topic; needed where the bag has several")
    add_segmenter_arguments(parser)
    add_ego_motion_argument(parser, "its odometry or transforms")
    parser.add_argument("--odometry-topic", help="where the bag has several")
    parser.add_argument(
        "--true-label-field",
        default="true_label",
        metavar="FIELD",
        help="field of the clouds with true labels, which labels are scored against where it "
        "exists (%(default)s)",
    )
    parser.add_argument(
        "--true-label-set",
        default="semantickitti19",
        metavar="SET",
        help="label set of that field (%(default)s)",
    )


def run(args: argparse.Namespace) -> int:
    """Label the bag; return 1 if no point could be labelled."""
    from minkowski_perception.labels import LabelSet
    from minkowski_perception.recordings.bags import BagWriter
    from minkowski_perception.recordings.motion import choose_ego_motion
    from minkowski_perception.stream import Stream

    dataset = _dataset(args)
    full_scale = None if dataset is None else dataset.intensity_full_scale
    settings = settings_of(args, intensity_full_scale=full_scale or 0.0)
    settings = replace(settings, map=args.map is not None)
    truth_set = LabelSet.load(args.true_label_set) if dataset is None else dataset.label_set
    with _reader(args, dataset) as bag:
        for loss in bag.losses:
            print(f"minkowski-perception label: warning: {loss}", file=sys.stderr)
        topic = bag.choose_cloud_topic(args.topic)
        motion = choose_ego_motion(
            bag, topic, args.ego_motion, args.odometry_topic, deskew=settings.deskew
        )
        stream = Stream(load_segmenter(settings), motion, truth_field=args.true_label_field)
        with BagWriter(args.out / "labelled") as writer:
            summary = label_bag(bag, topic, stream, writer, truth_set)
            if args.map is not None:
                _write_map(stream, writer, args.map)
    summary.save(args.out / "summary.json")
    print(f"{summary.table()}\n\n{args.out / 'labelled'}\n{args.out / 'summary.json'}")
    if args.map is not None:
        print(args.map)
    for warning in stream.domain.warnings:
        print(f"unlike the training of the model: {warning}", file=sys.stderr)
    if summary.label_shares.keys() <= {"unlabelled"}:
        print("minkowski-perception label: no point was labelled", file=sys.stderr)
        return 1
    return 0


def _dataset(args: argparse.Namespace) -> Dataset | None:
    """Open the data set that the arguments name, if they do.

    Raises:
        DatasetError: the data set is unknown or cannot be read.
    """
    from minkowski_perception.lab.datasets.catalogue import open_dataset

    return None if args.dataset is None else open_dataset(args.dataset, args.bag)


def _reader(args: argparse.Namespace, dataset: Dataset | None) -> BagReader | FrameReader:
    """Return the reader of a data set, scans or a bag.

    Raises:
        BagError: the path is none of these.
        CommandError: the path is the root of a data set that is not named.
    """
    from minkowski_perception.recordings.scan_files import FrameReader, open_recording

    if dataset is not None:
        return FrameReader(args.bag, dataset.sequences, args.true_label_field)
    if (args.bag / "sequences").is_dir():
        raise CommandError(
            f"{args.bag} is the root of a data set: name it, such as --dataset semantickitti"
        )
    return open_recording(args.bag)


def label_bag(
    bag: BagReader | FrameReader,
    topic: str,
    stream: Stream,
    writer: BagWriter,
    truth_set: LabelSet,
) -> Summary:
    """Label the clouds of a topic as a node would that loses none.

    Clouds that cannot be labelled are counted by reason; the first of each reason is reported on
    standard error.

    Args:
        bag: where the clouds are: a bag, or frames.
        topic: which of them.
        stream: at its start; its truth field names the true labels.
        writer: takes the labelled clouds, on `LABELLED_TOPIC`.
        truth_set: label set of the true labels.

    Raises:
        LabelSetError: no mapping from the model's label set to `truth_set`.
        BagError: the bag is corrupt.
    """
    from tqdm import tqdm

    from minkowski_perception.plausibility import doubtful_unit
    from minkowski_perception.stream import Dropped
    from minkowski_perception.summary import LabelStatistics, Summary

    segmenter, accounting = stream.segmenter, stream.accounting
    statistics = LabelStatistics(segmenter.label_set, truth_set)
    latencies: list[float] = []
    doubt = ""
    started = time.perf_counter()
    total = bag.cloud_topics()[topic]
    for receive_time, message in tqdm(
        bag.clouds(topic), "labelling", total, unit=" clouds", disable=None
    ):
        accounting.received()
        arrived = time.perf_counter()
        try:
            labelled = stream.label(message, receive_time)
        except Dropped as drop:
            if accounting.snapshot().dropped[drop.reason] == 1:
                tqdm.write(f"first cloud dropped as {drop.reason.value}: {drop}", sys.stderr)
            continue
        latencies.append(time.perf_counter() - arrived)
        frame = labelled.frame
        if not doubt and (doubt := doubtful_unit(frame)):
            tqdm.write(f"minkowski-perception label: warning: {doubt}", sys.stderr)
        writer.write_cloud(LABELLED_TOPIC, labelled.cloud, frame.stamp, frame.frame_id)
        accounting.labelled()
        statistics.add(frame, labelled.result.labels, labelled.result.outputs)
    motion = stream.ego_motion
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


def _write_map(stream: Stream, writer: BagWriter, path: Path) -> None:
    """Write the map to the bag and to a PLY file.

    Raises:
        CommandError: the file cannot be written.
    """
    from minkowski_perception.recordings.ply_writer import write_ply

    found = stream.map()
    assert found is not None
    writer.write_cloud(MAP_TOPIC, found.cloud, found.voxels.stamp, found.frame_id, latched=True)
    columns = found.voxels.fields() | dict(zip("xyz", found.voxels.points.T, strict=True))
    try:
        write_ply(path, columns)
    except OSError as error:
        raise CommandError(f"cannot write {path}: {error.strerror}") from error
