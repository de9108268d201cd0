# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Main facts about a file: model, label set, recipe, recording or checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from minkowski_perception.checks.finding import wrapped
from minkowski_perception.labels import LabelSet
from minkowski_perception.networks.model import Model, available_models, load_model
from minkowski_perception.recordings.bags import BagReader
from minkowski_perception.recordings.scan_files import open_recording
from minkowski_perception.schema import SchemaError, read_yaml

_YAML = (".yaml", ".yml")
_CHECKPOINTS = (".pth", ".pt", ".ckpt", ".checkpoint", ".safetensors", ".tar")

Facts = dict[str, str]
"""Values in words, by what they are."""


class ContentsError(ValueError):
    """A file is missing, or none of the known kinds."""


def facts(path: Path) -> Facts:
    """Return what a file is, and the main facts about it.

    Args:
        path: of the file or folder; or the name of a model or label set of the package.

    Raises:
        ContentsError: the file is missing or unknown.
        ValueError: it is damaged (ModelError, LabelSetError, RecipeError, BagError,
            CheckpointError).
    """
    if not path.exists():
        return _named(str(path))
    if path.suffix in _YAML:
        return _yaml(path)
    if path.suffix == ".safetensors" and path.with_suffix(".yaml").exists():
        return {"kind": "model", **model_facts(load_model(path))}
    if path.suffix in _CHECKPOINTS or (path / "net.config").exists():
        return {"kind": "checkpoint", **_checkpoint(path)}
    return {"kind": "recording", **_recording(path)}


def _named(name: str) -> Facts:
    if name in available_models():
        return {"kind": "model", **model_facts(load_model(name))}
    if name in LabelSet.available():
        return {"kind": "label set", **label_set_facts(LabelSet.load(name))}
    known = ", ".join([*available_models(), *LabelSet.available()])
    raise ContentsError(f"no file {name}, and no model or label set of that name: {known}")


def _yaml(path: Path) -> Facts:
    try:
        content = read_yaml(path)
    except SchemaError as error:
        raise ContentsError(f"{path}: {error}") from error
    keys = set(content) if isinstance(content, Mapping) else set()
    if "rosbag2_bagfile_information" in keys:
        return {"kind": "recording", **_recording(path.parent)}
    if keys & {"base", "optimization", "stages"}:
        return {"kind": "recipe of a training", **_recipe(path)}
    if "network" in keys:
        return {"kind": "model", **model_facts(load_model(path))}
    if "classes" in keys:
        return {"kind": "label set", **label_set_facts(LabelSet.load(path))}
    raise ContentsError(
        f"{path} is no model card (key 'network'), label set ('classes'), recipe ('optimization', "
        f"'base' or 'stages') or metadata of a bag; its keys are {', '.join(map(str, keys))}"
    )


def model_facts(model: Model) -> Facts:
    """Return network, input, classes, size, license and figures of a model."""
    card = model.card
    parameters = sum(p.numel() for p in model.network.parameters())
    kernel = card["network"].get("kernel")
    network = f"{card['network']['name']}, {model.network.dimension}D"
    found = {
        "name": model.name,
        "description": card.get("description"),
        "sensors": card.get("sensors"),
        "classes": f"{model.label_set.name}: {', '.join(model.label_set.names)}",
        "outputs": ", ".join(model.network.options.heads),
        "network": network + (f", kernel {kernel}" if kernel else ""),
        "input": f"voxels of {model.input.voxel_size:g} m, {', '.join(model.input.features)}",
        "window": f"{model.window} frames",
        "crf": "none" if model.crf is None else "yes",
        "size": f"{parameters / 1e6:.2f} M parameters",
        "license": card.get("license"),
        "training": card.get("training"),
        "source": _mapping(card.get("source")),
        **_figures(card.get("figures") or {}),
    }
    return {key: str(value) for key, value in found.items() if value}


def _figures(figures: Mapping[str, Any]) -> Facts:
    return {
        {"miou": "mIoU", "iou": "IoU"}.get(key, key.replace("_", " ")): _mapping(value)
        for key, value in figures.items()
    }


