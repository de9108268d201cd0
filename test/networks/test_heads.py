# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""A per-voxel output is added in ten lines, from its loss in training to its field in clouds."""

from dataclasses import replace
from operator import attrgetter
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from small_recipes import small_recipe, write_sequences

from minkowski_perception.codec import FLOAT32, append_fields, encode_frame
from minkowski_perception.frame import Frame
from minkowski_perception.lab.datasets.catalogue import open_dataset
from minkowski_perception.lab.evaluation.augmented import AugmentedSegmenter, worlds
from minkowski_perception.lab.evaluation.evaluation import evaluate
from minkowski_perception.lab.training.loop import train
from minkowski_perception.lab.training.losses import Loss, loss
from minkowski_perception.lab.training.recipe import Recipe, RecipeError
from minkowski_perception.labels import LabelSet
from minkowski_perception.networks import build_network
from minkowski_perception.networks.heads import head
from minkowski_perception.networks.inflate import inflate, transfer
from minkowski_perception.networks.model import Model, ModelError, load_model, save_model
from minkowski_perception.scoring import output_metric
from minkowski_perception.segmenter import Segmenter
from minkowski_perception.voxels import VoxelInput

KITTI = LabelSet.load("semantickitti19")
HEADS = {"classes": 19, "ahead": 1}


# The whole of a new output, whether a point is in front of the sensor:


@head("ahead", truth=lambda frame: frame.points[:, 0] > 0)
def ahead(logits):
    return torch.sigmoid(logits[:, 0])


@loss("ahead")
def ahead_loss(logits, truth, weights):
    losses = F.binary_cross_entropy_with_logits(logits[:, 0], truth.float(), reduction="none")
    return (weights * losses).sum() / weights.sum()


@output_metric("ahead")
class AheadAccuracy:
    def __init__(self, label_set, ranges):
        self.hits = self.points = 0

    def update(self, frame, values, labels):
        self.hits += int(((values > 0.5) == (frame.points[:, 0] > 0)).sum())
        self.points += len(frame)

    def figures(self):
        return {"accuracy": self.hits / self.points if self.points else None}


# Two more, of other kinds:


@head("drifting", truth=attrgetter("moving"), needs_motion=True)
def drifting(logits):
    return torch.sigmoid(logits[:, 0])


@head("third", truth=lambda frame: None, channels=3)
def third(logits):
    return logits.argmax(dim=1).to(torch.uint8)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    write_sequences(root)
    return root


def recipe_of(root, **changes):
    """Return a recipe of a causal network with the head."""
    recipe = small_recipe(root, window=2, augmentation=[], **changes)
    recipe["network"] |= {"heads": HEADS, "dimension": 4, "kernel": "causal", "in_channels": 3}
    recipe["input"] = {"voxel_size": 0.5, "features": ["one", "x", "intensity"]}
    return recipe


