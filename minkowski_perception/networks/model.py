# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Models: a network with its trained weights and the card that says what they are for.

A model is two files of one name: NAME.safetensors holds the weights (data, never code), NAME.yaml
the card: network, CRF where there is one, label set, input, sensors, training, figures, license.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from minkowski_perception.labels import LabelSet
from minkowski_perception.networks.crf import CHROMA_FEATURES, TrilateralCRF
from minkowski_perception.networks.network import Network
from minkowski_perception.networks.registry import build_network
from minkowski_perception.settings import Settings
from minkowski_perception.voxels import VoxelInput

_CRF_PREFIX = "crf."

_LICENSE = "Apache-2.0"
# Of our own cards: those of others' weights are not ours to license.
_HEADER = f"""\
# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: {_LICENSE}
"""


class ModelError(ValueError):
    """A model is missing, damaged, or its card and weights do not fit."""


@dataclass(frozen=True)
class Model:
    """A network ready for inference, with its CRF if it has one.

    Attributes:
        name: of the model.
        network: in evaluation mode, float32.
        label_set: the classes of its logits.
        input: voxels and features that it wants.
        window: frames that it was trained on together.
        card: all that its card says.
        crf: refines the network's logits; in evaluation mode, float32.

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

    def __post_init__(self) -> None:
        """Check that the features have the chroma of the CRF."""
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
        """Chroma of voxels, as the CRF wants it, from the features that the network sees.

        Args:
            features: [N, C] of the voxels.

        Returns:
            [N, axes], 0 to 1; None where the model has no CRF, or one without chroma.
        """
        if not self._chroma:
            return None
        spec = self.input
        columns = [spec.features.index(name) for name in self._chroma]
        offset, scale = (features.new_tensor(v)[columns] for v in (spec.offsets, spec.scale))
        return (features[:, columns] - offset) / scale


def available_models() -> list[str]:
    """Names of the models that come with the package."""
    folder = Path(str(resources.files("minkowski_perception") / "weights"))
    return sorted(card.stem for card in folder.glob("*.yaml"))


def load_model(name: str | Path = Settings.model) -> Model:
    """Load a model by its name, or from a card or weights file by its path.

    Raises:
        ModelError: there is no such model (the valid names are listed), a file is damaged, or
            the weights do not fit the card (missing, unknown and misshapen keys are listed).
    """
    card_path = Path(name).with_suffix(".yaml")
    if Path(name).suffix not in (".yaml", ".safetensors"):
        if str(name) not in available_models():
            raise ModelError(
                f"unknown model '{name}'; choose one of {', '.join(available_models())}, "
                "or give the path of a card (.yaml) beside its weights (.safetensors)"
            )
        card_path = Path(str(resources.files("minkowski_perception") / "weights" / f"{name}.yaml"))
    card = _read_card(card_path)
    try:
        network = build_network(**card["network"])
        label_set = LabelSet.load(card["labels"])
        spec = VoxelInput.from_dict(card["input"])
        window = int(card["window"])
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"card {card_path}: {error!r}") from error
    if len(label_set) != network.num_classes or len(spec.features) != network.in_channels:
        raise ModelError(
            f"card {card_path}: {len(label_set)} labels and {len(spec.features)} features do not "
            f"fit a network of {network.num_classes} classes and {network.in_channels} channels"
        )
    crf = _build_crf(card, network.num_classes, card_path)
    if spec.shift == "minimum" and (window > 1 or crf is not None):
        raise ModelError(
            f"card {card_path}: frames whose voxels are shifted by their minimum cannot be joined "
            f"in time: the window must be 1, not {window}, and a CRF cannot be"
        )
    _load_weights(network, crf, card_path.with_suffix(".safetensors"), card.get("sha256"))
    return Model(card_path.stem, network.eval(), label_set, spec, window, card, crf)


def save_model(
    path: Path,
    network: Network,
    card: Mapping[str, Any],
    *,
    crf: TrilateralCRF | None = None,
    half: bool = True,
) -> None:
    """Write `path`.safetensors and `path`.yaml.

    Args:
        path: of both, without a suffix.
        network: whose weights are written.
        card: what the card says, but for the CRF and the digest of the weights.
        crf: whose weights and settings are written too.
        half: whether weights are written in float16: half the size at no measured loss.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    state = {
        key: value.half() if half and value.is_floating_point() else value.contiguous()
        for key, value in _parameters(network, crf).items()
    }
    weights = save(state)
    # Not by safetensors itself: nobody but its owner could read that file.
    path.with_suffix(".safetensors").write_bytes(weights)
    card = {key: value for key, value in card.items() if key not in ("crf", "sha256")}
    if crf is not None:
        card["crf"] = crf.settings
    card["sha256"] = hashlib.sha256(weights).hexdigest()
    text = yaml.safe_dump(card, sort_keys=False, width=99, allow_unicode=True)
    path.with_suffix(".yaml").write_text(
        (_HEADER if card.get("license") == _LICENSE else "") + text
    )


def _read_card(path: Path) -> Mapping[str, Any]:
    try:
        card = yaml.safe_load(path.read_text())
    except OSError as error:
        raise ModelError(f"cannot read card {path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ModelError(f"card {path} is not YAML: {error}") from error
    if not isinstance(card, dict):
        raise ModelError(f"card {path} holds no mapping")
    return card


def _build_crf(card: Mapping[str, Any], num_classes: int, path: Path) -> TrilateralCRF | None:
    """Return the CRF that a card asks for, with fresh weights."""
    if card.get("crf") is None:
        return None
    try:
        return TrilateralCRF(num_classes, **card["crf"]).eval()
    except (TypeError, ValueError) as error:
        raise ModelError(f"card {path}: crf: {error}") from error


def _parameters(network: nn.Module, crf: nn.Module | None) -> dict[str, Tensor]:
    """Return what a file of weights holds, by key."""
    state = {
        key: value
        for key, value in network.state_dict().items()
        if not key.endswith("num_batches_tracked")
    }
    own = {} if crf is None else crf.state_dict(prefix=_CRF_PREFIX)
    return {**state, **own}


def _load_weights(
    network: nn.Module, crf: nn.Module | None, path: Path, sha256: str | None
) -> None:
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        state = load_file(path)
    except OSError as error:
        raise ModelError(f"cannot read weights {path}: {error.strerror}") from error
    except SafetensorError as error:
        raise ModelError(f"weights {path} are damaged: {error}") from error
    if sha256 is not None and digest != sha256:
        raise ModelError(f"weights {path} are not those of the card: sha256 {digest}")
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
