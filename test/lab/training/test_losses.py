# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch

from minkowski_perception.lab.training.losses import (
    LOSSES,
    Loss,
    class_shares,
    class_weights,
    lovasz_softmax,
)


def test_the_lovasz_loss_of_hard_predictions_is_one_minus_the_mean_iou():
    truth = torch.tensor([0, 0, 0, 1, 1, 2])
    predicted = torch.tensor([0, 0, 1, 1, 2, 2])
    logits = 100.0 * torch.nn.functional.one_hot(predicted, 3).float()
    iou = [2 / 3, 1 / 3, 1 / 2]
    loss = lovasz_softmax(logits, truth)
    assert loss.item() == pytest.approx(1.0 - sum(iou) / 3, abs=1e-6)


def test_ignored_labels_do_not_count():
    logits = torch.randn(6, 3)
    truth = torch.tensor([0, 255, 1, 255, 2, 0])
    counted = truth != 255
    expected = Loss()(logits[counted], truth[counted])
    torch.testing.assert_close(Loss()(logits, truth), expected)


def test_the_lovasz_loss_without_labels_is_zero_and_has_a_gradient():
    logits = torch.randn(4, 3, requires_grad=True)
    loss = lovasz_softmax(logits, torch.full((4,), 255))
    loss.backward()
    assert loss.item() == 0.0
    assert (logits.grad == 0.0).all()


def test_class_weights_raise_the_loss_of_a_class():
    logits = torch.zeros(2, 2)
    logits[1, 0] = 2.0
    truth = torch.tensor([0, 1])
    lifted = Loss()(logits, truth, torch.tensor([1.0, 5.0]))
    assert lifted > Loss()(logits, truth)


@pytest.mark.parametrize("certainty", [0.1, 5.0])
def test_the_lovasz_loss_equals_its_definition(certainty):
    generator = torch.Generator().manual_seed(0)
    logits = certainty * torch.randn(40, 3, generator=generator, dtype=torch.float64)
    truth = torch.randint(0, 2, (40,), generator=generator)  # class 2 is absent
    losses = []
    for k in (0, 1):
        own = {i for i, label in enumerate(truth.tolist()) if label == k}
        probability = logits.softmax(dim=1)[:, k].tolist()
        errors = {i: 1 - p if i in own else p for i, p in enumerate(probability)}
        wrong, before, loss = set(), 0.0, 0.0
        for i in sorted(errors, key=errors.get, reverse=True):
            wrong.add(i)
            jaccard = 1 - len(own - wrong) / len(own | wrong)  # loss if just these are wrong
            loss += errors[i] * (jaccard - before)
            before = jaccard
        losses.append(loss)
    assert lovasz_softmax(logits, truth).item() == pytest.approx(sum(losses) / 2, abs=1e-12)


def test_rare_classes_have_larger_weights_and_the_mean_over_points_is_one():
    labels = np.repeat([0, 1, 255], [900, 100, 50])
    weights = class_weights(class_shares(labels, 3))
    assert weights[1] > weights[0]
    assert (0.9 * weights[0] + 0.1 * weights[1]).item() == pytest.approx(1.0, abs=1e-5)
    assert torch.isfinite(weights).all()


def test_classes_without_labels_have_equal_weights():
    weights = class_weights(class_shares(np.full(3, 255), 2))
    assert torch.isfinite(weights).all()
    assert weights[0] == weights[1]


@pytest.mark.parametrize(("cross_entropy", "lovasz"), [(1.0, 0.0), (0.0, 1.0), (0.5, 2.0)])
def test_a_loss_is_the_weighted_sum_of_its_parts(cross_entropy, lovasz):
    logits, truth = torch.randn(8, 3), torch.tensor([0, 1, 2, 255, 0, 1, 255, 2])
    counted = truth != 255
    chosen = logits[counted].log_softmax(dim=1)[torch.arange(6), truth[counted]]
    expected = cross_entropy * -chosen.mean() + lovasz * lovasz_softmax(logits, truth)
    torch.testing.assert_close(Loss(cross_entropy, lovasz)(logits, truth), expected)


def test_a_loss_without_labels_is_zero_and_has_a_gradient():
    logits = torch.randn(4, 3, requires_grad=True)
    loss = Loss()(logits, torch.full((4,), 255))
    loss.backward()
    assert loss.item() == 0.0
    assert (logits.grad == 0.0).all()


