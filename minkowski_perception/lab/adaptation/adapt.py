# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Adaptation of a model to unlabelled recordings (docs/adapt.md).

Labels averaged over the whole recording at each place teach its frames, mixed with simulated
drives of a like sensor, in a short training. Frames that are held out tell whether it got better.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import minkowski_perception
from minkowski_perception.files import write_whole
from minkowski_perception.lab.adaptation.comparison import Figures, measure
from minkowski_perception.lab.adaptation.errors import AdaptationError
from minkowski_perception.lab.adaptation.observation import Recording, Stretch, Teacher, observe
from minkowski_perception.lab.adaptation.pseudo_labels import Choice
from minkowski_perception.lab.adaptation.teaching import HELD_OUT, TRAIN, teach
from minkowski_perception.lab.datasets.catalogue import STORED
from minkowski_perception.lab.datasets.stored import LABELS, sequences
from minkowski_perception.lab.training.loop import train
from minkowski_perception.lab.training.recipe import Data
from minkowski_perception.lab.training.validation import (
    HeldOutSequences,
    evaluate,
    open_held_out,
)
from minkowski_perception.labels import LabelSet
from minkowski_perception.networks.model import change_card, load_model, read_card, save_model
from minkowski_perception.networks.registry import network_options

_TRAINED, _ADAPTED = "trained", "adapted"
"""Models in the folder of the work: as the training leaves it, and with the start's CRF."""
_DRIVES_FOLDER = "drives"
_DIGITS = 8
"""Of the digest that names the folder of a training."""
_MADE_WITH, _FOUND = "made_with.json", "found.json"
_DRIVES, _DRIVE_FRAMES = 12, 6
_HELD_OUT_DRIVES = (5000, 5002)
"""Seeds of the simulated drives to compare on; `evaluate` begins with others."""
_BATCH = 2
_CHECKPOINT_EVERY = 25
_RATES = {"all": 0.002, "norms": 0.01}
"""Largest learning rates by what is trained, with which docs/adapt.md measured the gains."""


@dataclass(frozen=True)
class Options:
    """How a model is adapted.

    Attributes:
        steps: of the training.
        trained: see `Optimization`.
        sensor: simulated sensor; None for no simulation.
        simulated: share of the clips that are simulated.
        learning_rate: the largest one; 0 for the one that suits what is trained.
        seed: of all random numbers.
        choice: which voxels teach.
    """

    steps: int
    trained: Literal["all", "norms"] = "all"
    sensor: str | None = None
    simulated: float = 0.5
    learning_rate: float = 0.0
    seed: int = 1
    choice: Choice = field(default_factory=Choice)

    def __post_init__(self) -> None:
        """Fill in `learning_rate`."""
        object.__setattr__(self, "learning_rate", self.learning_rate or _RATES[self.trained])


@dataclass(frozen=True)
class Prepared:
    """Pseudo-labelled frames in a folder of work.

    Attributes:
        root: of the data set.
        found: numbers for the card.
    """

    root: Path
    found: Mapping[str, Any]


def prepare(
    recordings: Iterable[AbstractContextManager[Recording]],
    teacher: Teacher,
    choice: Choice,
    work: Path,
    made_with: Mapping[str, Any],
    level: bool = True,
) -> Prepared:
    """Write the pseudo-labelled frames of recordings, unless an earlier run has done so.

    Args:
        recordings: opened one after another.
        teacher: the model to adapt.
        choice: which voxels teach.
        work: folder.
        made_with: all that the frames depend on, as JSON.
        level: see `Stream`.

    Raises:
        AdaptationError: the folder has the work of other recordings or settings, or the model or
            the recordings are not suited, see `observe` and `teach`.
        BagError: a recording is missing or corrupt.
    """
    root = work / "frames"
    if (work / _MADE_WITH).exists():
        if json.loads((work / _MADE_WITH).read_text()) != json.loads(json.dumps(made_with)):
            raise AdaptationError(
                f"{work} has an adaptation to other recordings, or with other settings: remove "
                "it, or choose another --out"
            )
        return Prepared(root, json.loads((work / _FOUND).read_text()))
    if teacher.model.input.shift == "minimum":
        raise AdaptationError(
            f"model '{teacher.model.name}' cannot be adapted: its voxels start at each frame's "
            "own corner, so they do not stay in place from frame to frame"
        )
    shutil.rmtree(work, ignore_errors=True)
    stretches: list[Stretch] = []
    entries = []
    for opened in recordings:
        with opened as recording:
            stream = teacher.another_stream()
            assert isinstance(stream, Teacher)
            seen = observe(recording, stream, work / "observed", level)
            entries.append(
                {
                    "name": recording.name,
                    "clouds": recording.count,
                    "frames": sum(len(each.frames) for each in seen),
                    "ego_motion": f"{recording.motion.name} ({recording.motion.reason})",
                }
            )
            stretches += seen
    taught = teach(stretches, teacher.label_set, choice, root)
    shutil.rmtree(work / "observed")
    found = {"recordings": entries, "pseudo_labels": taught.to_dict()}
    write_whole(work / _FOUND, json.dumps(found, indent=2).encode())
    write_whole(work / _MADE_WITH, json.dumps(made_with, indent=2).encode())
    return Prepared(root, found)


