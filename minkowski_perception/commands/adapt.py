# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""`minkowski-perception adapt`: adapt a model to your own unlabelled recordings.

docs/adapt.md explains how.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minkowski_perception.allocator import keep_freed_memory
from minkowski_perception.commands import CommandError, positive
from minkowski_perception.commands.label import (
    add_selection_arguments,
    dataset_of,
    open_recording,
    sequence_names,
)
from minkowski_perception.commands.segmenters import (
    add_ego_motion_argument,
    add_segmenter_arguments,
    load_segmenter,
    settings_of,
)
from minkowski_perception.settings import Settings

if TYPE_CHECKING:
    from minkowski_perception.lab.adaptation.observation import Recording, Teacher
    from minkowski_perception.lab.adaptation.pseudo_labels import Choice

STEPS = 40
"""Steps of the training, with which docs/adapt.md measured the gains."""
AUTO, NONE = "auto", "none"
_OF_CLOUDS = ("dataset", "topic", "ego_motion", "odometry_topic", "start", "frames", "every")
"""Options that say which clouds are taken, and where they are."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "paths",
        type=Path,
        nargs="+",
        metavar="BAG",
        help="bag, scans or a folder of recordings, as in label; without labels",
    )
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="MODEL",
        help="the new model, MODEL.yaml and MODEL.safetensors. Work in progress is in "
        "MODEL.adaptation, from which the same command resumes",
    )
    parser.add_argument("--dataset", metavar="NAME", help="data set, see label")
    parser.add_argument("--topic", help="cloud topic; needed where a recording has several")
    add_ego_motion_argument(parser, "its odometry or transforms")
    parser.add_argument("--odometry-topic", help="where a bag has several")
    add_selection_arguments(parser)
    group = parser.add_argument_group("training")
    group.add_argument(
        "--steps", type=positive, default=STEPS, metavar="N", help="of the training (%(default)s)"
    )
    group.add_argument(
        "--trained",
        choices=("all", "norms"),
        default="all",
        help="all: all weights; norms: those of batch norm alone (%(default)s)",
    )
    group.add_argument(
        "--sensor",
        default=AUTO,
        metavar="NAME",
        help="simulated LiDAR whose drives are mixed in: auto for the one most like the sensor, "
        "none, a name, or a .yaml file (%(default)s)",
    )
    group.add_argument(
        "--simulated",
        type=_share,
        default=0.5,
        metavar="SHARE",
        help="of the clips that are simulated (%(default)s)",
    )
    group.add_argument("--seed", type=int, default=1, help="of the random numbers (%(default)s)")
    group.add_argument(
        "--workers", type=int, default=1, help="processes that prepare clips (%(default)s)"
    )
    add_segmenter_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Adapt the model; return 1, and write none, if it got worse."""
    from minkowski_perception.lab.adaptation import adapt
    from minkowski_perception.lab.adaptation.comparison import table, worse
    from minkowski_perception.lab.adaptation.observation import Teacher
    from minkowski_perception.lab.adaptation.pseudo_labels import Choice
    from minkowski_perception.networks.model import card_path

    keep_freed_memory()
    out = args.out if args.out.suffix == ".yaml" else args.out.with_name(f"{args.out.name}.yaml")
    for file in (out, out.with_suffix(".safetensors")):
        if file.exists():
            raise CommandError(f"{file} exists: remove it, or choose another --out")
    work = out.with_suffix(".adaptation")
    dataset = dataset_of(args)
    full_scale = None if dataset is None else dataset.intensity_full_scale
    settings = settings_of(args, intensity_full_scale=full_scale or 0.0)
    teacher = load_segmenter(settings, Teacher)
    assert isinstance(teacher, Teacher)
    found = _find(args, work)
    choice = Choice()
    prepared = adapt.prepare(
        (_open(args, settings, name, path) for name, path in found),
        teacher,
        choice,
        work,
        _made_with(args, settings, found, choice),
        settings.level,
    )
    taught = prepared.found["pseudo_labels"]
    _tell(
        f"{taught['share']:.0%} of the voxels of {taught['frames']} frames teach; "
        f"{taught['held_out']} frames are held out"
    )
    sensor = _sensor(args, prepared.root, teacher)
    options = adapt.Options(
        args.steps, args.trained, sensor, args.simulated, seed=args.seed, choice=choice
    )
    adapted = adapt.fine_tune(
        settings.model, prepared, options, work, settings.device, args.workers
    )
    before, after = adapt.compare(
        [card_path(settings.model), adapted], prepared, sensor, work, settings.device
    )
    print(table(before, after))
    if reasons := worse(before, after):
        _tell("no model is written, because it got worse on the held-out frames:")
        for reason in reasons:
            _tell(f"- {reason}")
        _tell(f"{work} has the work; fewer --steps or --trained norms change less")
        return 1
    adapt.write_adapted(
        adapted, out, settings.model, prepared, options, args.command_line, before, after
    )
    shutil.rmtree(work)
    print(f"{out.with_suffix('.safetensors')}, {out}")
    return 0