@pytest.fixture(scope="module")
def trained(root, tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    recipe = recipe_of(root, loss={"heads": {"ahead": 3.0}})
    recipe["optimization"]["iterations"] = 30
    return load_model(train(recipe, out, "cpu", workers=0).with_suffix(".yaml"))


@pytest.fixture(scope="module")
def frames(root):
    return open_dataset("semantickitti", root, "val", KITTI).sequences["08"]


def test_a_trained_model_has_the_head_in_its_card_and_its_weights(trained):
    assert trained.card["network"]["heads"] == HEADS
    state = trained.network.state_dict()
    assert (state["heads.ahead.kernel"].shape[1], state["heads.ahead.bias"].shape) == (1, (1, 1))
    assert state["final.bias"].shape == (1, 19)
    assert trained.card["figures"]["outputs"]["ahead"]["accuracy"] > 0.9


def test_window_and_incremental_execution_give_the_same_values(trained, frames):
    incremental = Segmenter(trained, device="cpu", engine="torch")
    window = Segmenter(
        trained, device="cpu", engine="torch", execution="window", window=len(frames)
    )
    assert incremental.execution == "incremental"
    for frame in frames:
        one, other = (segmenter.segment(frame) for segmenter in (incremental, window))
        values = one.outputs["ahead"]
        assert (values.dtype, values.shape) == (np.float32, (len(frame),))
        assert np.mean((values > 0.5) == (frame.points[:, 0] > 0)) > 0.9
        np.testing.assert_allclose(values, other.outputs["ahead"], atol=1e-5)
        np.testing.assert_array_equal(one.labels, other.labels)


def test_values_become_a_field_of_the_cloud_with_nan_for_points_without_a_voxel(trained, frames):
    frame = replace(frames[0], points=frames[0].points.copy())
    frame.points[3] = np.nan
    result = Segmenter(trained, device="cpu", engine="torch").segment(frame)
    assert np.flatnonzero(np.isnan(result.outputs["ahead"])).tolist() == [3]
    message = SimpleNamespace(**vars(encode_frame(frame)))
    cloud = append_fields(message, result.fields())
    assert [f.name for f in cloud.fields[-4:]] == ["label", "confidence", "rgb", "ahead"]
    field = cloud.fields[-1]
    assert field.datatype == FLOAT32
    rows = np.frombuffer(cloud.data, np.uint8).reshape(len(frame), cloud.point_step)
    written = rows[:, field.offset : field.offset + 4].copy().view("<f4")[:, 0]
    np.testing.assert_array_equal(written, result.outputs["ahead"])


def test_the_metric_scores_the_values(trained, frames):
    segmenter = Segmenter(trained, device="cpu", engine="torch")
    scorer = evaluate(segmenter, KITTI, {"08": frames}).scorer
    metric = scorer.outputs["ahead"]
    assert metric.points == sum(len(frame) for frame in frames)
    assert metric.figures()["accuracy"] > 0.9


def test_test_time_augmentation_averages_the_values(trained, frames):
    segmenter = Segmenter(trained, device="cpu", engine="torch")
    identity = worlds([(1.0, 1.0)], [0.0], [1.0])
    once = segmenter.another_stream().segment(frames[0]).outputs["ahead"]
    twice = AugmentedSegmenter(segmenter, identity * 2).segment(frames[0]).outputs["ahead"]
    np.testing.assert_allclose(twice, once, atol=1e-6)


def test_the_weight_of_a_loss_comes_from_the_recipe():
    logits = {"classes": torch.zeros(4, 19), "ahead": torch.tensor([[2.0], [-1.0], [0.5], [9.0]])}
    labels = torch.tensor([1, 2, 3, 4])
    ids = torch.tensor([1, 0, 0, 255])
    expected = ahead_loss(logits["ahead"][:3], ids[:3], torch.ones(3))
    of_classes = Loss()(logits["classes"], labels)
    for loss_of, weight in ((Loss(), 1.0), (Loss(heads={"ahead": 3.0}), 3.0)):
        total = loss_of.total(logits, labels, {"ahead": ids})
        torch.testing.assert_close(total, of_classes + weight * expected)


def test_voxels_weigh_as_in_the_cross_entropy_of_the_classes():
    logits = {"classes": torch.zeros(3, 19), "ahead": torch.tensor([[2.0], [-1.0], [0.5]])}
    labels, ids, points = (
        torch.tensor([1, 2, 255]),
        torch.tensor([1, 0, 0]),
        torch.tensor([4, 1, 9]),
    )
    weights = torch.ones(19)
    weights[1] = 5.0
    expected = ahead_loss(logits["ahead"], ids, torch.tensor([2.0 * 5.0, 1.0, 3.0]))
    loss_of = Loss(point_power=0.5)
    total = loss_of.total(logits, labels, {"ahead": ids}, weights, points)
    of_classes = loss_of(logits["classes"], labels, weights, points)
    torch.testing.assert_close(total, of_classes + expected)


def test_without_known_truth_a_loss_is_zero_and_has_gradients():
    logits = {"classes": torch.zeros(2, 19), "ahead": torch.ones(2, 1, requires_grad=True)}
    unknown = torch.tensor([255, 255])
    total = Loss().total(logits, unknown, {"ahead": unknown})
    total.backward()
    assert total == 0.0
    assert torch.equal(logits["ahead"].grad, torch.zeros(2, 1))


@pytest.mark.parametrize(
    ("heads", "weights", "message"),
    [
        ({"classes": 19, "third": 3}, {}, "unknown loss 'third'; .*ahead"),
        (HEADS, {"ahed": 1.0}, "loss.heads.ahed: unknown head; did you mean 'ahead'"),
        ({"classes": 19, "ahead": 2}, {}, "heads.ahead: must be 1 to fit"),
        ({"ahead": 1}, {}, "heads must name 'classes', not ahead"),
    ],
)
def test_heads_and_weights_that_do_not_fit_are_refused(heads, weights, message, tmp_path):
    recipe = recipe_of(tmp_path, loss={"heads": weights})
    recipe["network"]["heads"] = heads
    with pytest.raises(RecipeError, match=message):
        Recipe.from_dict(recipe)


def untrained(**heads):
    torch.manual_seed(0)
    options = {"in_channels": 2, "dimension": 4, "kernel": "causal", "width": 0.125}
    network = build_network("MinkUNet14A", heads={"classes": 19, **heads}, **options)
    spec = VoxelInput.from_dict({"voxel_size": 0.5, "features": ["one", "z"]})
    return Model("random", network.eval(), KITTI, spec, 2, {})


def test_an_output_that_needs_motion_is_missing_without_a_pose_or_an_earlier_frame(frames):
    segmenter = Segmenter(untrained(drifting=1), device="cpu", engine="torch")
    first, second = (segmenter.segment(frame).outputs["drifting"] for frame in frames[:2])
    assert np.isnan(first).all()
    assert np.isfinite(second).all()
    unposed = segmenter.segment(replace(frames[2], pose=None))
    assert np.isnan(unposed.outputs["drifting"]).all()


def test_an_integer_output_is_a_field_of_its_type_with_the_largest_value_for_none():
    points = np.array([[1, 2, 0], [np.inf, 0, 0], [3, 4, 1]], np.float32)
    segmenter = Segmenter(untrained(third=3), device="cpu", engine="torch")
    values = segmenter.segment(Frame(points)).outputs["third"]
    assert values.dtype == np.uint8
    assert (values[1], values[[0, 2]].max() < 3) == (255, True)
    assert segmenter.segment(Frame(points[1:2], stamp=1)).outputs["third"].tolist() == [255]


def test_other_heads_leave_the_labels_as_they_are(frames):
    plain, more = untrained(), untrained(ahead=1, third=3)
    transfer(plain.network, more.network)
    results = [
        Segmenter(m, device="cpu", engine="torch").segment(frames[0]) for m in (plain, more)
    ]
    np.testing.assert_array_equal(results[0].labels, results[1].labels)
    np.testing.assert_array_equal(results[0].confidence, results[1].confidence)
    assert results[0].outputs == {}
    assert list(results[1].outputs) == ["ahead", "third"]


def test_a_transfer_takes_the_heads_that_both_networks_have():
    source, target = untrained(ahead=1, third=3).network, untrained(ahead=1, drifting=1).network
    for parameter in source.parameters():
        torch.nn.init.constant_(parameter, 0.5)
    before = target.state_dict()["heads.drifting.kernel"].clone()
    transfer(source, target, fresh_classes=True)
    state = target.state_dict()
    assert torch.equal(state["heads.drifting.kernel"], before)
    assert (state["heads.ahead.kernel"] == 0.5).all()
    assert (state["conv0p1s1.kernel"] == 0.5).all()
    assert not (state["final.kernel"] == 0.5).all()


@pytest.mark.parametrize("name", ["MinkUNet14A", "SPVCNN-W16", "MinkUNet34v2-W32"])
def test_every_family_has_other_heads_and_inflates_them(name):
    network = build_network(name, in_channels=2, heads={"classes": 5, "third": 3}, width=0.25)
    assert network.state_dict()["heads.third.kernel"].shape[1] == 3
    assert torch.equal(inflate(network).heads["third"].kernel, network.heads["third"].kernel)


def test_a_model_with_an_unknown_head_is_refused(tmp_path):
    network = build_network("MinkUNet14A", in_channels=1, heads={"classes": 19}, width=0.125)
    card = {"name": "x", "label_set": "semantickitti19", "window": 1}
    card["input"] = {"voxel_size": 0.5, "features": ["one"]}
    card["network"] = {"name": "MinkUNet14A", "in_channels": 1, "width": 0.125}
    card["network"]["heads"] = {"classes": 19, "ahed": 1}
    with pytest.raises(ModelError, match="unknown head 'ahed'; did you mean 'ahead'"):
        save_model(tmp_path / "x", network, card)


@pytest.mark.parametrize("name", ["rgb", "x", "two words", "a.b", ""])
def test_names_that_cannot_be_fields_or_weights_are_refused(name):
    with pytest.raises(ValueError, match="must be an identifier and none of x, y, z, label"):
        head(name, truth=lambda frame: None)


def test_a_name_registers_once():
    with pytest.raises(ValueError, match="head 'ahead' is registered already"):
        head("ahead", truth=lambda frame: None)(ahead)
