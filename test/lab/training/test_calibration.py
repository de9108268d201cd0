# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import expit
from tiny_models import save_tiny

from minkowski_perception.frame import Frame
from minkowski_perception.lab.training.calibration import (
    GuessingSegmenter,
    Scaling,
    adjust,
    calibrate_saved,
    fit,
)
from minkowski_perception.lab.training.validation import HeldOutSequences
from minkowski_perception.moving import BINS, LOGITS, calibration_error, probability_bins
from minkowski_perception.networks.model import load_model


def counts_of(logits, moving):
    counts = np.zeros((2, BINS), np.int64)
    np.add.at(counts, (moving.astype(int), probability_bins(expit(logits))), 1)
    return counts


def test_the_scaling_that_made_the_logits_wrong_is_found():
    rng = np.random.default_rng(0)
    logits = rng.normal(-1.0, 2.0, 200_000)
    moving = rng.random(len(logits)) < expit(logits)
    wrong = counts_of((logits - 0.7) / 1.6, moving)
    scaling = fit(wrong)
    assert (scaling.factor, scaling.offset) == pytest.approx((1.6, 0.7), abs=0.05)
    assert calibration_error(wrong) > 0.05
    assert calibration_error(scaling.counts(wrong)) < 0.005
    assert scaling.counts(wrong).sum(axis=1).tolist() == wrong.sum(axis=1).tolist()


def test_separable_points_have_a_finite_scaling_and_hopeless_ones_none():
    separable = np.zeros((2, BINS), np.int64)
    separable[0, LOGITS < -1], separable[1, LOGITS > 1] = 1, 1
    scaling = fit(separable)
    assert 1.0 < scaling.factor < 1e3
    assert np.isfinite(scaling.offset)
    assert fit(separable[::-1]) is None
    still = separable.copy()
    still[1] = 0
    assert fit(still) is None


def drive(frames=4):
    rng = np.random.default_rng(1)
    for i in range(frames):
        points = rng.uniform(-10, 10, (600, 3)).astype(np.float32)
        yield Frame(
            points,
            stamp=(i + 1) * 10**8,
            intensity=rng.random(600).astype(np.float32),
            labels=np.ones(600, np.uint8),
            moving=points[:, 0] > 5.0,
            pose=np.eye(4),
        )


@pytest.mark.parametrize("dimension", [3, 4])
def test_the_calibrated_model_gives_the_scaled_logits(tmp_path, dimension):
    kernel = {} if dimension == 3 else {"kernel": "causal"}
    path = tmp_path / "tiny"
    save_tiny(path, dimension=dimension, heads={"classes": 19, "moving": 1}, **kernel)
    card = path.with_suffix(".yaml")
    before = load_model(card)
    options = {"device": "cpu", "engine": "torch", "precision": "float32"}
    one = GuessingSegmenter(before, **options)
    frames = []
    for frame in drive():  # what moves is what the model finds likely to
        values = one.segment(frame).outputs["moving"]
        frames.append(replace(frame, moving=values > np.quantile(values, 0.9)))
    found = calibrate_saved(card, [HeldOutSequences("drive", [frames])], "cpu")
    after = load_model(card)
    assert after.card["figures"]["calibration"]["moving"] == found
    assert found["error_after"] < found["error_before"]
    one.reset()
    other = GuessingSegmenter(after, **options)
    scaled = Scaling(found["factor"], found["offset"])
    for frame in frames:
        old, new = (
            torch.logit(torch.tensor(each.segment(frame).outputs["moving"]))
            for each in (one, other)
        )
        expected = scaled.factor * old + scaled.offset
        # Beyond, a float32 probability is too close to 1 to tell.
        assert torch.allclose(new.clamp(-6, 6), expected.clamp(-6, 6), atol=0.05)


def test_models_without_the_head_stay_as_they_are(tmp_path):
    save_tiny(tmp_path / "tiny", dimension=3)
    card = tmp_path / "tiny.yaml"
    before = card.read_bytes()
    assert calibrate_saved(card, [HeldOutSequences("drive", [list(drive())])], "cpu") is None
    assert card.read_bytes() == before


@pytest.mark.parametrize("share", [0.0, 0.75, 1.0])
def test_adjusted_logits_differ_by_the_share_of_the_log_weights(tmp_path, share):
    save_tiny(tmp_path / "tiny", dimension=3)
    model = load_model(tmp_path / "tiny.yaml")
    segmenter = GuessingSegmenter(model, device="cpu", engine="torch", precision="float32")
    frame = next(drive())
    _, before = segmenter.scores(frame)
    weights = torch.linspace(0.5, 4.0, before.shape[1])
    adjust(model.network, weights, share)
    segmenter.reset()
    _, after = segmenter.scores(frame)
    expected = (-share * weights.log()).expand_as(before)
    torch.testing.assert_close(after - before, expected, atol=1e-5, rtol=0)