def _share(text: str) -> float:
    value = float(text)
    if not 0.0 < value < 1.0:
        raise argparse.ArgumentTypeError(f"must be above 0 and below 1, not {text}")
    return value


def _tell(text: str) -> None:
    """Print a message of the command to standard error."""
    print(f"minkowski-perception adapt: {text}", file=sys.stderr, flush=True)


def _find(args: argparse.Namespace, work: Path) -> list[tuple[str, Path]]:
    """Return the recordings with their names."""
    from minkowski_perception.labelling.discovery import find_recordings

    if args.dataset is not None:
        return [(name, args.paths[0]) for name in sequence_names(args)]
    return [
        (each.name.replace(os.sep, "_"), each.path) for each in find_recordings(args.paths, work)
    ]


@contextmanager
def _open(
    args: argparse.Namespace, settings: Settings, name: str, path: Path
) -> Iterator[Recording]:
    from minkowski_perception.lab.adaptation.observation import Recording
    from minkowski_perception.labelling.run import Selection
    from minkowski_perception.recordings.motion import choose_ego_motion

    selection = Selection(args.start, args.frames, args.every)
    with open_recording(path, args.dataset, None) as bag:
        topic = bag.choose_cloud_topic(name if args.dataset is not None else args.topic)
        motion = choose_ego_motion(
            bag, topic, args.ego_motion, args.odometry_topic, deskew=settings.deskew
        )
        count = selection.most(bag.cloud_topics()[topic])
        yield Recording(name, selection.clouds(bag, topic), count, motion)


def _made_with(
    args: argparse.Namespace, settings: Settings, found: list[tuple[str, Path]], choice: Choice
) -> dict[str, Any]:
    """Return all that the pseudo-labelled frames depend on, as JSON."""
    from minkowski_perception.networks.model import model_digest

    return {
        "weights": model_digest(settings.model),
        "settings": settings.segmenter_options(),
        "level": settings.level,
        "recordings": [[name, str(path.resolve()), _bytes(path)] for name, path in found],
        "choice": asdict(choice),
        **{name: getattr(args, name) for name in _OF_CLOUDS},
    }


def _bytes(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def _sensor(args: argparse.Namespace, root: Path, teacher: Teacher) -> str | None:
    """Return the simulated sensor that is asked for, or the one most like that of the frames."""
    from minkowski_perception.lab.adaptation import like_sensor

    if args.sensor == NONE:
        return None
    try:
        sensor = like_sensor.choose(
            root, teacher.model, None if args.sensor == AUTO else args.sensor
        )
    except (ImportError, ValueError) as error:
        if args.sensor != AUTO:
            raise CommandError(f"--sensor {args.sensor}: {error}") from error
        _tell(f"without simulation: {error}")
        return None
    _tell(f"simulated drives of {sensor} are mixed in")
    return sensor
