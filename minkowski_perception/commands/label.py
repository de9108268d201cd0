# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""`minkowski-perception label`: label one recording or many: bags, scans and data sets."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

from minkowski_perception.commands import CommandError, natural, positive, seconds
from minkowski_perception.commands.segmenters import (
    add_ego_motion_argument,
    add_segmenter_arguments,
    load_segmenter,
    settings_of,
)
from minkowski_perception.labelling.exports import EXPORTS
from minkowski_perception.labelling.folder import BAG, BATCH_HTML, BATCH_JSON, REPORT, SUMMARY
from minkowski_perception.labelling.topics import MAP_TOPIC

if TYPE_CHECKING:
    from minkowski_perception.lab.datasets.catalogue import Dataset
    from minkowski_perception.labelling.labeller import Work
    from minkowski_perception.labels import LabelSet
    from minkowski_perception.recordings.bags import BagReader
    from minkowski_perception.recordings.scan_files import FrameReader


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "paths",
        type=Path,
        nargs="+",
        metavar="PATH",
        help="ROS 1 or ROS 2 bag (sqlite3 or MCAP); a scan (.bin, .pcd, .ply, .npy, .npz, .las, "
        ".laz) or a folder of scans; a folder of recordings, or a pattern such as "
        "'drives/**/*.mcap'; or the root of a data set, see --dataset",
    )
    parser.add_argument(
        "--dataset",
        metavar="NAME",
        help="name of the data set whose root PATH is, such as semantickitti (docs/datasets.md): "
        "all its sequences are labelled, or the one that --topic names",
    )
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="DIR",
        help="folder for the bag 'labelled' and summary.json; of several recordings each has its "
        "own folder in it, and batch.html is the overview. The same command goes on with "
        "what was stopped, and skips recordings that are finished",
    )
    parser.add_argument(
        "--map",
        type=Path,
        metavar="FILE",
        help="also make a map of the bag's voxels; write it to this PLY file (of several "
        "recordings each in its own folder), and to the end of the bag 'labelled' as "
        f"{MAP_TOPIC}",
    )
    parser.add_argument(
        "--export",
        nargs="+",
        default=(),
        choices=EXPORTS,
        metavar="FORMAT",
        help=f"also write the labelled clouds for other tools: {', '.join(EXPORTS)}",
    )
    parser.add_argument(
        "--pictures",
        type=natural,
        default=0,
        metavar="N",
        help="also draw this number of clouds of each recording as PNG (0)",
    )
    parser.add_argument(
        "--report",
        action="store_true",
        help=f"also write {REPORT}, which shows clouds, figures over time and, with --map, the "
        "map in a browser",
    )
    add_selection_arguments(parser)
    group = parser.add_argument_group("several recordings")
    group.add_argument(
        "--jobs",
        type=positive,
        metavar="N",
        help="recordings at once, which share the CPU threads (1; with --ray as many as the "
        "cluster has CPUs for, one thread each)",
    )
    group.add_argument(
        "--ray",
        metavar="ADDRESS",
        help="label on this Ray cluster, such as auto or ray://head:10001; all its machines need "
        "the same paths and this package",
    )
    add_run_arguments(parser)


def add_selection_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments that say which clouds of a recording are taken; see `Selection`."""
    group = parser.add_argument_group("which clouds")
    group.add_argument(
        "--start",
        type=seconds,
        default=0.0,
        metavar="SECONDS",
        help="leave out the first seconds of each recording (0)",
    )
    group.add_argument(
        "--frames",
        type=positive,
        metavar="N",
        help="take at most N clouds of each recording (all)",
    )
    group.add_argument(
        "--every",
        type=positive,
        default=1,
        metavar="N",
        help="take each Nth cloud; the network does not see those between (1)",
    )


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of every run over a bag."""
    parser.add_argument(
        "--topic", help="cloud topic; needed where the bag has several (the only one with clouds)"
    )
    add_segmenter_arguments(parser)
    add_ego_motion_argument(parser, "its odometry or transforms")
    parser.add_argument(
        "--odometry-topic",
        metavar="TOPIC",
        help="topic of nav_msgs/Odometry; needed where the bag has several, and no transforms",
    )
    parser.add_argument(
        "--true-label-field",
        default="true_label",
        metavar="FIELD",
        help="field of the clouds with true labels, which labels are scored against where it "
        "exists; '' to score nothing (%(default)s)",
    )
    parser.add_argument(
        "--true-label-set",
        metavar="SET",
        help="label set of that field: a name that label-sets lists, or a .yaml file "
        "(of simulated recordings their own, else semantickitti19)",
    )


def run(args: argparse.Namespace) -> int:
    """Label the recordings; return 1 if one fails, or has no point that could be labelled.

    A recording that is given itself has its results in --out; of others each has its own folder.
    """
    from minkowski_perception.labelling.discovery import find_recordings

    if args.dataset is not None:
        found = [(name, args.paths[0]) for name in sequence_names(args)]
        single = len(found) == 1
    else:
        found = [*find_recordings(args.paths, args.out)]
        single = [path for _, path in found] == args.paths
    return _label_one(args) if single and args.ray is None else _label_fleet(args, found)


