# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Choice of the engine for a network: the requested one, or the best that agrees with PyTorch."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module

import torch
from torch import Tensor

from minkowski_perception.settings import AUTO, ENGINE_CHOICES, PRECISION_CHOICES
from minkowski_perception.sparse.engines.base import Engine, EngineError, precision_name
from minkowski_perception.sparse.engines.torch_engine import TorchEngine
from minkowski_perception.sparse.tensor import SparseTensor


def _import(module: str, kind: str) -> type[Engine]:
    engine: type[Engine] = getattr(import_module(f"{__package__}.engines.{module}"), kind)
    return engine


ENGINES: Mapping[str, Callable[[], type[Engine]]] = {
    "torch": lambda: TorchEngine,
    "numba": partial(_import, "numba_engine", "NumbaEngine"),
    "triton": partial(_import, "triton_engine", "TritonEngine"),
    "spconv_triton": partial(_import, "spconv_triton_engine", "SpconvTritonEngine"),
    "spconv": partial(_import, "spconv_engine", "SpconvEngine"),
    "minkowski": partial(_import, "minkowski_engine", "MinkowskiEngine"),
}
"""Import function of each engine; only "torch" is always available."""

_PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}

_TOLERANCE = 1e-4
"""Maximum logit difference in float32, relative to the spread (largest - smallest logit)."""

_LABELS_EQUAL = 0.995
"""Minimum share of labels that a lower precision must not change."""

_GAIN = 1.5
"""Speed-up, in every turn, by which an engine displaces one that is preferred.

Engines whose speeds are that close give way to the order, so the load of the machine does not
decide which of them runs."""

_TURNS = 4
_SECONDS = 1.0
"""The trial ends after `_TURNS` turns, or after three turns and `_SECONDS` seconds."""

Trial = tuple[Tensor, Tensor]
"""Coordinates [N, 1 + D] and features [N, C] on which engines are compared."""

Forward = Callable[[SparseTensor], SparseTensor]
"""Forward pass of a network in evaluation mode, from features to logits."""


@dataclass(frozen=True)
class EngineChoice:
    """The engine that runs a network.

    Attributes:
        engine: the engine, ready to run.
        reason: why it was chosen, in one sentence.
        timings: run time of the network on the trial in seconds, by engine.
    """

    engine: Engine
    reason: str
    timings: Mapping[str, float]

    def __str__(self) -> str:
        return str(self.engine)


def choose_engine(
    name: str,
    network: Forward,
    trial: Callable[[], Trial],
    device: torch.device,
    precision: str = AUTO,
    deterministic: bool = False,
) -> EngineChoice:
    """Choose the engine that runs a network on a device.

    "auto" compares every available engine with plain PyTorch. An engine must give the same logits
    (in a lower precision, nearly all labels). Those that do are preferred in the order of
    `ENGINES`, the lower precision first, and PyTorch last. The most preferred one is chosen,
    unless another is faster by half in every turn, so the choice is the same on a busy machine. A
    requested engine is not compared. A deterministic choice does not depend on timings at all.

    Args:
        name: one of `ENGINE_CHOICES`.
        network: forward pass of the network, on the device.
        trial: returns typical input of the network; called only if engines are compared.
        device: device of the network.
        precision: one of `PRECISION_CHOICES`; "auto" takes a precision below float32 only if it
            agrees and is not slower by half, and never if `deterministic` is set.
        deterministic: use only engines that are bit-exact between runs.

    Raises:
        EngineError: the engine or precision is unknown (the message lists the choices) or not
            available (the message says what is missing).
    """
    for value, choices, option in (
        (name, ENGINE_CHOICES, "engine"),
        (precision, PRECISION_CHOICES, "precision"),
    ):
        if value not in choices:
            raise EngineError(f"{option} must be one of {', '.join(choices)}, not '{value}'")
    candidates: list[Engine] = []
    absent: dict[str, EngineError] = {}
    for each in ENGINES if name == AUTO else (name,):
        try:
            candidates += _engines(each, device, precision, deterministic)
        except EngineError as error:
            if name != AUTO:
                raise
            absent[each] = error
    if not candidates:
        causes = "; ".join(map(str, absent.values()))
        raise EngineError(f"no engine can run in {precision} on {device}: {causes}")
    if name != AUTO and len(candidates) == 1:
        return EngineChoice(candidates[0], f"{candidates[0]} was requested", {})
    missing = f"; not available: {', '.join(absent)}" if absent else ""
    if [engine.name for engine in candidates] == [TorchEngine.name]:
        return EngineChoice(candidates[0], f"torch is the only available engine{missing}", {})
    return _best(candidates, network, trial(), deterministic, missing)


