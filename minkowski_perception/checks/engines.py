# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Checks of the model, and of the engines that can run it: self-test and speed."""

from __future__ import annotations

from minkowski_perception.checks.finding import Finding, fail, ok, warn
from minkowski_perception.device import choose_device, use_threads
from minkowski_perception.networks.model import Model, ModelError, available_models, load_model
from minkowski_perception.segmenter import Segmenter
from minkowski_perception.sparse.engines.base import EngineError
from minkowski_perception.sparse.selection import ENGINES, load_engine

_FAST = {"cpu": "numba", "cuda": "triton"}
"""Engine that a device needs for speed."""


def engines(
    name: str, device: str = "auto", threads: int = 0
) -> tuple[list[Finding], Segmenter | None]:
    """Load a model and let all engines run it; return findings and the model, ready to run.

    Args:
        name: of the model, or the path of its card.
        device: setting `device`.
        threads: setting `threads`.
    """
    try:
        model = load_model(name)
    except ModelError as error:
        shipped = ", ".join(available_models())
        return [fail("model", str(error), f"choose another with --model: {shipped}")], None
    findings = [ok("model", describe(model))]
    use_threads(threads)
    try:
        chosen = choose_device(device)
    except ValueError as error:
        return [*findings, fail("device", str(error), "--device cpu")], None
    try:
        segmenter = Segmenter(model, device=device)
    except ValueError as error:
        return [*findings, fail("engine", str(error), "--device cpu")], None
    choice = segmenter.engine
    findings.append(ok("engine", f"{choice} on {chosen}: {choice.reason}"))
    for engine in ENGINES:
        try:
            load_engine(engine, chosen)
        except EngineError as error:
            if _FAST.get(chosen.type) == engine:
                remedy = f"pip install {engine.replace('_', '-')}"
                findings.append(warn(f"engine {engine}", f"not available: {error}", remedy))
            continue
        times = {
            label: seconds
            for label, seconds in choice.timings.items()
            if label.split()[0] == engine
        }
        if times:
            speeds = (f"{label} {1e3 * seconds:.0f} ms" for label, seconds in times.items())
            findings.append(ok(f"engine {engine}", f"agrees with torch; {', '.join(speeds)}"))
        elif choice.timings:
            findings.append(
                warn(
                    f"engine {engine}",
                    "is installed, but failed its self-test and is not used; see the reason above",
                    f"pip install --upgrade {engine.replace('_', '-')}",
                )
            )
    return findings, segmenter


def describe(model: Model) -> str:
    """Return name, network, input and label set of a model in one line."""
    parameters = sum(p.numel() for p in model.network.parameters())
    return (
        f"{model.name}: {model.card['network']['name']}, {model.network.dimension}D, "
        f"{parameters / 1e6:.1f} M parameters, voxels of {model.input.voxel_size:g} m, "
        f"{len(model.label_set)} classes ({model.label_set.name})"
    )
