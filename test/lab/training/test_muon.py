# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch

from minkowski_perception.lab.training.muon import Muon, orthogonalized


def some(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", [(60, 12), (12, 60), (7, 7), (5, 1)])
def test_an_orthogonalized_matrix_keeps_its_singular_vectors_and_has_values_near_one(shape):
    matrix = some(*shape).double().numpy()
    left, values, right = np.linalg.svd(matrix, full_matrices=False)
    found = left.T @ orthogonalized(torch.from_numpy(matrix).float()).double().numpy() @ right.T
    kept = values > 0.02 * np.linalg.norm(values)
    assert kept.any()
    assert (found.diagonal()[kept] > 0.6).all()
    assert (found.diagonal()[kept] < 1.3).all()
    assert np.abs(found - np.diag(found.diagonal())).max() < 1e-5


def test_a_zero_matrix_stays_zero():
    assert (orthogonalized(torch.zeros(4, 3)) == 0.0).all()


def by_the_formula(weights, gradients, lr, decay, momentum):
    """Oracle of Muon in float64, by a polynomial of the singular values."""
    weights = weights.double().numpy().copy()
    velocity = np.zeros_like(weights)
    for gradient in gradients:
        gradient = gradient.double().numpy()
        velocity = momentum * velocity + (1 - momentum) * gradient
        ahead = (1 - momentum) * gradient + momentum * velocity
        left, values, right = np.linalg.svd(
            ahead.reshape(-1, ahead.shape[-1]), full_matrices=False
        )
        values = values / np.linalg.norm(values)
        for _ in range(5):
            values = 3.4445 * values - 4.7750 * values**3 + 2.0315 * values**5
        orthogonal = (left * values @ right).reshape(weights.shape)
        rows, columns = left.shape[0], right.shape[1]
        step = 0.2 * np.sqrt(max(rows, columns)) * orthogonal
        weights = weights * (1 - lr * decay) - lr * step
    return weights


@pytest.mark.parametrize("shape", [(27, 4, 6), (3, 20)], ids=["kernel", "matrix"])
def test_steps_of_kernels_follow_the_formula(shape):
    weights = torch.nn.Parameter(some(*shape))
    gradients = [some(*shape, seed=seed) for seed in (1, 2, 3)]
    expected = by_the_formula(weights.detach(), gradients, 0.1, 0.5, 0.9)
    optimizer = Muon([weights], lr=0.1, weight_decay=0.5, momentum=0.9)
    for gradient in gradients:
        weights.grad = gradient
        optimizer.step()
    np.testing.assert_allclose(weights.detach().numpy(), expected, rtol=1e-4, atol=1e-5)


def test_parameters_of_one_dimension_take_the_steps_of_adamw():
    found, expected = (torch.nn.Parameter(some(8)) for _ in range(2))
    ours = Muon([found], lr=0.1, weight_decay=0.5, betas=(0.8, 0.9))
    theirs = torch.optim.AdamW([expected], lr=0.1, weight_decay=0.5, betas=(0.8, 0.9))
    for seed in (1, 2, 3):
        found.grad = expected.grad = some(8, seed=seed)
        ours.step()
        theirs.step()
    torch.testing.assert_close(found, expected)


def test_steps_are_as_large_as_those_of_adamw_for_any_size_of_gradient():
    steps = []
    for size in (1e-3, 1e3):
        weights = torch.nn.Parameter(torch.zeros(27, 16, 16))
        weights.grad = size * some(27, 16, 16)
        Muon([weights], lr=1.0).step()
        steps.append(weights.detach())
    torch.testing.assert_close(*steps, rtol=1e-3, atol=1e-4)
    assert steps[0].square().mean().sqrt().item() == pytest.approx(0.2, rel=0.3)


def test_parameters_without_gradient_do_not_change():
    weights = torch.nn.Parameter(torch.ones(3, 3))
    Muon([weights], lr=1.0, weight_decay=0.5).step()
    assert (weights == 1.0).all()
