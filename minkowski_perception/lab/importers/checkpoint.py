# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Read checkpoint files as data; code in them never runs."""

from __future__ import annotations

import hashlib
import json
import re
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from minkowski_perception.files import what_instead
from minkowski_perception.networks.model import ModelError


class CheckpointError(ModelError):
    """A checkpoint is damaged, unsupported, or matches no known network."""


@dataclass(frozen=True)
class Checkpoint:
    """The contents of a checkpoint file.

    Attributes:
        path: the file.
        state: tensors by key, without the prefixes of wrappers such as `module.`.
        metadata: entries beside the tensors: epoch, architecture, ...; empty if the file is a bare
            state dictionary.
        config: SPVNAS's net.config, if one is in the same folder.
        zipped: whether the file has the zip format of PyTorch 1.6 (July 2020) or later.
        sha256: checksum of the file.
        left_out: keys of tensors that training alone needs: those with a part in
            `TRAINING_PARTS`, and the averaged weights beside the trained ones.
    """

    path: Path
    state: Mapping[str, Tensor]
    metadata: Mapping[str, Any]
    config: Mapping[str, Any] | None
    zipped: bool
    sha256: str
    left_out: tuple[str, ...] = ()

    def below(self, prefix: str) -> Checkpoint:
        """Return the checkpoint with a prefix removed from the keys that have it."""
        return replace(self, state={k.removeprefix(prefix): v for k, v in self.state.items()})

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
            "datetime.datetime",
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
            "pathlib.PosixPath",
            "pathlib.WindowsPath",
            "pathlib._local.PosixPath",
            "pathlib._local.WindowsPath",
            "types.SimpleNamespace",
            "typing.Any",
        ),
        _Placeholder,
    ),
    "collections.defaultdict": _PlaceholderMapping,
}

_LARGEST_RATIO = 4
"""Of the unpacked to the packed size of a checkpoint."""

_STATES = ("state_dict", "model_state_dict", "model")
"""Keys under which training scripts store the weights; other keys are searched after them."""

_WRAPPERS = re.compile(
    r"(?<![^.])(module|_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\."
)
"""Prefixes of DistributedDataParallel, torch.compile and FSDP, anywhere in a key."""

TRAINING_PARTS = re.compile(
    r"loss\w*|\w+_loss(es)?|criteri(on|a)\w*|class_weights?|"
    r"aux\w*|\w+_aux|(data_)?preprocessor|(\w+_)?(metrics?|m?iou|conf(usion_?)?mat(rix)?)|"
    r"n_averaged|num_updates|initted|(global_)?step|epoch"
)
"""Matches a part of a key that belongs to training: losses, auxiliary heads, counters."""