def recipe_of(model: str, root: Path, options: Options, cache: Path) -> dict[str, Any]:
    """Return the recipe of the training.

    Args:
        model: name or path of the model to start from.
        root: of the frames with pseudo labels.
        options: see `Options`.
        cache: folder of simulated drives.
    """
    start = load_model(model)
    blocks = network_options(start.card["network"]).blocks
    clip = max(start.window, blocks.recall + 1)
    data: dict[str, Any] = {
        "sets": [
            {
                "name": STORED,
                "root": str(root),
                "split": TRAIN,
                "share": 1.0 - (options.simulated if options.sensor else 0.0),
            }
        ],
        "clip": clip,
    }
    if options.sensor is not None:
        data |= _drives(options.sensor, clip, cache) | {"share": options.simulated}
    return {
        "name": _TRAINED,
        "seed": options.seed,
        "labels": str(root / LABELS),
        "start": model,
        "window": start.window,
        "data": data,
        "augmentation": [{"lidar": {"jitter": 0.04, "sector": 0.3, "noise": 0.1}}],
        # Without class weights the result predicts each class as often as the labels have it.
        "loss": {"class_weights": "none", "point_power": 0.5},
        "optimization": {
            "iterations": options.steps,
            "batch_size": _BATCH,
            "learning_rate": options.learning_rate,
            "weight_decay": 0.01,
            "gradient_clip": 5.0,
            "precision": "bfloat16",
            "trained": options.trained,
            "checkpoint_every": _CHECKPOINT_EVERY,
        },
        "calibration": False,
        "card": {},
    }


def _drives(sensor: str, clip: int, cache: Path) -> dict[str, Any]:
    return {
        "seeds": [0, _DRIVES],
        "lidars": {sensor: 1.0},
        "frames": max(_DRIVE_FRAMES, clip),
        "cache": str(cache),
    }


def fine_tune(
    model: str, prepared: Prepared, options: Options, work: Path, device: str, workers: int
) -> Path:
    """Train on the prepared frames, from an earlier run's checkpoint if there is one.

    The CRF, the temperatures and the domain are those of the start.

    Returns:
        Path of the card, in `work`.

    Raises:
        RecipeError, ModelError, DatasetError, SensorError: see `train`.
    """
    recipe = recipe_of(model, prepared.root, options, work / _DRIVES_FOLDER)
    # With other options the training starts anew, on the same frames.
    folder = work / hashlib.sha256(json.dumps(recipe).encode()).hexdigest()[:_DIGITS]
    begun = (folder / f"{_TRAINED}.checkpoint").exists()
    path = train(recipe, folder, device, resume=begun, overwrite=not begun, workers=workers)
    start, trained = load_model(model), load_model(path.with_suffix(".yaml"))
    card = {**start.card, "figures": None, "recipe": trained.card["recipe"]}
    card = {key: value for key, value in card.items() if value is not None}
    save_model(work / _ADAPTED, trained.network, card, crf=start.crf)
    return work / f"{_ADAPTED}.yaml"


def compare(
    models: Sequence[Path], prepared: Prepared, sensor: str | None, work: Path, device: str
) -> list[Figures]:
    """Return the figures of models on the held-out frames.

    Args:
        models: paths of their cards.
        prepared: has the frames.
        sensor: of simulated drives to compare on too; None for none.
        work: folder with the cache of drives.
        device: see `choose_device`.
    """
    frames = dict(sequences(prepared.root, HELD_OUT))
    held_out: list[HeldOutSequences] = []
    label_set = LabelSet.load(prepared.root / LABELS)
    if sensor is not None:
        drives = _drives(sensor, 1, work / _DRIVES_FOLDER)
        held_out = open_held_out(Data(**drives, held_out_seeds=_HELD_OUT_DRIVES), label_set)
    found = []
    for path in models:
        score = evaluate(path, held_out, device)["miou"][sensor] if sensor is not None else None
        found.append(measure(load_model(path), frames, device, score))
    return found


def write_adapted(
    adapted: Path,
    out: Path,
    start: str,
    prepared: Prepared,
    options: Options,
    command: str,
    before: Figures,
    after: Figures,
) -> None:
    """Write the adapted model, with a card that says what it was made of.

    Args:
        adapted: path of its card in the folder of the work.
        out: path of the new card.
        start: name or path of the model that it started from.
        prepared: see `Prepared`.
        options: see `Options`.
        command: line that made it.
        before: figures of the start.
        after: those of the adapted model.
    """
    card = read_card(start)
    adaptation = {
        "start": card.name,
        "start_sha256": card.sha256,
        "date": datetime.now(UTC).date().isoformat(),
        "version": minkowski_perception.__version__,
        **prepared.found,
        "options": {k: v for k, v in asdict(options).items() if v is not None},
        "before": before.to_dict(),
        "after": after.to_dict(),
    }
    names = ", ".join(each["name"] for each in prepared.found["recordings"])
    changes = {
        "description": f"{card.name}, adapted to recordings: {names}.",
        "training": command,
        "adaptation": adaptation,
    }
    change_card(adapted, out, changes)
