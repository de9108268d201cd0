# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Which engine runs a network: the one asked for, or the fastest that agrees with PyTorch."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module

import torch
from torch import Tensor, nn

from minkowski_perception.sparse.engines.base import Engine, EngineError, precision_name
from minkowski_perception.sparse.engines.torch_engine import TorchEngine
from minkowski_perception.sparse.tensor import SparseTensor

AUTO = "auto"


def _import(module: str, kind: str) -> type[Engine]:
    engine: type[Engine] = getattr(import_module(f"{__package__}.engines.{module}"), kind)
    return engine


ENGINES: Mapping[str, Callable[[], type[Engine]]] = {
    "torch": lambda: TorchEngine,
    "numba": partial(_import, "numba_engine", "NumbaEngine"),
    "spconv_triton": partial(_import, "spconv_triton_engine", "SpconvTritonEngine"),
    "spconv": partial(_import, "spconv_engine", "SpconvEngine"),
    "minkowski": partial(_import, "minkowski_engine", "MinkowskiEngine"),
}
"""What imports each engine; only PyTorch is always there."""

ENGINE_CHOICES = (AUTO, *ENGINES)

_PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
PRECISION_CHOICES = (AUTO, *_PRECISIONS)

_TOLERANCE = 1e-4
"""Largest difference of a logit in float32, of the spread of the logits (largest - smallest)."""

_LABELS_EQUAL = 0.995
"""Least share of labels that a lower precision leaves as they are."""

_GAIN = 1.1
"""How much faster an engine must be than those before it: chance alone shall not decide."""

_TURNS = 4
_SECONDS = 1.0
"""The trial ends after so many turns, or after two and so many seconds."""

Trial = tuple[Tensor, Tensor]
"""Voxels [N, 1 + D] and features [N, C] to try engines on."""


@dataclass(frozen=True)
class EngineChoice:
    """The engine that runs a network.

    Attributes:
        engine: ready to run.
        reason: why this one, in a sentence.
        timings: seconds that the network took on the trial by each engine that was tried.
    """

    engine: Engine
    reason: str
    timings: Mapping[str, float]

    def __str__(self) -> str:
        return str(self.engine)


def choose_engine(
    name: str,
    network: nn.Module,
    trial: Callable[[], Trial],
    device: torch.device,
    precision: str = AUTO,
    deterministic: bool = False,
) -> EngineChoice:
    """Choose what runs a network on a device.

    With "auto", every engine that runs there is tried against plain PyTorch: it must give the
    same logits (in a lower precision the same labels, but for a few), and the fastest is taken. A
    single engine that is asked for is not tried. A deterministic choice does not hang on timings:
    it is the last of `ENGINES` that can be had and agrees.

    Args:
        name: one of `ENGINE_CHOICES`.
        network: in evaluation mode, on the device; takes and returns a SparseTensor.
        trial: makes voxels and features like those that the network is for; called if needed.
        device: where it runs.
        precision: one of `PRECISION_CHOICES`; "auto" takes a lower one than float32 only where it
            is faster and agrees, and never if the choice is to be deterministic.
        deterministic: take only engines that give the same bits in every run.

    Raises:
        EngineError: what is asked for is unknown (the choices are listed), or cannot be had here
            (what is missing is named).
    """
    for value, choices, what in (
        (name, ENGINE_CHOICES, "engine"),
        (precision, PRECISION_CHOICES, "precision"),
    ):
        if value not in choices:
            raise EngineError(f"{what} must be one of {', '.join(choices)}, not '{value}'")
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
        said = "; ".join(map(str, absent.values()))
        raise EngineError(f"no engine can run in {precision} on {device}: {said}")
    if name != AUTO and len(candidates) == 1:
        return EngineChoice(candidates[0], f"{candidates[0]} was asked for", {})
    missing = f"; not here: {', '.join(absent)}" if absent else ""
    if [engine.name for engine in candidates] == [TorchEngine.name]:
        return EngineChoice(candidates[0], f"torch is the only one{missing}", {})
    return _fastest(candidates, network, trial(), deterministic, missing)


def load_engine(name: str, device: torch.device) -> type[Engine]:
    """Import one of `ENGINES` for a device.

    Raises:
        EngineError: it cannot run here; the message says what is missing.
    """
    try:
        kind = ENGINES[name]()
        kind.check(device)
    except EngineError:
        raise
    except ImportError as error:
        raise EngineError(
            f"engine '{name}' does not load ({error}): pip install {error.name or name}"
        ) from error
    except Exception as error:  # a library that is installed but broken
        raise EngineError(f"engine '{name}' does not load: {error!r}") from error
    return kind