_AVERAGES = re.compile(r"(\w+_)?(ema|swa|teacher|averaged?|shadow)(_\w+)?")
"""Matches a part of a key that holds a second copy of the weights, averaged during training."""


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint: a file of torch.save or safetensors, or a folder of SPVNAS's model zoo.

    Weights are the largest dictionary of tensors under keys of `_STATES`; without one, the largest
    anywhere. Averaged weights are read if there are no others.

    Raises:
        CheckpointError: the file cannot be read, is damaged, contains code, or has no weights.
    """
    if path.is_dir():
        path = path / "init"
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"cannot read checkpoint {path}: {error.strerror}") from error
    if instead := what_instead(data[:100]):
        raise CheckpointError(f"checkpoint {path} {instead}")
    sha256 = hashlib.sha256(data).hexdigest()
    del data
    content = _safetensors(path) if path.suffix == ".safetensors" else _unpickled(path)
    state, metadata = _weights(path, content)
    tensors = _without_wrappers({str(k): v for k, v in state.items() if _is_tensor(v)})
    kept = {k: v for k, v in tensors.items() if not _has_part(k, TRAINING_PARTS)}
    trained = {k: v for k, v in kept.items() if not _has_part(k, _AVERAGES)}
    if len(trained) >= 0.5 * len(kept):
        kept = trained
    left_out = tuple(key for key in tensors if key not in kept)
    zipped = zipfile.is_zipfile(path)
    return Checkpoint(path, kept, metadata, _net_config(path), zipped, sha256, left_out)


def _weights(path: Path, content: Any) -> tuple[Mapping[Any, Any], Mapping[str, Any]]:
    """Return the dictionary of weights in a checkpoint, and the entries beside it."""
    found = dict(_dictionaries(content))
    known = [keys for keys in found if keys and set(keys) <= set(_STATES)]
    trained = [keys for keys in found if not _has_part(".".join(keys), _AVERAGES)]
    choices = known or trained or list(found)
    if not choices:
        keyed = isinstance(content, Mapping) and content
        listed = f"keys {sorted(map(str, content))}" if keyed else ""
        raise CheckpointError(
            f"checkpoint {path} has no weights, at the top level or under {', '.join(_STATES)}; "
            f"it contains: {listed or type(content).__name__}"
        )
    most = max(len(found[keys]) for keys in choices)
    largest = [keys for keys in choices if len(found[keys]) == most]
    if len(largest) > 1:
        raise CheckpointError(
            f"checkpoint {path} has several dictionaries of weights: "
            f"{', '.join(map('.'.join, largest))}; save the one to convert alone: "
            "torch.save(checkpoint[KEY], FILE)"
        )
    metadata: dict[str, Any] = {}
    for key in largest[0]:
        if isinstance(content, Mapping):
            metadata |= {str(k): v for k, v in content.items() if k not in (key, *_STATES)}
            content = content[key]
        else:
            content = content[int(key)]
    return content, metadata


def _dictionaries(
    content: Any, keys: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], Mapping[str, Tensor]]]:
    """Yield the dictionaries of tensors by name in a checkpoint, with the keys that lead there.

    The state of an optimizer is left out.
    """
    items: Iterable[tuple[Any, Any]] = ()
    if isinstance(content, Mapping):
        items = content.items()
        tensors = {k: v for k, v in items if isinstance(k, str) and _is_tensor(v)}
        if tensors:
            yield keys, tensors
    elif isinstance(content, (list, tuple)):
        items = ((str(i), value) for i, value in enumerate(content))
    for key, value in items:
        if isinstance(key, str) and "optim" not in key:
            yield from _dictionaries(value, (*keys, key))


def _without_wrappers(tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Remove the prefixes of wrappers, unless two keys would become equal."""
    plain = {_WRAPPERS.sub("", key): value for key, value in tensors.items()}
    return plain if len(plain) == len(tensors) else tensors


def _has_part(key: str, pattern: re.Pattern[str]) -> bool:
    return any(pattern.fullmatch(part) for part in key.lower().split("."))


def _is_tensor(value: object) -> bool:
    return isinstance(value, Tensor)


def _safetensors(path: Path) -> Any:
    try:
        return load_file(path)
    except SafetensorError as error:
        raise CheckpointError(f"checkpoint {path} is damaged: {error}") from error


def _check_archive(path: Path) -> None:
    """Refuse TorchScript, and a file that would be many times larger in memory than on the disk.

    torch.save compresses nothing.

    Raises:
        CheckpointError: the file is TorchScript, or declares such a size.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except zipfile.BadZipFile:
        return  # an older format without compression, or damaged
    size = path.stat().st_size
    declared = sum(entry.file_size for entry in entries)
    if declared > _LARGEST_RATIO * size:
        raise CheckpointError(
            f"checkpoint {path} has {size} bytes and would take {declared} unpacked; "
            "torch.save writes no such file"
        )
    if any(entry.filename.endswith("/constants.pkl") for entry in entries):
        raise CheckpointError(
            f"checkpoint {path} is a TorchScript archive, which contains code that is not run; "
            "save the weights alone: torch.save(torch.jit.load(FILE).state_dict(), NEW_FILE)"
        )


def _unpickled(path: Path) -> Any:
    _check_archive(path)
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
