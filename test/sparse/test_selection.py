# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Tests of the choice among slow, wrong and broken engines, with a simulated clock."""

from importlib.util import find_spec
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from minkowski_perception.networks import build_network
from minkowski_perception.sparse import Convolution, SparseTensor, cube, selection
from minkowski_perception.sparse.engines.base import EngineError
from minkowski_perception.sparse.engines.torch_engine import TorchEngine
from minkowski_perception.sparse.selection import ENGINES, choose_engine

CPU = torch.device("cpu")


class Fake(TorchEngine):
    name = "fake"
    deterministic = False
    error = 0.0

    def convolve(self, *args, **kwargs):
        output = super().convolve(*args, **kwargs)
        output[0, 0] += self.error * (output.max() - output.min())
        return output


class Deterministic(Fake):
    name = "deterministic"
    deterministic = True
    error = 5e-5


class Wrong(Fake):
    name = "wrong"
    error = 2e-4


class Infinite(Fake):
    name = "infinite"
    error = float("nan")


class Raising(Fake):
    name = "raising"

    def convolve(self, *args, **kwargs):
        raise RuntimeError("out of registers")


class Missing(Fake):
    name = "missing"

    @classmethod
    def check(cls, device):
        raise EngineError("missing is not installed: pip install missing")


class Lower(Fake):
    """Supports bfloat16, in which every `stride`th voxel gets another label."""

    name = "lower"
    stride = 300

    @classmethod
    def precisions(cls, device):
        return torch.float32, torch.bfloat16

    def convolve(self, *args, **kwargs):
        output = super().convolve(*args, **kwargs)
        if self.precision == torch.bfloat16:
            output[:: self.stride] *= -1
        return output


class Coarse(Lower):
    name = "coarse"
    stride = 100


def not_installed():
    raise ImportError("No module named 'absent'", name="absent")


def broken():
    raise OSError("libbroken.so: wrong ELF class")


class Network(nn.Module):
    """One layer that advances the clock by the seconds of its engine: a number, or an iterator."""

    def __init__(self, clock, seconds):
        super().__init__()
        self.layer = Convolution(2, 5, cube((3, 3, 3)))
        self.clock, self.seconds = clock, seconds

    def forward(self, tensor):
        engine = tensor.manager.engine
        lower = "" if engine.precision == torch.float32 else " in bfloat16"
        seconds = self.seconds[engine.name + lower]
        self.clock.now += next(seconds) if hasattr(seconds, "__next__") else seconds
        return self.layer(tensor)


def trial():
    generator = torch.Generator().manual_seed(0)
    grid = torch.cartesian_prod(*[torch.arange(n) for n in (1, 10, 10, 12)])
    return grid, torch.randn(len(grid), 2, generator=generator)


def no_trial():
    pytest.fail("no trial is needed")


@pytest.fixture
def choose(monkeypatch):
    """Choose among engines with given run times."""

    def run(*args, engines, name="auto", make_trial=trial, **kwargs):
        clock = SimpleNamespace(now=0.0, perf_counter=lambda: clock.now)
        monkeypatch.setattr(selection, "time", clock)
        table = {"torch": lambda: TorchEngine}
        for engine in engines:
            table[getattr(engine, "name", engine.__name__)] = (
                (lambda kind=engine: kind) if isinstance(engine, type) else engine
            )
        monkeypatch.setattr(selection, "ENGINES", table)
        monkeypatch.setattr(selection, "ENGINE_CHOICES", ("auto", *table))
        network = Network(clock, {"torch": 0.1, **kwargs.pop("seconds", {})}).eval()
        return choose_engine(name, network, make_trial, CPU, *args, **kwargs)

    return run


def test_an_unknown_engine_or_precision_is_refused_with_the_choices(choose):
    with pytest.raises(EngineError, match="one of auto, torch, fake, not 'abacus'"):
        choose(name="abacus", engines=[Fake])
    with pytest.raises(EngineError, match="one of auto, float32, bfloat16, float16, not 'int8'"):
        choose(precision="int8", engines=[Fake])


@pytest.mark.parametrize(
    ("engine", "name", "message"),
    [
        (Missing, "missing", "missing is not installed: pip install missing"),
        (not_installed, "not_installed", r"No module named 'absent'.*pip install absent"),
        (broken, "broken", "cannot load engine 'broken': .*wrong ELF class"),
    ],
)
def test_a_requested_engine_that_cannot_run_is_refused_with_the_cause(
    choose, engine, name, message
):
    with pytest.raises(EngineError, match=message):
        choose(name=name, engines=[engine])
    choice = choose(engines=[engine], make_trial=no_trial)
    assert choice.reason == f"torch is the only available engine; not available: {name}"


def test_a_requested_engine_is_chosen_without_a_trial(choose):
    choice = choose(name="fake", engines=[Fake], make_trial=no_trial)
    assert type(choice.engine) is Fake
    assert (str(choice), choice.reason, choice.timings) == ("fake", "fake was requested", {})


def test_the_fastest_engine_that_agrees_is_chosen_with_a_reason(choose):
    seconds = {"fake": 0.05, "deterministic": 0.025, "wrong": 0.01, "infinite": 0.01}
    engines = [Fake, Deterministic, Wrong, Infinite, Raising, Missing, broken]
    choice = choose(engines=engines, seconds={**seconds, "raising": 0.01})
    assert type(choice.engine) is Deterministic
    assert choice.reason == (
        "deterministic: 4.0 times as fast as torch, largest difference 5e-05 of the spread; "
        "wrong: largest difference 2e-04 of the spread; "
        "infinite: largest difference nan of the spread; "
        "raising: RuntimeError('out of registers'); not available: missing, broken"
    )
    expected = {"torch": 0.1, "fake": 0.05, "deterministic": 0.025}
    assert choice.timings == pytest.approx(expected)


