# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""`minkowski-perception benchmark node`: measure what ROS adds to a frame, beside a bare echo."""

from __future__ import annotations

import argparse
import math
import os
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minkowski_perception.commands import CommandError, positive, write_report
from minkowski_perception.commands.playback import DIAGNOSTICS, node_report, read_playback
from minkowski_perception.commands.processes import (
    ProcessError,
    Processes,
    isolated_environment,
)
from minkowski_perception.labelling.topics import LABELLED_TOPIC
from minkowski_perception.settings import Settings

if TYPE_CHECKING:
    from minkowski_perception.recordings.bags import BagReader

_TOPIC = "/points"
_TIMING_TYPE = "std_msgs/msg/Float32"
_TURNS = 2  # of echo and node
_START = 120.0  # seconds
_REPORT = 2.5  # seconds in which the node reports once at least
_PERIOD = 100_000_000  # nanoseconds


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the subject's arguments."""
    parser.add_argument("--model", help="name or path of the model (the default model)")
    parser.add_argument(
        "--points", type=positive, default=131_072, help="points of a cloud (%(default)s)"
    )
    parser.add_argument(
        "--clouds", type=positive, default=100, help="number of clouds (%(default)s)"
    )
    parser.add_argument("--engine", default=Settings.engine, help="of the node (%(default)s)")
    parser.add_argument("--json", type=Path, help="write the figures to this file")


def run(args: argparse.Namespace) -> int:
    """Send clouds to an echo and to the node in turns, and print the parts of the round trip."""
    from minkowski_perception.lab.benchmarks import round_trip
    from minkowski_perception.networks.model import read_card
    from minkowski_perception.recordings.bags import BagReader

    model = args.model or Settings.model
    read_card(model)  # an invalid model is an error before any process has started
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        for turn in range(_TURNS):
            _write_clouds(out / f"clouds{turn}", args.points, turn, -(-args.clouds // _TURNS))
        try:
            seconds = _play(model, args.engine, out)
        except ProcessError as error:
            raise CommandError(str(error)) from error
        with BagReader(out / "recording") as recording:
            values = node_report(recording)
            stages = _stages(recording)
    if any(len(times) != len(seconds["node"]) for times in stages.values()):
        raise CommandError("times of stages were lost on the way to the recorder: run it again")
    figures = round_trip.report(
        seconds["echo"],
        seconds["node"],
        stages,
        points=args.points,
        clouds=len(seconds["node"]),
        model=values["model"],
        engine=values["engine"],
        load_average=os.getloadavg()[0],
    )
    print(round_trip.table(figures))
    print(f"load average of the machine: {figures['load_average']:.1f}")
    write_report(args.json, figures)
    return 0


def _timing_topics() -> dict[str, str]:
    """Return the topics of the node on which it says how long each stage took, with the stage."""
    from minkowski_perception.node.timing_publishers import STAGES

    prefix = LABELLED_TOPIC.rpartition("/")[0]
    return {f"{prefix}/timing/{stage}": stage for stage in STAGES}


def _stages(recording: BagReader) -> dict[str, list[float]]:
    """Return the milliseconds of each stage that ran, in the order of the clouds."""
    from rosbags.typesys import Stores, get_typestore

    store, stages = get_typestore(Stores.LATEST), _timing_topics()
    topics = recording.topics(_TIMING_TYPE).keys() & stages.keys()
    times: dict[str, list[float]] = {stages[topic]: [] for topic in topics}
    for topic, message_type, _, cdr in recording.raw(topics):
        message: Any = store.deserialize_cdr(cdr, message_type)
        times[stages[topic]].append(message.data)
    return times


def _write_clouds(path: Path, points: int, turn: int, number: int) -> None:
    """Write a bag of one street, again and again, at 10 Hz; later turns have later stamps."""
    from minkowski_perception.codec import encode_frame
    from minkowski_perception.recordings.bags import BagWriter
    from minkowski_perception.trial import trial_frame

    cloud = encode_frame(trial_frame(points))
    with BagWriter(path) as bag:
        for index in range(number):
            bag.write_cloud(_TOPIC, cloud, (1 + turn * number + index) * _PERIOD, "lidar")


def _play(model: str, engine: str, out: Path) -> Mapping[str, list[float]]:
    """Return the seconds of the round trips to the echo and to the node.

    Raises:
        ProcessError: a process failed, or a cloud did not come back.
    """
    answers = {"echo": "/echo/cloud", "node": LABELLED_TOPIC}
    seconds: dict[str, list[float]] = {name: [] for name in answers}
    parameters = {
        "model": model,
        "engine": engine,
        "ego_motion": "none",
        "input_reliability": "reliable",
        "stall_timeout": 0.0,
        "timing": True,
    }
    with Processes(out, isolated_environment()) as processes:
        processes.start("echo", "echo", {}, {"cloud": "/to/echo"})
        processes.start("node", "start", parameters, {"cloud": "/to/node"})
        recording = out / "recording"
        topics = {"bag": str(recording), "topics": [DIAGNOSTICS, *_timing_topics()]}
        processes.start("recorder", "recorder", topics)
        processes.wait_until(recording.exists, "a recording", _START)
        for turn in range(_TURNS):
            for name, answer in answers.items():
                log = out / f"{name}{turn}.csv"
                playing = {
                    "bag": str(out / f"clouds{turn}"),
                    "answer_topic": answer,
                    "wait_for_answer": True,
                    "listener_timeout": _START,
                    "answer_timeout": _START,
                    "log": str(log),
                }
                processes.start("player", "player", playing, {_TOPIC: f"/to/{name}"})
                processes.wait_until(lambda: processes.has_ended("player"), "the last cloud")
                processes.stop("player")
                trips = [cloud.answered - cloud.published for cloud in read_playback(log)]
                if any(map(math.isnan, trips)):
                    raise ProcessError(f"a cloud did not come back from {name}")
                seconds[name] += trips
        reported = time.monotonic() + _REPORT
        processes.wait_until(lambda: time.monotonic() > reported, "a report")
        for name in ("node", "echo", "recorder"):
            processes.stop(name)
    return seconds
