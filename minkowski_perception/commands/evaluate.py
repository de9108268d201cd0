# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""`minkowski-perception evaluate`: score a model on labelled frames.

    minkowski-perception evaluate --dataset semantickitti --root DIR --split val --report out/val
    minkowski-perception evaluate --dataset simulation --lidars vlp16 hdl64
    minkowski-perception evaluate --dataset simulation --model outdoor_lidar my_model.yaml

docs/evaluation.md explains the figures and the JSON.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minkowski_perception import __version__
from minkowski_perception.commands import CommandError, positive, write_report
from minkowski_perception.commands.segmenters import (
    add_ego_motion_argument,
    add_segmenter_arguments,
    load_segmenter,
    settings_of,
)
from minkowski_perception.settings import Settings

if TYPE_CHECKING:
    from minkowski_perception.lab.datasets.catalogue import Dataset
    from minkowski_perception.lab.evaluation.evaluation import Evaluation
    from minkowski_perception.lab.evaluation.report import Subject
    from minkowski_perception.segmenter import Segmenter

_SIMULATED_FRAMES = 10
_MARKDOWN, _HTML = ".md", ".html"
_WORST_FRAMES = 20
"""Number of frames that the HTML report shows."""
_LIDARS, _CAMERAS = ("vlp16", "vlp32", "hdl64"), ("d435", "kinect")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    add_data_arguments(parser)
    parser.add_argument(
        "--leave-one-recording-out",
        type=Path,
        metavar="FILE",
        help="instead of --dataset: score the recordings that this YAML file lists, each with the "
        "candidate settings that are best on the others (docs/evaluation.md)",
    )
    parser.add_argument(
        "--tta",
        action="store_true",
        help="test-time augmentation: mean of the probabilities over 36 flips, rotations and "
        "scales; 36 times the work",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to this file")
    parser.add_argument(
        "--picture",
        type=Path,
        metavar="FILE",
        help="write a PNG of confusion, calibration and mIoU by range",
    )
    parser.add_argument(
        "--report",
        type=Path,
        metavar="PATH",
        help="write a report: an .html file that shows the worst frames, a .md file with "
        "pictures, or a folder for both, report.html and report.md",
    )
    add_ego_motion_argument(parser, "the poses of the data set or bag")
    add_segmenter_arguments(
        parser, several=("model",), intensity_full_scale="that of the data set"
    )


def add_data_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `open_data`."""
    parser.add_argument(
        "--dataset",
        metavar="NAME",
        help="semantickitti, nuscenes, ... (docs/datasets.md); or simulation, simulation_indoor: "
        "drives or rooms that no model was trained on",
    )
    parser.add_argument("--root", type=Path, metavar="DIR", help="folder of the data set")
    parser.add_argument("--split", help="split of the data set: train, val or test (all)")
    parser.add_argument(
        "--bag-labels",
        default="semantickitti19",
        metavar="SET",
        help="label set of the clouds' field label or true_label, for data set bag (%(default)s)",
    )
    parser.add_argument(
        "--label-set",
        metavar="SET",
        help="label set to score in, such as that of a model of your own classes (that of the "
        "data set)",
    )
    parser.add_argument(
        "--model-labels",
        action="store_true",
        help="accept labels in a bag that a model made, such as the output of label: figures "
        "then say how well two models agree",
    )
    parser.add_argument(
        "--sequences", nargs="+", metavar="NAME", help="only these sequences of the data set"
    )
    parser.add_argument(
        "--limit",
        type=positive,
        metavar="N",
        help="largest number of frames of each sequence "
        f"(all; {_SIMULATED_FRAMES} of a simulated one)",
    )
    parser.add_argument(
        "--lidars",
        nargs="+",
        metavar="NAME",
        help=f"LiDARs of simulated drives ({' '.join(_LIDARS)}), or of rooms instead of cameras",
    )
    parser.add_argument(
        "--cameras",
        nargs="+",
        metavar="NAME",
        help=f"cameras of simulated rooms ({' '.join(_CAMERAS)})",
    )
    parser.add_argument(
        "--drives",
        type=positive,
        default=8,
        help="number of drives or rooms of each sensor (%(default)s)",
    )
    parser.add_argument(
        "--seed",
        type=positive,
        metavar="N",
        help="seed of the first simulated drive or room; models are trained on seeds below 4000 "
        "(4000)",
    )
    parser.add_argument(
        "--ranges",
        nargs="+",
        type=float,
        metavar="M",
        help="edges of the bins of range, metres from the sensor (10 20 30 50; indoors 1 2 3 5)",
    )


def run(args: argparse.Namespace) -> int:
    """Evaluate the models and print the reports."""
    from minkowski_perception.lab.evaluation import report
    from minkowski_perception.lab.evaluation.charts import save_overview

    check_ranges(args)
    if args.leave_one_recording_out is not None:
        return _leave_one_out(args)
    if args.dataset is None:
        raise CommandError(
            "give --dataset: simulation needs no download, semantickitti and others need --root; "
            "or give --leave-one-recording-out"
        )
    models = args.model or [Settings.model]
    if args.picture is not None or args.report is not None:
        if len(models) > 1:
            raise CommandError("--picture and --report show one model; give one --model")
        if args.picture is not None or args.report.suffix != _HTML:
            _require_matplotlib()
    dataset = open_data(args)
    found = [_evaluate(args, dataset, name) for name in models]
    print("\n\n".join(report.text(*each) for each in found))
    figures = [report.figures(*each) for each in found]
    subject, evaluation = found[0]
    if len(found) == 1:
        write_report(args.json, figures[0])
    else:
        comparisons = [report.comparison(found[0], other) for other in found[1:]]
        print("\n" + "\n".join(map(report.comparison_text, comparisons)))
        write_report(args.json, {"models": figures, "comparisons": comparisons})
    if args.picture is not None:
        save_overview(args.picture, evaluation.scorer, f"{subject.model} on {subject.dataset}")
    if args.report is not None and args.report.suffix != _HTML:
        _write_markdown(args.report, subject, evaluation)
    if args.report is not None and args.report.suffix != _MARKDOWN:
        _write_html(args.report, models[0], subject, evaluation)
    return 0


def check_ranges(args: argparse.Namespace) -> None:
    """Check the edges of the bins of range.

    Raises:
        CommandError: they are not positive and increasing.
    """
    if args.ranges and (args.ranges != sorted(set(args.ranges)) or args.ranges[0] <= 0.0):
        raise CommandError(f"--ranges must be positive and increasing, not {args.ranges}")


def _evaluate(
    args: argparse.Namespace, dataset: Dataset, model: str
) -> tuple[Subject, Evaluation]:
    """Evaluate a model on the data set."""
    from minkowski_perception.lab.evaluation import NoLabelsError, report
    from minkowski_perception.lab.evaluation.augmented import AugmentedSegmenter, worlds
    from minkowski_perception.lab.evaluation.evaluation import evaluate, select_sequences
    from minkowski_perception.report.collector import Collector, Worst

    began = datetime.now(timezone.utc).isoformat(timespec="seconds")
    sequences = select_sequences(dataset.sequences, args.sequences)
    settings = _settings(args, dataset, model)
    segmenter = load_segmenter(settings)
    transformations = worlds() if args.tta else []
    labeller = AugmentedSegmenter(segmenter, transformations) if args.tta else segmenter
    shown = args.report is not None and args.report.suffix != _MARKDOWN
    worst = Collector(segmenter.label_set, dataset.label_set, Worst(_WORST_FRAMES))
    try:
        evaluation = evaluate(
            labeller,
            dataset.label_set,
            sequences,
            args.limit,
            args.ranges,
            ego_motion=args.ego_motion,
            deskew=settings.deskew,
            level=settings.level,
            collector=worst if shown else None,
        )
    except NoLabelsError as error:
        expected = f"; expected {dataset.label_files}" if dataset.label_files else ""
        raise CommandError(f"{error}{expected}") from error
    except (ImportError, ValueError) as error:
        raise CommandError(str(error)) from error
    subject = report.Subject(
        dataset=dataset.name,
        root=None if args.root is None else str(args.root),
        split=args.split,
        model=segmenter.model.name,
        device=str(segmenter.device),
        engine=str(segmenter.engine),
        execution=segmenter.execution,
        crf=segmenter.crf,
        averaging=segmenter.averaging,
        worlds=max(len(transformations), 1),
        truth_by_model=dataset.truth_by_model,
        sha256=segmenter.model.card.get("sha256"),
        date=began,
        command=args.command_line,
    )
    return subject, evaluation


def _settings(args: argparse.Namespace, dataset: Dataset, model: str) -> Settings:
    """Return the settings that the arguments give, with one model."""
    given = argparse.Namespace(**{**vars(args), "model": model})
    return settings_of(given, intensity_full_scale=dataset.intensity_full_scale or 0.0)


def _leave_one_out(args: argparse.Namespace) -> int:
    """Score each recording with the settings that are best on the others."""
    from minkowski_perception.lab.evaluation import protocol

    began = datetime.now(timezone.utc).isoformat(timespec="seconds")
    path = args.leave_one_recording_out
    model = (args.model or [Settings.model])[0]
    try:
        choices = protocol.read_choices(path)
    except ValueError as error:
        raise CommandError(f"{path}: {error}") from error

    def labeller(settings: Mapping[str, Any], dataset: Dataset) -> Segmenter:
        return load_segmenter(replace(_settings(args, dataset, model), **settings))

    try:
        scores = protocol.score_all(choices, path.parent, labeller, args.ego_motion)
        found = protocol.report(choices, scores)
    except (ImportError, ValueError) as error:
        raise CommandError(str(error)) from error
    origin = {"date": began, "version": __version__, "command": args.command_line}
    print(protocol.text(found))
    write_report(args.json, origin | found)
    return 0


def _require_matplotlib() -> None:
    """Fail before the work, not after it, if pictures cannot be drawn.

    Raises:
        MissingPackageError: Matplotlib is not installed.
    """
    from minkowski_perception.pictures import new_figure

    new_figure(1.0, 1.0)


def open_data(args: argparse.Namespace) -> Dataset:
    """Open the data set that the arguments name.

    Raises:
        CommandError: an unknown data set, or --root is missing.
        DatasetError: the data set cannot be read.
        EvaluationError: both cameras and LiDARs are named.
        LabelSetError: an unknown label set.
        SensorError: an unknown LiDAR or camera.
        ValueError: models are trained on simulations of that seed.
    """
    from minkowski_perception.lab.datasets.catalogue import BAG, dataset_names, open_dataset
    from minkowski_perception.lab.evaluation.simulated import (
        INDOOR,
        OUTDOOR,
        held_out_drives,
        held_out_rooms,
    )
    from minkowski_perception.lab.simulation.camera import get_camera
    from minkowski_perception.lab.simulation.drive import HELD_OUT_SEED
    from minkowski_perception.lab.simulation.lidar import get_lidar
    from minkowski_perception.labels import LabelSet

    frames = args.limit or _SIMULATED_FRAMES
    if args.dataset in (OUTDOOR, INDOOR):
        for option in ("root", "split", "label_set"):
            if getattr(args, option) is not None:
                name = option.replace("_", "-")
                raise CommandError(f"data set '{args.dataset}' has no --{name}; leave it out")
        seed = HELD_OUT_SEED if args.seed is None else args.seed
        lidars = [get_lidar(name) for name in args.lidars or ()]
        cameras = [get_camera(name) for name in args.cameras or ()]
        if args.dataset == INDOOR:
            sensors = lidars + cameras or list(map(get_camera, _CAMERAS))
            return held_out_rooms(sensors, args.drives, frames, seed)
        return held_out_drives(lidars or list(map(get_lidar, _LIDARS)), args.drives, frames, seed)
    names = [*dataset_names(), OUTDOOR, INDOOR]
    if args.dataset not in names:
        raise CommandError(f"unknown data set '{args.dataset}'; choose one of {', '.join(names)}")
    if args.root is None:
        raise CommandError(f"data set '{args.dataset}' needs --root, its folder")
    bag_labels = LabelSet.load(args.bag_labels)
    labels = None if args.label_set is None else LabelSet.load(args.label_set)
    dataset = open_dataset(args.dataset, args.root, args.split, labels, bag_labels)
    if dataset.truth_by_model and args.dataset == BAG and not args.model_labels:
        raise CommandError(
            f"the labels in {args.root} were made by a model: the clouds have a field confidence "
            "beside label; evaluate on true labels, or accept these with --model-labels"
        )
    return dataset


def _write_markdown(path: Path, subject: Subject, evaluation: Evaluation) -> None:
    """Write the report and its pictures, which lie next to it."""
    from minkowski_perception.lab.evaluation.charts import save_overview
    from minkowski_perception.lab.evaluation.report import markdown
    from minkowski_perception.pictures import save_comparison

    file = path if path.suffix == _MARKDOWN else path / "report.md"
    overview = file.with_name(f"{file.stem}.png")
    save_overview(overview, evaluation.scorer, f"{subject.model} on {subject.dataset}")
    pictures = {"Confusion, calibration and range": overview.name}
    if (worst := evaluation.worst) is not None:
        picture = file.with_name(f"{file.stem}_worst.png")
        caption = (
            f"The worst frame: {worst.index} of sequence {worst.sequence}, "
            f"accuracy {worst.accuracy:.0%}"
        )
        label_set = evaluation.scorer.views["classes"].label_set
        save_comparison(
            picture, worst.frame, worst.labels, label_set, caption, worst.truth, worst.moving
        )
        pictures[caption] = picture.name
    file.write_text(markdown(subject, evaluation, pictures))


def _write_html(path: Path, model: str, subject: Subject, evaluation: Evaluation) -> None:
    """Write the report that shows the worst frames.

    Raises:
        CommandError: the file cannot be written.
    """
    from minkowski_perception.checks.contents import facts
    from minkowski_perception.lab.evaluation.html_report import page
    from minkowski_perception.report.page import write_page

    file = path if path.suffix == _HTML else path / "report.html"
    card = {name: fact for name, fact in facts(Path(model)).items() if name != "kind"}
    try:
        write_page(file, page(subject, evaluation, card))
    except OSError as error:
        raise CommandError(f"cannot write {file}: {error.strerror}") from error
    print(f"\nopen in a browser: {file}")
