# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""`minkowski-perception label`: label the clouds of a bag without a ROS graph."""

from __future__ import annotations

import argparse
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from minkowski_perception.commands import CommandError
from minkowski_perception.commands.segmenters import (
    add_ego_motion_argument,
    add_segmenter_arguments,
    load_segmenter,
    settings_of,
)
from minkowski_perception.labelling.folder import BAG, REPORT, SUMMARY
from minkowski_perception.labelling.topics import MAP_TOPIC

if TYPE_CHECKING:
    from minkowski_perception.lab.datasets.catalogue import Dataset
    from minkowski_perception.labelling.labeller import Work
    from minkowski_perception.recordings.bags import BagReader
    from minkowski_perception.recordings.scan_files import FrameReader


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
    parser.add_argument(
        "--report",
        action="store_true",
        help=f"also write {REPORT}, which shows clouds, figures over time and, with --map, the "
        "map in a browser",
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
    from minkowski_perception.labelling.labeller import DiskFullError, Labeller, Recording
    from minkowski_perception.labelling.progress import print_aside
    from minkowski_perception.labelling.stopping import StopSignals
    from minkowski_perception.labelling.watch import PrintingWatch, Stopped
    from minkowski_perception.summary import Summary

    recording = Recording(args.bag.name, args.bag, args.out, args.topic, args.map)
    labeller = Labeller(_work(args))
    with StopSignals() as signals:
        watch = PrintingWatch(signals.received)
        try:
            summary = Summary.from_dict(labeller.label(recording, watch))
        except Stopped as stopped:
            print_aside(f"{stopped}; the same command labels it again")
            return signals.status
        except DiskFullError as error:
            print_aside(f"{error}; make room, then the same command labels it again")
            return 1
        finally:
            watch.close()
    print(f"{summary.table()}\n\n{args.out / BAG}\n{args.out / SUMMARY}")
    if args.map is not None:
        print(args.map)
    if args.report:
        print(f"open in a browser: {args.out / REPORT}")
    if summary.label_shares.keys() <= {"unlabelled"}:
        print_aside("no point was labelled")
        return 1
    return 0


def _work(args: argparse.Namespace) -> Work:
    """Return what the arguments ask to do with a recording.

    Raises:
        DatasetError: the data set is unknown or cannot be read.
        LabelSetError: the label set is unknown.
        SettingsError: a setting is not valid.
    """
    from minkowski_perception.labelling.labeller import Work
    from minkowski_perception.labelling.run import Selection
    from minkowski_perception.labels import LabelSet

    dataset = None if args.dataset is None else _open_dataset(args.dataset, args.bag)
    full_scale = None if dataset is None else dataset.intensity_full_scale
    settings = settings_of(args, intensity_full_scale=full_scale or 0.0)
    return Work(
        settings=replace(settings, map=args.map is not None),
        open=partial(open_recording, dataset=args.dataset, label_field=args.true_label_field),
        load=load_segmenter,
        truth_field=args.true_label_field,
        truth_set=LabelSet.load(args.true_label_set) if dataset is None else dataset.label_set,
        ego_motion=args.ego_motion,
        odometry_topic=args.odometry_topic,
        selection=Selection(),
        report=args.report,
        dataset=args.dataset,
        command_line=args.command_line,
    )


def _open_dataset(name: str, root: Path) -> Dataset:
    from minkowski_perception.lab.datasets.catalogue import open_dataset

    return open_dataset(name, root)


def open_recording(path: Path, dataset: str | None, label_field: str) -> BagReader | FrameReader:
    """Return the reader of a data set, scans or a bag.

    Args:
        path: of the recording.
        dataset: name of the data set; None for a bag or scans.
        label_field: see `FrameReader`.

    Raises:
        BagError: the path is none of these.
        CommandError: the path is the root of a data set that is not named.
        DatasetError: the data set is unknown or cannot be read.
    """
    from minkowski_perception.recordings import scan_files

    if dataset is not None:
        sequences = _open_dataset(dataset, path).sequences
        return scan_files.FrameReader(path, sequences, label_field)
    if (path / "sequences").is_dir():
        raise CommandError(
            f"{path} is the root of a data set: name it, such as --dataset semantickitti"
        )
    return scan_files.open_recording(path)