def test_the_preferred_engine_runs_unless_another_is_clearly_faster(choose):
    assert str(choose(engines=[Fake], seconds={"fake": 0.14})) == "fake"
    choice = choose(engines=[Fake], seconds={"fake": 0.16})
    assert (str(choice), choice.reason) == ("torch", "torch is the fastest")
    both = [Fake, Deterministic]
    assert str(choose(engines=both, seconds={"fake": 0.07, "deterministic": 0.05})) == "fake"
    assert str(choose(engines=both, seconds={"fake": 0.08, "deterministic": 0.05})) != "fake"


@pytest.mark.parametrize("turn", range(4))
def test_the_load_of_one_turn_does_not_decide(choose, turn):
    busy = [0.05] * 4
    busy[turn] = 9.0
    seconds = {"lower": 0.05, "lower in bfloat16": iter(busy)}
    assert str(choose(engines=[Lower], seconds=seconds)) == "lower bfloat16"


def test_a_lower_precision_is_chosen_if_it_is_faster_and_keeps_the_labels(choose):
    seconds = {"lower": 0.05, "lower in bfloat16": 0.02}
    choice = choose(engines=[Lower], seconds=seconds)
    assert choice.engine.precision == torch.bfloat16
    expected = "lower bfloat16: 5.0 times as fast as torch, 99.7% of the labels equal"
    assert (str(choice), choice.reason) == ("lower bfloat16", expected)

    assert str(choose("float32", engines=[Lower], seconds=seconds)) == "lower"
    assert str(choose(name="lower", engines=[Lower], seconds=seconds)) == "lower bfloat16"
    slower = {"lower": 0.05, "lower in bfloat16": 0.08}
    assert str(choose(engines=[Lower], seconds=slower)) == "lower"
    other = {"coarse": 0.05, "coarse in bfloat16": 0.02}
    choice = choose(engines=[Coarse], seconds=other)
    assert str(choice) == "coarse"
    assert "coarse bfloat16: 99.0% of the labels equal" in choice.reason


def test_a_requested_precision_is_refused_if_no_engine_supports_it(choose):
    seconds = {"lower in bfloat16": 0.2, "coarse in bfloat16": 0.2}
    choice = choose("bfloat16", engines=[Fake, Lower], seconds=seconds)
    assert (str(choice), *choice.timings) == ("lower bfloat16", "torch", "lower bfloat16")
    with pytest.raises(EngineError, match="'fake' cannot run in bfloat16 on cpu: choose float32"):
        choose("bfloat16", name="fake", engines=[Fake])
    with pytest.raises(EngineError, match=r"no engine can run in float16.*float32 or bfloat16"):
        choose("float16", engines=[Lower])
    with pytest.raises(EngineError, match=r"no engine agrees with torch; coarse bfloat16: 99\.0%"):
        choose("bfloat16", engines=[Coarse], seconds=seconds)


def test_a_deterministic_choice_does_not_depend_on_timings(choose):
    for seconds in (0.01, 0.5):
        choice = choose(
            engines=[Deterministic, Lower],
            seconds={"deterministic": seconds, "lower": 0.001},
            deterministic=True,
        )
        assert str(choice) == "deterministic"
        assert "not available: lower" in choice.reason
    with pytest.raises(EngineError, match="engine 'lower' is not deterministic"):
        choose(name="lower", engines=[Lower], deterministic=True)


@pytest.mark.parametrize("name", ENGINES)
def test_every_engine_is_registered_under_its_own_name(name):
    if name == "numba":
        pytest.importorskip("numba")
    kind = ENGINES[name]()
    assert kind.name == name
    try:
        kind.check(CPU)
    except EngineError as error:
        pytest.skip(str(error))
    for precision in kind.precisions(CPU):
        assert kind(precision).precision == precision


@pytest.mark.parametrize("dimension", [3, 4])
def test_the_chosen_engine_gives_the_labels_of_torch(dimension):
    torch.manual_seed(0)
    network = build_network(
        "MinkUNet14A", in_channels=2, heads={"classes": 5}, dimension=dimension, width=0.125
    )
    coordinates = torch.unique(torch.randint(-9, 9, (1000, 1 + dimension)).clamp(min=0), dim=0)
    features = torch.randn(len(coordinates), 2)
    choice = choose_engine(
        "auto", network.eval().class_logits, lambda: (coordinates, features), CPU
    )
    labels = []
    for engine in (choice.engine, TorchEngine()):
        with torch.inference_mode():
            logits = network.class_logits(
                SparseTensor(features, coordinates, engine=engine)
            ).features
        labels.append(logits.argmax(dim=1))
    assert (labels[0] == labels[1]).float().mean() >= 0.995


@pytest.mark.parametrize("name", ENGINES)
def test_every_engine_has_its_module(name):
    module = f"minkowski_perception.sparse.engines.{name}_engine"
    assert find_spec(module) is not None
    try:
        kind = ENGINES[name]()
    except ImportError as error:
        missing = error.name
    else:
        missing = None
        assert kind.name == name
        assert kind.__module__ == module
    assert missing is None or not missing.startswith("minkowski_perception")