def _label_one(args: argparse.Namespace) -> int:
    from minkowski_perception.labelling.labeller import DiskFullError, Labeller, Recording
    from minkowski_perception.labelling.progress import print_aside
    from minkowski_perception.labelling.stopping import StopSignals
    from minkowski_perception.labelling.watch import PrintingWatch, Stopped
    from minkowski_perception.summary import Summary

    [path] = args.paths
    recording = Recording(path.name, path, args.out, args.topic, args.map)
    labeller = Labeller(_work(args))
    with StopSignals() as signals:
        watch = PrintingWatch(signals.received)
        try:
            summary = Summary.from_dict(labeller.label(recording, watch))
        except Stopped as stopped:
            print_aside(f"{stopped}; the same command goes on from there")
            return signals.status
        except DiskFullError as error:
            print_aside(f"{error}; make room, then the same command goes on")
            return 1
        finally:
            watch.close()
    print(f"{summary.table()}\n\n{args.out / BAG}\n{args.out / SUMMARY}")
    if args.map is not None:
        print(args.map)
    if args.report:
        print(f"open in a browser: {args.out / REPORT}")
    if not summary.received:
        print_aside(f"no cloud was taken: the recording ends before --start {args.start:g}")
        return 1
    if summary.label_shares.keys() <= {"unlabelled"}:
        print_aside("no point was labelled")
        return 1
    return 0


def _label_fleet(args: argparse.Namespace, found: Sequence[tuple[str, Path]]) -> int:
    from minkowski_perception.labelling.fleet import Pool, label_fleet
    from minkowski_perception.labelling.labeller import Recording
    from minkowski_perception.labelling.outcome import Status
    from minkowski_perception.labelling.progress import print_aside
    from minkowski_perception.labelling.ray_workers import run_on_ray
    from minkowski_perception.labelling.stopping import StopSignals
    from minkowski_perception.labelling.workers import run_on_processes

    if args.map is not None and args.map.name != str(args.map):
        raise CommandError(
            f"--map {args.map}: of several recordings each map is in its own folder; give the "
            f"file's name only, such as --map {args.map.name}"
        )
    out = args.out.resolve()
    recordings = [
        Recording(
            name,
            path.resolve(),
            out / name,
            name if args.dataset is not None else args.topic,
            None if args.map is None else out / name / args.map,
        )
        for name, path in found
    ]
    pool: Pool
    if args.ray is None:
        jobs = args.jobs or 1
        work = _work(args, threads=max(1, len(os.sched_getaffinity(0)) // jobs))
        pool = partial(run_on_processes, work, jobs=jobs)
    else:
        work = _work(args, threads=1)
        pool = partial(run_on_ray, work, address=args.ray, jobs=args.jobs)

    with StopSignals() as signals:
        batch = label_fleet(recordings, work, pool, out, signals)
    print(f"{batch.table()}\n\n{out / BATCH_HTML}\n{out / BATCH_JSON}")
    print_aside(batch.closing())
    if signals.received():
        return signals.status
    good = (Status.LABELLED, Status.FINISHED)
    return 0 if all(outcome.status in good for outcome in batch.outcomes) else 1


def _work(args: argparse.Namespace, threads: int = 0) -> Work:
    """Return what the arguments ask to do with a recording.

    Args:
        args: of the command.
        threads: of each recording, unless the arguments say it.

    Raises:
        DatasetError: the data set is unknown or cannot be read.
        LabelSetError: the label set is unknown.
        SettingsError: a setting is not valid.
    """
    from minkowski_perception.labelling.labeller import Work
    from minkowski_perception.labelling.run import Selection

    dataset = dataset_of(args)
    full_scale = None if dataset is None else dataset.intensity_full_scale
    settings = settings_of(args, intensity_full_scale=full_scale or 0.0, threads=threads)
    return Work(
        settings=replace(settings, map=args.map is not None),
        open=partial(
            open_recording, dataset=args.dataset, label_field=args.true_label_field or None
        ),
        load=load_segmenter,
        truth_field=args.true_label_field,
        truth_set=given_truth_set(args) if dataset is None else dataset.label_set,
        ego_motion=args.ego_motion,
        odometry_topic=args.odometry_topic,
        selection=Selection(args.start, args.frames, args.every),
        exports=tuple(dict.fromkeys(args.export)),
        pictures=args.pictures,
        report=args.report,
        dataset=args.dataset,
        command_line=args.command_line,
    )


def given_truth_set(args: argparse.Namespace) -> LabelSet | None:
    """Return the label set that --true-label-set names; None without one.

    Raises:
        LabelSetError: it is unknown.
    """
    from minkowski_perception.labels import LabelSet

    return None if args.true_label_set is None else LabelSet.load(args.true_label_set)


def sequence_names(args: argparse.Namespace) -> list[str]:
    """Return the sequences of the data set that are labelled.

    Raises:
        CommandError: several roots are given.
        DatasetError: the data set is unknown or cannot be read.
    """
    if len(args.paths) > 1:
        raise CommandError("--dataset takes the root of one data set")
    names = [*_open_dataset(args.dataset, args.paths[0]).sequences]
    return names if args.topic is None else [args.topic]


def dataset_of(args: argparse.Namespace) -> Dataset | None:
    """Return the data set that is named, if one is.

    Raises:
        DatasetError: it is unknown or cannot be read.
    """
    return None if args.dataset is None else _open_dataset(args.dataset, args.paths[0])


@lru_cache(maxsize=1)  # a process opens it for its settings and for each sequence
def _open_dataset(name: str, root: Path) -> Dataset:
    from minkowski_perception.lab.datasets.catalogue import open_dataset

    return open_dataset(name, root)


def open_recording(
    path: Path, dataset: str | None, label_field: str | None
) -> BagReader | FrameReader:
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