@pytest.mark.parametrize("weights", [None, torch.tensor([1.0, 2.0, 5.0])])
def test_with_point_power_1_a_voxel_counts_as_its_points(weights):
    logits, truth = 3.0 * torch.randn(9, 3), torch.tensor([0, 1, 2, 255, 0, 1, 2, 2, 1])
    points = torch.tensor([1, 4, 2, 7, 3, 1, 1, 5, 2])
    expected = Loss()(
        logits.repeat_interleave(points, 0), truth.repeat_interleave(points), weights
    )
    found = Loss(point_power=1.0)(logits, truth, weights, points)
    torch.testing.assert_close(found, expected)
    assert not torch.isclose(Loss()(logits, truth, weights, points), expected)


def test_with_point_power_one_half_four_points_count_twice():
    logits, truth = torch.randn(3, 2), torch.tensor([0, 1, 0])
    found = Loss(point_power=0.5)(logits, truth, None, torch.tensor([4, 1, 9]))
    expected = Loss(point_power=1.0)(logits, truth, None, torch.tensor([2, 1, 3]))
    torch.testing.assert_close(found, expected)


def test_a_point_power_above_one_is_refused():
    with pytest.raises(ValueError, match="point_power must be 0 to 1, not 2"):
        Loss(point_power=2.0)


@pytest.mark.parametrize("point_power", [0.0, 1.0])
def test_first_frames_count_less(point_power):
    logits, truth = torch.randn(8, 3), torch.tensor([0, 1, 2, 255, 0, 1, 2, 2])
    points = torch.tensor([4, 8, 12, 4, 1, 3, 5, 2])
    first = torch.arange(8) < 4
    found = Loss(point_power=point_power, first_frames=0.25)(logits, truth, None, points, first)
    if point_power:  # a quarter of the points, in the same voxels
        fewer = torch.where(first, points // 4, points)
        expected = Loss(point_power=1.0)(logits, truth, None, fewer)
    else:  # all others four times
        times = torch.where(first, 1, 4)
        expected = Loss()(logits.repeat_interleave(times, 0), truth.repeat_interleave(times))
    torch.testing.assert_close(found, expected)
    equal = Loss(point_power=point_power)
    assert torch.equal(
        equal(logits, truth, None, points, first), equal(logits, truth, None, points)
    )


def test_the_losses_of_other_heads_get_the_weights_of_their_voxels(monkeypatch):
    monkeypatch.setitem(LOSSES, "weighed", lambda logits, ids, weights: (ids * weights).sum())
    logits = {"classes": torch.zeros(4, 3), "weighed": torch.zeros(4, 1)}
    truth = {"weighed": torch.tensor([1, 255, 100, 50])}
    labels = torch.full((4,), 255)
    points, first = torch.tensor([4, 9, 16, 25]), torch.tensor([True, True, False, False])
    half = Loss(point_power=0.5, first_frames=0.5)
    assert half.total(logits, labels, truth, None, points, first) == 1 * 1 + 100 * 4 + 50 * 5


def test_the_average_has_its_share_of_the_class_loss_alone(monkeypatch):
    monkeypatch.setitem(LOSSES, "other", lambda logits, ids, weights: logits.sum())
    logits, averaged, truth = torch.randn(6, 3), torch.randn(6, 3), torch.arange(6) % 3
    first = torch.arange(6) < 2
    of_heads = ({"classes": logits, "other": torch.ones(6, 1)}, truth, {"other": truth})
    found = Loss(averaged=0.75, first_frames=0.5).total(*of_heads, None, None, first, averaged)
    alone, together = (
        Loss(first_frames=0.5)(each, truth, None, None, first) for each in (logits, averaged)
    )
    torch.testing.assert_close(found, 0.25 * alone + 0.75 * together + 6)


def test_a_share_of_the_average_above_one_is_refused():
    with pytest.raises(ValueError, match="averaged must be 0 to 1, not 2"):
        Loss(averaged=2.0)


@pytest.mark.parametrize("factor", [0.0, 1.5])
def test_a_factor_of_first_frames_outside_0_to_1_is_refused(factor):
    with pytest.raises(ValueError, match="first_frames must be above 0 and at most 1"):
        Loss(first_frames=factor)


def test_label_smoothing_spreads_a_share_over_all_classes():
    logits, truth = torch.randn(5, 4), torch.tensor([0, 1, 2, 3, 0])
    target = 0.9 * torch.nn.functional.one_hot(truth, 4) + 0.1 / 4
    expected = -(target * logits.log_softmax(dim=1)).sum(dim=1).mean()
    found = Loss(lovasz=0.0, label_smoothing=0.1)(logits, truth)
    torch.testing.assert_close(found, expected)