def _engines(name: str, device: torch.device, precision: str, deterministic: bool) -> list[Engine]:
    """Return an engine in each of the precisions that come into question."""
    kind = load_engine(name, device)
    if deterministic and not kind.deterministic:
        raise EngineError(
            f"engine '{name}' does not give the same bits in every run: choose torch or numba, "
            "or do without 'deterministic'"
        )
    offered = kind.precisions(device)
    wanted = offered if precision == AUTO else (_PRECISIONS[precision],)
    if not set(wanted) <= set(offered):
        raise EngineError(
            f"engine '{name}' cannot run in {precision} on {device}: "
            f"choose {' or '.join(map(precision_name, offered))}"
        )
    return [kind(each) for each in (wanted[:1] if deterministic else wanted)]


@dataclass
class _Contender:
    """An engine on trial.

    Attributes:
        engine: which.
        seconds: of each turn.
        verdict: how well it agrees with plain PyTorch, or why it is out.
        agrees: whether it is still in.
    """

    engine: Engine
    seconds: list[float] = field(default_factory=list)
    verdict: str = ""
    agrees: bool = True

    def run(self, network: nn.Module, trial: Trial) -> Tensor:
        """Logits [N, C] of the trial; kernel maps are built too, and timed."""
        coordinates, features = trial
        started = time.perf_counter()
        with torch.inference_mode():
            tensor: SparseTensor = network(SparseTensor(features, coordinates, engine=self.engine))
        if coordinates.is_cuda:
            torch.cuda.synchronize(coordinates.device)
        self.seconds.append(time.perf_counter() - started)
        return tensor.features

    @property
    def best(self) -> float:
        """Seconds of the least disturbed turn; the first one compiles and packs weights."""
        return min(self.seconds[1:])


def _fastest(
    candidates: list[Engine], network: nn.Module, trial: Trial, deterministic: bool, absent: str
) -> EngineChoice:
    """Try all beside plain PyTorch, and take the fastest of those that agree."""
    reference = _Contender(TorchEngine())
    others = [_Contender(engine) for engine in candidates if engine.name != TorchEngine.name]
    _race(reference, others, network, trial)
    refused = "".join(f"; {c.engine}: {c.verdict}" for c in others if not c.agrees)
    eligible = [c for c in others if c.agrees]
    if len(others) < len(candidates):
        eligible.insert(0, reference)
    if not eligible:
        raise EngineError(f"no engine agrees with torch{refused}{absent}")
    best = eligible[0]
    for contender in eligible[1:]:
        if deterministic or contender.best * _GAIN < best.best:
            best = contender
    reason = "torch is the fastest"
    if best is not reference:
        speed = reference.best / best.best
        reason = f"{best.engine}: {speed:.1f} times as fast as torch, {best.verdict}"
    timings = {str(c.engine): c.best for c in (reference, *others) if c.agrees}
    return EngineChoice(best.engine, reason + refused + absent, timings)


def _race(
    reference: _Contender, others: list[_Contender], network: nn.Module, trial: Trial
) -> None:
    """Let all run in turns; whoever fails or disagrees is out."""
    started = time.perf_counter()
    for turn in range(_TURNS):
        if turn >= 2 and time.perf_counter() - started > _SECONDS:
            break
        expected = reference.run(network, trial)
        for contender in others:
            if not contender.agrees:
                continue
            try:
                logits = contender.run(network, trial)
                contender.verdict = _agreement(contender.engine, logits, expected)
            except Exception as error:  # whatever it is, there are other engines
                contender.agrees = False
                contender.verdict = str(error) if isinstance(error, EngineError) else repr(error)


def _agreement(engine: Engine, logits: Tensor, expected: Tensor) -> str:
    """Say how well logits agree with those of plain PyTorch.

    Raises:
        EngineError: not well enough.
    """
    if engine.precision == torch.float32:
        spread = expected.max() - expected.min()
        difference = float((logits - expected).abs().max() / spread)
        said = f"largest difference {difference:.0e} of the spread"
        agrees = difference <= _TOLERANCE  # NaN does not
    else:
        equal = float((logits.argmax(dim=1) == expected.argmax(dim=1)).float().mean())
        said = f"{equal:.1%} of the labels equal"
        agrees = equal >= _LABELS_EQUAL
    if not agrees:
        raise EngineError(said)
    return said
