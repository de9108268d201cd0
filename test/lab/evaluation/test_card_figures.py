# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from fake_segmenters import random_frame
from scipy.special import log_softmax
from tiny_models import save_tiny

from minkowski_perception.lab.evaluation import EvaluationError
from minkowski_perception.lab.evaluation.card_figures import best_temperature, measure
from minkowski_perception.labels import LabelSet
from minkowski_perception.networks.model import ModelError, change_card, load_model
from minkowski_perception.segmenter import Segmenter

KITTI = LabelSet.load("semantickitti19")


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_of_overconfident_logits_is_found(temperature):
    draw = np.random.default_rng(0)
    logits = draw.normal(0.0, 2.0, (20_000, 5))
    truth = (logits + draw.gumbel(size=logits.shape)).argmax(axis=1)
    scaled = log_softmax(temperature * logits, axis=1)
    assert best_temperature(scaled, truth) == pytest.approx(temperature, rel=0.05)


def test_a_measured_model_is_calibrated_and_keeps_its_labels(tmp_path):
    save_tiny(tmp_path / "tiny", dimension=3)
    frames = []
    for i in range(4):
        frame = random_frame(i, KITTI, points=2000, pose=np.eye(4))
        frame.intensity = np.random.default_rng(i).random(2000, dtype=np.float32)
        frames.append(frame)
    options = {"device": "cpu", "engine": "torch", "averaging": 1}
    plain = Segmenter.load(tmp_path / "tiny.yaml", **options)
    found = measure(plain, KITTI, {"a": frames}, (30.0,), fitted_on="random frames")
    change_card(tmp_path / "tiny.yaml", tmp_path / "new.yaml", found.changes())
    changed = Segmenter.load(tmp_path / "new.yaml", **options)

    card = changed.model
    assert card.calibration.fitted_on == "random frames"
    assert len(card.calibration.temperature) == 2
    assert card.domain["points"] == (2000.0, 2000.0)
    assert card.domain["rate"] == (10.0, 10.0)

    def error(segmenter):
        """Negative log-likelihood, and labels."""
        segmenter.reset()
        losses, labels = [], []
        for frame in frames:
            outputs = segmenter.probabilities(frame)
            rows = outputs.voxels.quantization.inverse.numpy()
            values = outputs.values.numpy()[rows]
            known = frame.labels < len(KITTI)
            losses.append(-np.log(values[known, frame.labels[known]]))
            labels.append(values.argmax(axis=1))
        return np.concatenate(losses).mean(), np.concatenate(labels)

    (before, labels), (after, labels_after) = error(plain), error(changed)
    assert after < before
    np.testing.assert_array_equal(labels, labels_after)
    with pytest.raises(EvaluationError, match="without a calibration"):
        measure(changed, KITTI, {"a": frames}, (30.0,))


def test_a_changed_card_loads_with_the_same_weights_in_place_too(tmp_path):
    save_tiny(tmp_path / "tiny", dimension=3)
    path = tmp_path / "tiny.yaml"
    digest = load_model(path).card["sha256"]
    change_card(path, path, {"domain": {"points": [1.0, 2.0]}})
    assert load_model(path).domain == {"points": (1.0, 2.0)}
    assert load_model(path).card["sha256"] == digest
    with pytest.raises(ModelError, match=r"domain\.points: must ascend"):
        change_card(path, path, {"domain": {"points": [2.0, 1.0]}})
    with pytest.raises(ModelError, match="one for each of 19 classes, not 2"):
        change_card(path, path, {"calibration": {"temperature": [[1.0]], "offsets": [0.0, 1.0]}})
    assert load_model(path).domain == {"points": (1.0, 2.0)}
