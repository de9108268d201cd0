# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import math

import pytest
import torch

from minkowski_perception.lab.training.muon import Muon
from minkowski_perception.lab.training.optimization import (
    Optimization,
    make_optimizer,
    make_schedule,
)
from minkowski_perception.schema import SchemaError, read

STEPS, PEAK = 40, 0.24


def settings(**changes):
    recipe = {"iterations": STEPS, "learning_rate": PEAK, **changes}
    return read(Optimization, recipe, "optimization")


def rates(steps=STEPS, **changes):
    """Return the learning rate of each step."""
    chosen = settings(iterations=steps, **changes)
    optimizer = make_optimizer([torch.nn.Parameter(torch.zeros(1))], chosen)
    schedule = make_schedule(optimizer, chosen)
    found = []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return found


def test_poly_falls_as_a_power_of_the_remaining_steps():
    expected = [PEAK * (1 - s / (STEPS + 1)) ** 0.9 for s in range(STEPS)]
    assert rates(schedule={"poly": {"power": 0.9}}) == pytest.approx(expected)


def test_cosine_falls_to_its_least_rate():
    expected = [
        1e-5 + (PEAK - 1e-5) * (1 + math.cos(math.pi * s / STEPS)) / 2 for s in range(STEPS)
    ]
    assert rates(schedule={"cosine": {"least": "1e-5"}}) == pytest.approx(expected)


def test_a_step_schedule_multiplies_the_rate_at_its_steps():
    expected = [PEAK] * 24 + [PEAK / 10] * 8 + [PEAK / 100] * 8
    assert rates(schedule={"step": {"at": [24, 32]}}) == pytest.approx(expected)


def test_a_warm_up_rises_linearly_times_the_schedule():
    rise = [min(1.0, 0.008 + 0.992 * s / 10) for s in range(STEPS)]
    cosine = rates(schedule="cosine")
    found = rates(schedule="cosine", warm_up={"iterations": 10, "factor": 0.008})
    assert found == pytest.approx([r * c for r, c in zip(rise, cosine, strict=True)])


def test_one_cycle_peaks_after_a_twentieth_of_the_steps_and_is_the_default():
    found = rates()
    assert found == rates(schedule="one_cycle")
    assert max(found) == pytest.approx(PEAK, rel=0.01)
    assert found.index(max(found)) == STEPS // 20 - 1
    assert found[-1] < 1e-3 * PEAK


@pytest.mark.parametrize("steps", [1, 2, 19, 20, 21, 22])
def test_one_cycle_of_any_number_of_steps_falls_to_the_end(steps):
    found = rates(steps)
    assert all(0.0 < rate <= PEAK for rate in found)
    assert found[-1] < 1e-3 * PEAK
    assert max(found) > 0.9 * PEAK or steps < 3


def test_steps_of_sgd_follow_the_formula():
    chosen = settings(
        optimizer={"sgd": {"momentum": 0.9, "dampening": 0.1}},
        weight_decay=0.01,
        schedule={"step": {"at": []}},
    )
    weight = torch.nn.Parameter(torch.tensor([2.0]))
    optimizer = make_optimizer([weight], chosen)
    expected, velocity = 2.0, None
    for gradient in (1.0, -0.5, 0.25):
        weight.grad = torch.tensor([gradient])
        optimizer.step()
        decayed = gradient + 0.01 * expected
        velocity = decayed if velocity is None else 0.9 * velocity + 0.9 * decayed
        expected -= PEAK * velocity
        assert weight.item() == pytest.approx(expected, rel=1e-6)


def test_nesterov_momentum_follows_the_formula():
    chosen = settings(optimizer={"sgd": {"nesterov": True}})
    weight = torch.nn.Parameter(torch.tensor([0.0]))
    optimizer = make_optimizer([weight], chosen)
    weight.grad = torch.tensor([1.0])
    optimizer.step()
    assert weight.item() == pytest.approx(-PEAK * 1.9)


def test_a_one_cycle_schedule_keeps_the_settings_of_muon():
    chosen = settings(optimizer={"muon": {"momentum": 0.8, "betas": [0.7, 0.9]}}, weight_decay=0.1)
    optimizer = make_optimizer([torch.nn.Parameter(torch.zeros(2, 2))], chosen)
    assert isinstance(optimizer, Muon)
    make_schedule(optimizer, chosen)
    (group,) = optimizer.param_groups
    assert (group["momentum"], group["betas"], group["weight_decay"]) == (0.8, (0.7, 0.9), 0.1)
    assert group["lr"] < PEAK


def test_adamw_is_the_default_and_its_first_step_is_the_rate():
    weight = torch.nn.Parameter(torch.tensor([1.0]))
    optimizer = make_optimizer([weight], settings(weight_decay=0.5))
    assert isinstance(optimizer, torch.optim.AdamW)
    weight.grad = torch.tensor([3.0])
    optimizer.step()
    assert weight.item() == pytest.approx(1.0 - PEAK * 0.5 - PEAK, rel=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schedule": "linear"}, "schedule.linear: unknown name; valid: one_cycle, poly, cosine"),
        ({"schedule": {"poly": {"gamma": 1}}}, "poly.gamma: unknown key; valid: power"),
        ({"optimizer": {"lamb": {}}}, "valid: sgd, adamw, muon"),
        ({"optimizer": {"sgd": {"nesterov": True, "dampening": 0.1}}}, "no dampening"),
        ({"optimizer": {"muon": {"momentum": 1}}}, "momentum: must be at least 0 and below 1"),
        (
            {"optimizer": {"muon": {"betas": [0.9, -1]}}},
            r"betas\[1\]: must be at least 0 and below 1",
        ),
        ({"schedule": {"step": {"at": [9, 3]}}}, "at must be in ascending order"),
        ({"warm_up": {"iterations": 3}}, "one_cycle schedule has a warm-up of its own"),
        ({"precision": "int8"}, "one of float32, float16, bfloat16, not 'int8'"),
        ({"learning_rate": 0.0}, "learning_rate must be above 0"),
        ({"gradient_clip": -1.0}, "gradient_clip: must be above 0"),
        ({"batch_size": 0}, "batch_size: must be at least 1"),
        ({"batch_size": True}, "optimization.batch_size: must be an integer, not True"),
    ],
)
def test_invalid_settings_are_refused(changes, message):
    with pytest.raises(SchemaError, match=message):
        settings(**changes)