def _mapping(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_mapping(each)}" for key, each in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)


def label_set_facts(label_set: LabelSet) -> Facts:
    """Return classes, colours and sources of a label set."""
    return {
        "name": label_set.name,
        "classes": ", ".join(f"{i} {name}" for i, name in enumerate(label_set.names)),
        "colours": ", ".join(
            f"{name} #{red:02x}{green:02x}{blue:02x}"
            for name, (red, green, blue) in zip(label_set.names, label_set.colours, strict=True)
        ),
        "movable": ", ".join(label_set.movable) or "none",
        "mappings from": ", ".join(label_set.sources) or "none",
    }


def _recipe(path: Path) -> Facts:
    from minkowski_perception.lab.training.recipe import load_recipe
    from minkowski_perception.lab.training.stages import read_stages

    stages = read_stages(load_recipe(path), path.parent)
    plan = stages[-1].plan
    found = {
        "name": plan.name,
        "network": _mapping(plan.network),
        "classes": plan.labels,
        "input": f"voxels of {plan.spec.voxel_size:g} m, {', '.join(plan.spec.features)}",
        "start": plan.start if len(stages) == 1 else stages[0].plan.start,
        "sensors": _mapping(plan.data.sensors),
    }
    for stage in stages:
        steps = stage.plan.optimization
        found[stage.title] = f"{steps.iterations} steps, batch size {steps.batch_size}"
    return {key: str(value) for key, value in found.items() if value}


def _checkpoint(path: Path) -> Facts:
    """Return the facts about a checkpoint of another code base, or of a training of this one."""
    from minkowski_perception.lab.importers import convert, read_checkpoint

    checkpoint = read_checkpoint(path)
    numbers = sum(tensor.numel() for tensor in checkpoint.state.values())
    found = {
        "tensors": f"{len(checkpoint.state)}, {numbers / 1e6:.2f} M numbers",
        "beside them": ", ".join(checkpoint.metadata),
        "sha256": checkpoint.sha256,
    }
    recipe = checkpoint.metadata.get("recipe")
    if isinstance(recipe, Mapping):
        found["training"] = f"of this package, recipe '{recipe.get('name')}'"
        found["use"] = "minkowski-perception train RECIPE --resume"
        return {key: value for key, value in found.items() if value}
    try:
        conversion = convert(checkpoint, path.stem)
    except ValueError as error:
        found["conversion"] = f"not possible as it is: {error}"
    else:
        source = conversion.card["source"]
        found["recognised"] = source["family"]
        found["network"] = _mapping(conversion.card["network"])
        found["classes"] = conversion.card["label_set"]["name"]
        found["use"] = f"minkowski-perception convert {path} --out NAME.safetensors"
    return {key: value for key, value in found.items() if value}


def _recording(path: Path) -> Facts:
    with open_recording(path) as bag:
        found = {"path": str(bag.path)}
        topics = bag.cloud_topics()
        for topic, count in topics.items():
            found[topic] = f"{count} clouds"
            first = next(bag.clouds(topic), None) if count else None
            if first is None:
                continue
            message = first[1]
            fields = ", ".join(field.name for field in message.fields)
            if isinstance(bag, BagReader):
                times = bag.cloud_times(topic)
                found[topic] += f" in {(times[-1] - times[0]) * 1e-9:.1f} s"
            found[topic] += (
                f"; the first has {message.height * message.width:,} points in "
                f"frame '{message.header.frame_id}' with {fields}"
            )
        if isinstance(bag, BagReader):
            odometry = (f"{topic} ({count})" for topic, count in bag.odometry_topics().items())
            found["odometry"] = ", ".join(odometry) or "none"
        if bag.losses:
            found["lost"] = "; ".join(bag.losses)
        if not topics:
            found["clouds"] = "none"
    found["more"] = f"minkowski-perception doctor {path}"
    return found


def printed(found: Mapping[str, str]) -> str:
    """Return facts as aligned lines."""
    width = max(map(len, found))
    lines: list[str] = []
    for key, value in found.items():
        lines += wrapped(f"{key:<{width}}  ", value)
    return "\n".join(lines)
