# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""`minkowski-perception demo`: play a bag or a simulated drive through the node."""

from __future__ import annotations

import argparse
import math
import shutil
import signal
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minkowski_perception.commands.label import add_run_arguments, given_truth_set
from minkowski_perception.commands.playback import DIAGNOSTICS, node_report, read_playback
from minkowski_perception.commands.processes import (
    ProcessError,
    Processes,
    isolated_environment,
)
from minkowski_perception.commands.segmenters import load_segmenter, settings_of
from minkowski_perception.labelling.folder import REPORT
from minkowski_perception.labelling.topics import LABELLED_TOPIC, MAP_TOPIC

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from minkowski_perception.frame import Frame
    from minkowski_perception.labels import LabelSet
    from minkowski_perception.motion.ego_motion import EgoMotion
    from minkowski_perception.recordings.bags import BagReader
    from minkowski_perception.report.collector import Collector
    from minkowski_perception.report.payload import Voxels
    from minkowski_perception.settings import Settings
    from minkowski_perception.summary import Summary

DRIVE_SEED = 4016  # training and validation use other seeds
DRIVE_LIDAR = "hdl64"
DRIVE_FRAMES = 40

_START = 120.0  # seconds; enough for a slow disk and a busy machine
_ANSWER = 60.0
_PICTURES = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "--bag", type=Path, help="ROS 1 or ROS 2 bag (a simulated drive, made on first use)"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("out/demo"), help="folder for the results (%(default)s)"
    )
    parser.add_argument(
        "--realtime",
        action="store_true",
        help="play at the recorded pace, even if the node drops clouds; without it, each cloud "
        "waits until the one before it is labelled",
    )
    add_run_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Play the bag and evaluate the labels; return 1 if a process fails or a cloud is lost."""
    from minkowski_perception.labelling.report_file import write_report
    from minkowski_perception.labelling.truth import (
        doubt_about_truth,
        naming_truth_options,
        truth_set_of,
    )
    from minkowski_perception.recordings.bags import BagReader
    from minkowski_perception.recordings.motion import choose_ego_motion
    from minkowski_perception.report.collector import Collector

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    # A shell that starts this process in the background lets it ignore SIGINT.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    settings = settings_of(args)
    given = given_truth_set(args)
    path = args.bag or _simulated_drive(args.out.parent / "drives")
    truth_set = truth_set_of(path, given)
    with BagReader(path) as bag:
        for loss in bag.losses:
            print(f"minkowski-perception demo: warning: {loss}", file=sys.stderr)
        topic = bag.choose_cloud_topic(args.topic)
        motion = choose_ego_motion(bag, topic, args.ego_motion, args.odometry_topic)
        # An invalid model or device is an error here, before any process has started.
        model = load_segmenter(settings).model
        settings = replace(settings, map=model.input.shift == "none")
        _clear(args.out)
        try:
            _play(args, settings, bag, topic, motion)
        except ProcessError as error:
            print(f"minkowski-perception demo: {error}", file=sys.stderr)
            return 1
        collector = Collector(model.label_set, truth_set)
        with naming_truth_options(args.true_label_field):
            summary = _evaluate(args, bag, topic, motion, collector)
        voxels = _recorded_map(args.out, model.input.voxel_size) if settings.map else None
        if voxels is not None:
            _draw_map(args.out, bag.path.name, voxels, model.label_set)
    summary.save(args.out / "summary.json")
    if doubt := doubt_about_truth(summary, truth_set, args.true_label_field):
        print(f"minkowski-perception demo: {doubt}", file=sys.stderr)
    report = args.out / REPORT
    write_report(report, summary, collector, model, args.command_line, voxels)
    print(f"{summary.table()}\n\nresults are in {args.out}\nopen in a browser: {report}")
    if summary.pending:
        print(f"{summary.pending} clouds were lost; see {args.out}/*.log", file=sys.stderr)
        return 1
    return 0


def _simulated_drive(folder: Path) -> Path:
    """Return the path of a bag of a simulated drive with true labels and odometry.

    The drive is simulated unless the folder has it from the same version of the simulator.
    """
    from minkowski_perception.lab.simulation.version import simulator_version

    path = folder / simulator_version() / "demo_drive"
    if path.exists():
        return path
    from tqdm import tqdm

    from minkowski_perception.lab.simulation.drive import simulate_drive
    from minkowski_perception.lab.simulation.export import write_bag

    print(f"Simulating a drive into {path} ...")
    frames = simulate_drive(DRIVE_SEED, DRIVE_LIDAR, DRIVE_FRAMES)
    write_bag(path, tqdm(frames, "simulating", DRIVE_FRAMES, unit=" clouds", disable=None))
    return path


def _clear(out: Path) -> None:
    """Remove the results of an earlier run; other files in the folder stay."""
    out.mkdir(parents=True, exist_ok=True)
    if (out / "labelled" / "labelled.mcap").exists():
        shutil.rmtree(out / "labelled")
    logs = ("node.log", "recorder.log", "player.log", "playback.csv")
    names = (*logs, "summary.json", "map.png", REPORT)
    for file in [*(out / name for name in names), *out.glob("cloud_????.png")]:
        file.unlink(missing_ok=True)


def _play(
    args: argparse.Namespace, settings: Settings, bag: BagReader, topic: str, motion: EgoMotion
) -> None:
    """Play the bag through the node into OUT/labelled and OUT/playback.csv.

    Raises:
        ProcessError: a process failed.
    """
    from tqdm import tqdm

    from minkowski_perception.recordings.motion import node_ego_motion

    recording, playback = args.out / "labelled", args.out / "playback.csv"
    in_node = replace(
        settings,
        ego_motion=node_ego_motion(motion),
        # Without loss: DDS may send a lost message again only after 3 s.
        ego_motion_timeout=settings.ego_motion_timeout if args.realtime else 10.0,
        input_reliability="reliable",
    )
    topics = [LABELLED_TOPIC, DIAGNOSTICS, *([MAP_TOPIC] if settings.map else [])]
    print(f"Playing {bag.path} through the node ...")
    with Processes(args.out, isolated_environment()) as processes:
        processes.start(
            "node",
            "start",
            asdict(in_node),
            {"cloud": topic},
        )
        processes.start(
            "recorder",
            "recorder",
            {"bag": str(recording), "topics": topics},
        )
        processes.wait_until(recording.exists, "a recording", _START)
        processes.start(
            "player",
            "player",
            {
                "bag": str(bag.path),
                "topic": topic,
                "odometry_topic": args.odometry_topic or "",
                "answer_topic": LABELLED_TOPIC,
                "wait_for_answer": not args.realtime,
                "answer_timeout": _ANSWER,
                "listener_timeout": _START,
                "log": str(playback),
            },
        )
        total = bag.cloud_topics()[topic]
        with tqdm(total=total, desc="labelling", unit=" clouds", disable=None) as bar:

            def ended() -> bool:
                answered = [c for c in read_playback(playback) if not math.isnan(c.answered)]
                bar.update(len(answered) - bar.n)
                return processes.has_ended("player")

            processes.wait_until(ended, "the end of the bag")
        for name in ("player", "node", "recorder"):
            processes.stop(name)


def _evaluate(
    args: argparse.Namespace,
    bag: BagReader,
    topic: str,
    motion: EgoMotion,
    collector: Collector,
) -> Summary:
    """Return the summary of the recording, draw some of its clouds, and collect them."""
    from tqdm import tqdm

    from minkowski_perception.accounting import Counts, DropReason
    from minkowski_perception.moving import MOVING
    from minkowski_perception.pictures import save_comparison
    from minkowski_perception.recordings.bags import BagReader
    from minkowski_perception.summary import LabelStatistics, Summary

    label_set, truth_set = collector.label_set, collector.truth_set
    assert truth_set is not None
    statistics = LabelStatistics(label_set, truth_set)
    played = read_playback(args.out / "playback.csv")
    latencies = {cloud.stamp: cloud.answered - cloud.published for cloud in played}
    with BagReader(args.out / "labelled") as recording:
        report = node_report(recording)
        labelled = recording.cloud_topics().get(LABELLED_TOPIC, 0)
        pictured = {labelled * (2 * i + 1) // (2 * _PICTURES) for i in range(_PICTURES)}
        pairs = _labelled_frames(bag, topic, recording, args.true_label_field) if labelled else ()
        progress = tqdm(pairs, "evaluating", labelled, unit=" clouds", disable=None)
        for index, (frame, labels, outputs) in enumerate(progress):
            moving = outputs.get(MOVING)
            statistics.add(frame, labels, {} if moving is None else {MOVING: moving})
            located = replace(frame, pose=_pose(motion, frame))
            seconds = latencies.get(frame.stamp, math.nan)
            collector.add(located, labels, outputs, seconds=seconds)
            if index in pictured:
                title = f"{bag.path.name}, cloud {index + 1} of {labelled}: {len(frame):,} points"
                picture = args.out / f"cloud_{index + 1:04}.png"
                save_comparison(picture, frame, labels, label_set, title, moving=moving)

    answered = [cloud for cloud in played if not math.isnan(cloud.answered)]
    end = max((cloud.answered for cloud in answered), default=math.nan)
    dropped = {reason: int(report[f"dropped_{reason.value}"]) for reason in DropReason}
    return Summary.of(
        bag=str(bag.path),
        topic=topic,
        model=report["model"],
        device=report["device"],
        engine=report["engine"],
        axes=report["axes"],
        ego_motion=motion.name,
        ego_motion_reason=motion.reason,
        ego_motion_coasted=int(report["ego_motion_coasted"]),
        # Published and recorded clouds: a cloud that was lost in between stays pending.
        counts=Counts(len(played), labelled, {r: count for r, count in dropped.items() if count}),
        seconds=end - answered[0].published if answered else 0.0,
        latencies=[cloud.answered - cloud.published for cloud in answered],
        statistics=statistics,
    )


def _pose(motion: EgoMotion, frame: Frame) -> npt.NDArray[np.float64] | None:
    """Return the pose of a frame for the report; None if the recording has none at its stamp."""
    from minkowski_perception.motion.ego_motion import NoPoseError

    try:
        return motion.locate(frame)
    except NoPoseError:
        return None


def _recorded_map(out: Path, voxel_size: float) -> Voxels | None:
    """Return the last recorded map; None if there is none, or it is empty."""
    from minkowski_perception.codec import decode
    from minkowski_perception.recordings.bags import BagReader
    from minkowski_perception.report.payload import Voxels

    with BagReader(out / "labelled") as recording:
        if MAP_TOPIC not in recording.cloud_topics():
            return None
        *_, (_, message) = recording.clouds(MAP_TOPIC)
    found = decode(message, label_field="label")
    if not len(found):
        return None
    assert found.labels is not None
    return Voxels(found.points, found.labels.astype("uint8"), voxel_size)


def _draw_map(out: Path, name: str, voxels: Voxels, label_set: LabelSet) -> None:
    """Draw the map from above."""
    from minkowski_perception.pictures import save_map

    title = f"{name}: the map, {len(voxels.points):,} voxels"
    save_map(out / "map.png", voxels.points, voxels.labels, label_set, voxels.size, title)


def _labelled_frames(
    bag: BagReader, topic: str, recording: BagReader, truth_field: str
) -> Iterator[tuple[Frame, npt.NDArray[np.uint8], dict[str, npt.NDArray[np.float32]]]]:
    """Yield frames of the bag, with true labels if it has them, and their predicted labels.

    The third of each has the fields `confidence` and `moving` that the labelled cloud has.
    """
    import numpy as np

    from minkowski_perception.codec import decode, existing_field, field_values
    from minkowski_perception.moving import MOVING

    played = (cloud for _, cloud in bag.clouds(topic))
    for _, labelled in recording.clouds(LABELLED_TOPIC):
        # Both are in the same order; the recording lacks the dropped clouds.
        original = next(cloud for cloud in played if _stamp(cloud) == _stamp(labelled))
        frame = decode(original, label_field=existing_field(original, truth_field))
        labels = decode(labelled, label_field="label").labels
        assert labels is not None
        fields = {name: field_values(labelled, name) for name in ("confidence", MOVING)}
        known = {name: values for name, values in fields.items() if values is not None}
        yield frame, labels.astype(np.uint8), known


def _stamp(message: Any) -> tuple[int, int]:
    return message.header.stamp.sec, message.header.stamp.nanosec