def load_engine(name: str, device: torch.device) -> type[Engine]:
    """Import one of `ENGINES` for a device.

    Raises:
        EngineError: the engine cannot run; the message says what is missing.
    """
    try:
        kind = ENGINES[name]()
        kind.check(device)
    except EngineError:
        raise
    except ImportError as error:
        raise EngineError(
            f"cannot load engine '{name}' ({error}): pip install {error.name or name}"
        ) from error
    except Exception as error:  # The library is installed but broken.
        raise EngineError(f"cannot load engine '{name}': {error!r}") from error
    return kind


def _engines(name: str, device: torch.device, precision: str, deterministic: bool) -> list[Engine]:
    """Return an engine in each of the requested precisions, the preferred one first."""
    kind = load_engine(name, device)
    if deterministic and not kind.deterministic:
        raise EngineError(
            f"engine '{name}' is not deterministic: choose torch or numba, or turn "
            "'deterministic' off"
        )
    offered = kind.precisions(device)
    wanted = offered if precision == AUTO else (_PRECISIONS[precision],)
    if not set(wanted) <= set(offered):
        raise EngineError(
            f"engine '{name}' cannot run in {precision} on {device}: "
            f"choose {' or '.join(map(precision_name, offered))}"
        )
    return [kind(each) for each in (wanted[:1] if deterministic else reversed(wanted))]


@dataclass
class _Contender:
    """An engine in the comparison.

    Attributes:
        engine: the engine.
        seconds: run time of each turn.
        verdict: agreement with plain PyTorch, or the reason for exclusion.
        agrees: whether it is still eligible.
    """

    engine: Engine
    seconds: list[float] = field(default_factory=list)
    verdict: str = ""
    agrees: bool = True

    def run(self, network: Forward, trial: Trial) -> Tensor:
        """Return the logits [N, C] of the trial; the time includes building the kernel maps."""
        coordinates, features = trial
        started = time.perf_counter()
        with torch.inference_mode():
            tensor = network(SparseTensor(features, coordinates, engine=self.engine))
        if coordinates.is_cuda:
            torch.cuda.synchronize(coordinates.device)
        self.seconds.append(time.perf_counter() - started)
        return tensor.features

    @property
    def fastest(self) -> float:
        """Time of the fastest turn, without the first one, which compiles and packs weights."""
        return min(self.seconds[1:])

    def displaces(self, preferred: _Contender) -> bool:
        """Return whether it was clearly faster than another one in every turn."""
        turns = zip(self.seconds[1:], preferred.seconds[1:], strict=True)
        return all(mine * _GAIN < theirs for mine, theirs in turns)


def _best(
    candidates: list[Engine], network: Forward, trial: Trial, deterministic: bool, absent: str
) -> EngineChoice:
    """Compare all candidates with plain PyTorch; return the best that agrees."""
    reference = _Contender(TorchEngine())
    others = [_Contender(engine) for engine in candidates if engine.name != TorchEngine.name]
    _race(reference, others, network, trial)
    refused = "".join(f"; {c.engine}: {c.verdict}" for c in others if not c.agrees)
    eligible = [c for c in others if c.agrees]
    if len(others) < len(candidates):
        eligible.append(reference)
    if not eligible:
        raise EngineError(f"no engine agrees with torch{refused}{absent}")
    best = eligible[0]
    for contender in eligible[1:]:
        if not deterministic and contender.displaces(best):
            best = contender
    reason = "torch is the fastest"
    if best is not reference:
        speed = reference.fastest / best.fastest
        reason = f"{best.engine}: {speed:.1f} times as fast as torch, {best.verdict}"
    timings = {str(c.engine): c.fastest for c in (reference, *others) if c.agrees}
    return EngineChoice(best.engine, reason + refused + absent, timings)


def _race(reference: _Contender, others: list[_Contender], network: Forward, trial: Trial) -> None:
    """Run all engines in turns; exclude those that fail or disagree."""
    started = time.perf_counter()
    for turn in range(_TURNS):
        if turn >= 3 and time.perf_counter() - started > _SECONDS:
            break
        expected = reference.run(network, trial)
        for contender in others:
            if not contender.agrees:
                continue
            try:
                logits = contender.run(network, trial)
                contender.verdict = _agreement(contender.engine, logits, expected)
            except Exception as error:  # Any failure only excludes this engine.
                contender.agrees = False
                contender.verdict = str(error) if isinstance(error, EngineError) else repr(error)


def _agreement(engine: Engine, logits: Tensor, expected: Tensor) -> str:
    """Describe how well logits agree with those of plain PyTorch.

    Raises:
        EngineError: they do not agree well enough.
    """
    if engine.precision == torch.float32:
        spread = expected.max() - expected.min()
        difference = float((logits - expected).abs().max() / spread)
        verdict = f"largest difference {difference:.0e} of the spread"
        agrees = difference <= _TOLERANCE  # False for NaN.
    else:
        equal = float((logits.argmax(dim=1) == expected.argmax(dim=1)).float().mean())
        verdict = f"{equal:.1%} of the labels equal"
        agrees = equal >= _LABELS_EQUAL
    if not agrees:
        raise EngineError(verdict)
    return verdict
