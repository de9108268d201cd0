# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Models: networks with trained weights, and the cards that describe them.

A model is two files of one name: NAME.safetensors holds the weights (data, never code), NAME.yaml
the card, see `Card`. The card contains the label set, so that both files can be moved.
"""

from __future__ import annotations

import glob
import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, ClassVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from minkowski_perception.files import rename, write_whole
from minkowski_perception.labels import LabelSet
from minkowski_perception.networks.crf import CHROMA_FEATURES, CRFSettings, TrilateralCRF
from minkowski_perception.networks.network import Network
from minkowski_perception.networks.registry import build_network, network_options
from minkowski_perception.schema import (
    FILE_NAME,
    Former,
    Pattern,
    Range,
    SchemaError,
    dump_yaml,
    error_at,
    read,
    read_yaml,
    with_current_keys,
)
from minkowski_perception.settings import Settings
from minkowski_perception.sparse import KeyLayout
from minkowski_perception.sparse.keys import on_device
from minkowski_perception.temperature import TemperatureScaling
from minkowski_perception.voxels import VoxelInput

_CRF_PREFIX = "crf."
_DIGITS = 64  # of a sha256
_Digest = Annotated[str, Pattern(f"[0-9a-f]{{{_DIGITS}}}", f"{_DIGITS} hexadecimal digits")]

_LICENSE = "Apache-2.0"
# For weights under our own license only.
_HEADER = f"""\
# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: {_LICENSE}
"""


class ModelError(ValueError):
    """A model is missing, damaged, or its card and weights do not fit."""


def _read_label_set(value: Any, path: str) -> LabelSet:
    if not isinstance(value, str):
        return LabelSet.from_dict(value, path)
    if value not in LabelSet.available():
        raise error_at(
            path,
            f"no label set '{value}' in the package, which has {', '.join(LabelSet.available())}; "
            "a card contains any other set itself (name, classes, movable, from), not its path",
        )
    return LabelSet.load(value)


_LONGEST_WINDOW = KeyLayout.for_dimension(4).limits[4][1] + 1


@dataclass(frozen=True)
class Card:
    """Schema of a model card.

    Attributes:
        name: of the model.
        network: arguments of `build_network`.
        label_set: the classes of its logits: a label set, or the name of one of the package.
        input: how points become voxels and features.
        window: frames that it was trained on together.
        crf: settings of its CRF; None without one.
        description: what the model is, in a sentence or two.
        sensors: for which sensors it is made, and how they are mounted.
        license: of the weights.
        training: how and on what data it was trained.
        figures: what it scored, and on what.
        source: of a converted model: its checkpoint, and how that was read.
        training_data: of a converted model: how its training read the labels.
        adaptation: of a model that was adapted to recordings: what it started from, the
            recordings, and the figures before and after; see docs/adapt.md.
        recipe: of a trained model: digest of its settings and of the model that it started from.
        calibration: temperatures of its class logits; None to leave them as they are.
        domain: interval of each statistic over the clouds of its training; see `domain.py`.
        sha256: digest of the weights file, hexadecimal.
    """

    former_keys: ClassVar = {"labels": Former("label_set"), "licence": Former("license")}

    name: Annotated[str, FILE_NAME]
    network: Mapping[str, Any]
    label_set: Annotated[LabelSet, _read_label_set]
    input: VoxelInput
    window: Annotated[int, Range(1, _LONGEST_WINDOW)]
    crf: CRFSettings | None = None
    description: str | None = None
    sensors: str | None = None
    license: str | None = None
    training: str | None = None
    figures: Mapping[str, Any] | None = None
    source: Mapping[str, Any] | None = None
    training_data: Mapping[str, Any] | None = None
    adaptation: Mapping[str, Any] | None = None
    recipe: _Digest | None = None
    calibration: TemperatureScaling | None = None
    domain: Mapping[str, tuple[float, float]] | None = None
    sha256: _Digest | None = None

    def __post_init__(self) -> None:
        """Check that the network fits its input and its label set, and the window the input.

        Raises:
            ValueError: it does not, or the network's options are not possible.
        """
        for name, (low, high) in (self.domain or {}).items():
            if low > high:
                raise error_at(f"domain.{name}", f"must ascend, not {low:g}, {high:g}")
        offsets = () if self.calibration is None else self.calibration.offsets
        if offsets and len(offsets) != len(self.label_set):
            raise error_at(
                "calibration.offsets",
                f"must have one for each of {len(self.label_set)} classes, not {len(offsets)}",
            )
        options = network_options(self.network)
        options.check_fit(len(self.input.channels), self.label_set)
        if self.input.shift == "minimum" and (self.window > 1 or self.crf is not None):
            raise ValueError(
                "frames whose voxels are shifted by their minimum cannot be joined in time: the "
                f"window must be 1, not {self.window}, and there can be no CRF"
            )


@dataclass(frozen=True)
class Model:
    """A network ready for inference, with its CRF if it has one.

    Attributes:
        name: of the model.
        network: in evaluation mode, float32.
        label_set: the classes of its logits.
        input: how points become voxels and features.
        window: frames that it was trained on together.
        card: content of its card; see `Card`.
        crf: refines the network's logits; in evaluation mode, float32.
        calibration: scales the class logits; None to leave them as they are.
        domain: interval of each statistic over the clouds of its training; None if unknown.

    Raises:
        ModelError: the CRF needs a chroma that is not among the features.
    """

    name: str
    network: Network
    label_set: LabelSet
    input: VoxelInput
    window: int
    card: Mapping[str, Any]
    crf: TrilateralCRF | None = None
    calibration: TemperatureScaling | None = None
    domain: Mapping[str, tuple[float, float]] | None = None

    def __post_init__(self) -> None:
        """Check that the features contain the chroma of the CRF."""
        seen = [n for n, s in zip(self.input.features, self.input.scale, strict=True) if s != 0.0]
        absent = [name for name in self._chroma if name not in seen]
        if absent:
            raise ModelError(
                f"model '{self.name}': its CRF needs {', '.join(absent)} among the features, "
                f"which are {', '.join(seen)}"
            )

    @property
    def _chroma(self) -> tuple[str, ...]:
        return () if self.crf is None else CHROMA_FEATURES[self.crf.chroma]

    def chroma(self, features: Tensor) -> Tensor | None:
        """Return the chroma of voxels for the CRF: features without their scale and offset.

        Args:
            features: [N, C] of the voxels, as the network gets them.

        Returns:
            [N, axes], 0 to 1; None where the model has no CRF, or one without chroma.
        """
        if not self._chroma:
            return None
        spec = self.input
        columns = tuple(spec.features.index(name) for name in self._chroma)
        device = features.device
        offset, scale = (
            on_device(tuple(values[i] for i in columns), device, features.dtype)
            for values in (spec.offsets, spec.scale)
        )
        return (features.index_select(1, on_device(columns, device)) - offset) / scale


def available_models() -> list[str]:
    """Return the names of the models that come with the package."""
    folder = Path(str(resources.files("minkowski_perception") / "weights"))
    return sorted(card.stem for card in folder.glob("*.yaml"))


def load_model(name: str | Path = Settings.model) -> Model:
    """Load a model by its name, or by the path of its card or weights.

    Raises:
        ModelError: there is no such model (the valid names are listed), a file is damaged, the
            card has unknown, missing or impossible values, or the weights do not fit it (missing,
            unknown and misshapen tensors are listed).
    """
    path = card_path(name)
    content = _content(path)
    card = _read_card(content, path)
    try:
        network = build_network(**card.network)
    except (TypeError, ValueError) as error:
        raise ModelError(f"card {path}: network: {error}") from error
    crf = None if card.crf is None else TrilateralCRF(network.num_classes, **asdict(card.crf))
    _load_weights(network, crf, path, card.sha256)
    return Model(
        path.stem,
        network.eval(),
        card.label_set,
        card.input,
        card.window,
        content,
        None if crf is None else crf.eval(),
        card.calibration,
        card.domain,
    )


def card_path(name: str | Path) -> Path:
    """Return the path of a model's card, by its name or the path of its card or weights.

    Raises:
        ModelError: no model has that name; the valid ones are listed.
    """
    if Path(name).suffix in (".yaml", ".safetensors"):
        return Path(name).with_suffix(".yaml")
    if str(name) not in available_models():
        raise ModelError(
            f"unknown model '{name}'; choose one of {', '.join(available_models())}, "
            "or give the path of a card (.yaml) beside its weights (.safetensors)"
        )
    return Path(str(resources.files("minkowski_perception") / "weights" / f"{name}.yaml"))


def read_card(name: str | Path) -> Card:
    """Return the card of a model without its weights.

    Raises:
        ModelError: there is no such card, or it has unknown, missing or impossible values.
    """
    path = card_path(name)
    return _read_card(_content(path), path)


def model_digest(name: str | Path) -> str:
    """Return the sha256 of a model's card and weights, hexadecimal.

    Raises:
        ModelError: a file is missing.
    """
    path = card_path(name)
    digest = hashlib.sha256()
    try:
        for file in (path, path.with_suffix(".safetensors")):
            digest.update(file.read_bytes())
    except OSError as error:
        raise ModelError(f"cannot read {error.filename}: {error.strerror}") from error
    return digest.hexdigest()


def change_card(name: str | Path, target: Path, changes: Mapping[str, Any]) -> None:
    """Write a model with some other values in its card, and the same weights.

    Args:
        name: of the model, or the path of its card.
        target: path of the new card; may be that of the old one.
        changes: values by key of the card.

    Raises:
        ModelError: the model is missing, or a value is not possible.
    """
    source = card_path(name)
    content = {**_content(source), "name": target.stem, **changes}
    digest = content.pop("sha256", None)  # the last key, as `save_model` writes it
    content |= {} if digest is None else {"sha256": digest}
    _read_card(content, target)
    text = (_HEADER if content.get("license") == _LICENSE else "") + dump_yaml(content)
    target.parent.mkdir(parents=True, exist_ok=True)
    weights = source.with_suffix(".safetensors")
    if target != source:
        write_whole(target.with_suffix(".safetensors"), weights.read_bytes())
    write_whole(target, text.encode())


def _content(path: Path) -> Any:
    try:
        return read_yaml(path)
    except SchemaError as error:
        raise ModelError(f"card {path}: {error}") from error


def save_model(
    path: Path,
    network: Network,
    card: Mapping[str, Any],
    *,
    crf: TrilateralCRF | None = None,
    half: bool = True,
) -> None:
    """Write `path`.safetensors and `path`.yaml.

    A crash at any moment leaves a model that loads: the old one or the new one.

    Args:
        path: of both, without a suffix.
        network: whose weights are written.
        card: content of the card, without `crf` and `sha256`; see `Card`. Its name is by default
            that of the files.
        crf: whose weights and settings are written too.
        half: whether weights are written in float16: half the size at no measured loss.

    Raises:
        ModelError: the card has unknown, missing or impossible values.
    """
    state = {
        key: value.half() if half and value.is_floating_point() else value.contiguous()
        for key, value in _parameters(network, crf).items()
    }
    weights = save(state)
    digest = hashlib.sha256(weights).hexdigest()
    content = {"name": path.name, **with_current_keys(Card, card)}
    content = {key: value for key, value in content.items() if key not in ("crf", "sha256")}
    content |= {"sha256": digest} if crf is None else {"crf": crf.settings, "sha256": digest}
    card_path, weights_path = (
        path.with_name(path.name + suffix) for suffix in (".yaml", ".safetensors")
    )
    content["label_set"] = _read_card(content, card_path).label_set.to_dict()
    text = (_HEADER if content.get("license") == _LICENSE else "") + dump_yaml(content)

    path.parent.mkdir(parents=True, exist_ok=True)
    pending = _pending(weights_path, digest)
    write_whole(pending, weights)
    write_whole(card_path, text.encode())  # from here on the model is the new one
    rename(pending, weights_path)
    others = _pending(Path(glob.escape(weights_path.name)), "[0-9a-f]" * _DIGITS).name
    for pattern in (others, f".{others}.unfinished"):
        for left in path.parent.glob(pattern):  # by a crash
            left.unlink()


def _pending(weights: Path, sha256: str) -> Path:
    """Return the path of new weights until the card that they belong to is written."""
    return weights.with_suffix(f".{sha256}.safetensors")


def _read_card(content: Any, path: Path) -> Card:
    try:
        return read(Card, content)
    except SchemaError as error:
        raise ModelError(f"card {path}: {error}") from error


def _parameters(network: nn.Module, crf: nn.Module | None) -> dict[str, Tensor]:
    """Return the tensors of a weights file, by key."""
    state = {
        key: value
        for key, value in network.state_dict().items()
        if not key.endswith("num_batches_tracked")
    }
    own = {} if crf is None else crf.state_dict(prefix=_CRF_PREFIX)
    return {**state, **own}


def _load_weights(
    network: nn.Module, crf: nn.Module | None, card: Path, sha256: str | None
) -> None:
    path = card.with_suffix(".safetensors")
    if sha256 is not None and (pending := _pending(path, sha256)).exists():
        path = pending  # `save_model` was interrupted
    try:
        data = path.read_bytes()
        state = load(data)
    except OSError as error:
        raise ModelError(f"cannot read weights {path}: {error.strerror}") from error
    except SafetensorError as error:
        raise ModelError(f"weights {path} are damaged: {error}") from error
    digest = hashlib.sha256(data).hexdigest()
    if sha256 is not None and digest != sha256:
        raise ModelError(
            f"weights {path} are not those of the card: their sha256 is {digest}, not {sha256}"
        )
    wanted = _parameters(network, crf)
    problems = [f"missing {key}" for key in wanted if key not in state]
    problems += [f"unknown {key}" for key in state if key not in wanted]
    problems += [
        f"{key} has shape {list(state[key].shape)}, not {list(wanted[key].shape)}"
        for key in wanted
        if key in state and state[key].shape != wanted[key].shape
    ]
    problems += [
        f"{key} is not finite" for key in state if not torch.isfinite(state[key].float()).all()
    ]
    if problems:
        raise ModelError(f"weights {path} do not fit the card: {'; '.join(problems)}")
    if crf is not None:
        own = [key for key in state if key.startswith(_CRF_PREFIX)]
        crf.load_state_dict({key.removeprefix(_CRF_PREFIX): state.pop(key) for key in own})
    network.load_state_dict(state, strict=False)
