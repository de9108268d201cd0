# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Read checkpoint files as data; code in them never runs."""

from __future__ import annotations

import hashlib
import json
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from minkowski_perception.networks.model import ModelError


class CheckpointError(ModelError):
    """A checkpoint is damaged, unsupported, or matches no known network."""


@dataclass(frozen=True)
class Checkpoint:
    """The contents of a checkpoint file.

    Attributes:
        path: the file.
        state: tensors by key.
        metadata: entries beside the tensors: epoch, architecture, ...; empty if the file is a bare
            state dictionary.
        config: SPVNAS's net.config, if one is in the same folder.
        zipped: whether the file has the zip format of PyTorch 1.6 (July 2020) or later.
        sha256: checksum of the file.
    """

    path: Path
    state: Mapping[str, Tensor]
    metadata: Mapping[str, Any]
    config: Mapping[str, Any] | None
    zipped: bool
    sha256: str

    def tensor(self, key: str, *axes: int) -> Tensor:
        """Return the tensor of a key; `axes` are the allowed numbers of axes.

        Raises:
            CheckpointError: the tensor is missing or has another number of axes.
        """
        value = self.state.get(key)
        if value is None:
            raise CheckpointError(f"checkpoint {self.path} lacks {key}")
        if value.dim() not in axes:
            raise CheckpointError(
                f"checkpoint {self.path}: {key} has shape {list(value.shape)}, not "
                f"{' or '.join(map(str, axes))} axes"
            )
        return value


class _Placeholder:
    """Replaces an object of the training run, which conversion does not need."""

    def __init__(self, *_: object) -> None:
        pass

    def __setstate__(self, _: object) -> None:
        pass


class _PlaceholderMapping:
    """Replaces a mapping: the unpickler requires a real dict to set items."""

    def __new__(cls, *_: object) -> Any:
        return {}


# Classes and functions that training scripts pickle beside the weights.
_BOOKKEEPING: Mapping[str, type] = {
    **dict.fromkeys(
        (
            "__builtin__.dict",
            "__builtin__.int",
            "__builtin__.list",
            "argparse.Namespace",
            "builtins.dict",
            "builtins.int",
            "builtins.list",
            "mmengine.logging.history_buffer.HistoryBuffer",
            "numpy._core.multiarray._reconstruct",
            "numpy._core.multiarray.scalar",
            "numpy.core.multiarray._reconstruct",
            "numpy.core.multiarray.scalar",
            "numpy.dtype",
            "numpy.ndarray",
            "omegaconf.base.ContainerMetadata",
            "omegaconf.base.Metadata",
            "omegaconf.dictconfig.DictConfig",
            "omegaconf.listconfig.ListConfig",
            "omegaconf.nodes.AnyNode",
            "types.SimpleNamespace",
            "typing.Any",
        ),
        _Placeholder,
    ),
    "collections.defaultdict": _PlaceholderMapping,
}

_STATES = ("state_dict", "model_state_dict", "model")
"""Keys under which training scripts store the weights."""


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint: a file of torch.save or safetensors, or a folder of SPVNAS's model zoo.

    Raises:
        CheckpointError: the file cannot be read, is damaged, contains code, or has no weights.
    """
    if path.is_dir():
        path = path / "init"
    try:
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise CheckpointError(f"cannot read checkpoint {path}: {error.strerror}") from error
    content = _safetensors(path) if path.suffix == ".safetensors" else _unpickled(path)
    state: Any = content
    metadata: dict[str, Any] = {}
    while isinstance(state, Mapping) and not any(isinstance(v, Tensor) for v in state.values()):
        metadata |= {key: value for key, value in state.items() if key not in _STATES}
        state = next((state[key] for key in _STATES if key in state), None)
    if not isinstance(state, Mapping):
        found = f"keys {sorted(map(str, metadata))}" if metadata else type(content).__name__
        raise CheckpointError(
            f"checkpoint {path} has no weights, at the top level or under {', '.join(_STATES)}; "
            f"it contains: {found}"
        )
    tensors = {str(k).removeprefix("module."): v for k, v in state.items() if _is_tensor(v)}
    return Checkpoint(path, tensors, metadata, _net_config(path), zipfile.is_zipfile(path), sha256)


def _is_tensor(value: object) -> bool:
    return isinstance(value, Tensor)


def _safetensors(path: Path) -> Any:
    try:
        return load_file(path)
    except SafetensorError as error:
        raise CheckpointError(f"checkpoint {path} is damaged: {error}") from error


def _unpickled(path: Path) -> Any:
    placeholders: list[Any] = []
    for full_name, placeholder in _BOOKKEEPING.items():
        module, _, name = full_name.rpartition(".")
        placeholders.append(type(name, (placeholder,), {"__module__": module}))
    try:
        with torch.serialization.safe_globals(placeholders):
            return torch.load(path, map_location="cpu", weights_only=True)
    # A damaged file can raise any exception.
    except Exception as error:
        code = re.search(r"GLOBAL (\S+)", str(error))
        if code:
            raise CheckpointError(
                f"checkpoint {path} contains code, {code[1]}, which is not run; save the weights "
                "alone in the original environment: torch.save(model.state_dict(), FILE)"
            ) from error
        raise CheckpointError(
            f"checkpoint {path} is damaged, or was not written by torch.save or safetensors "
            f"({type(error).__name__})"
        ) from error


def _net_config(path: Path) -> Mapping[str, Any] | None:
    beside = path.parent / "net.config"
    if path.name != "init" or not beside.exists():
        return None
    try:
        config = json.loads(beside.read_text())
    except (OSError, ValueError) as error:
        raise CheckpointError(f"cannot read {beside}: {error}") from error
    if not isinstance(config, dict):
        raise CheckpointError(f"{beside} is not a JSON object")
    return config
