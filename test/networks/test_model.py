# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import os
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from minkowski_perception import files
from minkowski_perception.labels import LabelSet
from minkowski_perception.networks import build_network
from minkowski_perception.networks.crf import TrilateralCRF
from minkowski_perception.networks.model import (
    ModelError,
    available_models,
    load_model,
    save_model,
)

NETWORK = {
    "name": "MinkUNet14A",
    "in_channels": 2,
    "heads": {"classes": 19},
    "dimension": 4,
    "width": 0.25,
}
INPUT = {"voxel_size": 0.3, "features": ["one", "z"]}
CARD = {
    "name": "small",
    "network": NETWORK,
    "label_set": "semantickitti19",
    "input": INPUT,
    "window": 2,
}


@pytest.fixture
def saved(tmp_path):
    network = build_network(**NETWORK)
    save_model(tmp_path / "small", network, CARD)
    return tmp_path / "small.yaml", network


def change_card(path, **changes):
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **changes}))


def test_a_saved_model_comes_back_to_half_precision(saved):
    path, network = saved
    model = load_model(path)
    assert (model.name, model.window, model.input.features) == ("small", 2, ("one", "z"))
    assert not model.network.training
    for key, value in network.state_dict().items():
        expected = value.half().float() if value.is_floating_point() else value
        assert torch.equal(model.network.state_dict()[key], expected), key


@pytest.mark.parametrize("name", available_models())
def test_every_model_of_the_package_loads_and_has_a_full_card(name):
    model = load_model(name)
    for key in ("description", "sensors", "license", "training", "figures", "sha256"):
        assert model.card[key], key
    assert model.card["figures"]["miou"]


def test_an_unknown_model_is_refused_with_the_valid_ones():
    with pytest.raises(ModelError, match=r"unknown model 'none'; choose one of indoor_depth"):
        load_model("none")


def test_a_missing_file_is_named(tmp_path, saved):
    with pytest.raises(ModelError, match=r"card .*absent\.yaml: cannot be read"):
        load_model(tmp_path / "absent.yaml")
    saved[0].with_suffix(".safetensors").unlink()
    with pytest.raises(ModelError, match=r"cannot read weights .*small\.safetensors"):
        load_model(saved[0])


def test_truncated_weights_are_refused(saved):
    weights = saved[0].with_suffix(".safetensors")
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ModelError, match="damaged"):
        load_model(saved[0])


def test_weights_with_another_digest_than_the_card_s_are_refused(saved):
    weights = saved[0].with_suffix(".safetensors")
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    with pytest.raises(ModelError, match="not those of the card: their sha256"):
        load_model(saved[0])


def test_missing_unknown_misshapen_and_infinite_weights_are_all_listed(saved):
    path, _ = saved
    weights = path.with_suffix(".safetensors")
    state = load_file(weights)
    del state["conv0p1s1.kernel"]
    state["extra"] = torch.zeros(1)
    state["final.bias"] = torch.zeros(1, 3)
    state["bn0.bn.weight"][0] = float("inf")
    save_file(state, weights)
    change_card(path, sha256=None)
    with pytest.raises(ModelError) as caught:
        load_model(path)
    for part in (
        "missing conv0p1s1.kernel",
        "unknown extra",
        "final.bias has shape [1, 3], not [1, 19]",
        "bn0.bn.weight is not finite",
    ):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"label_set": "urban10"}, "network.heads.classes: must be 10 to fit input and labels"),
        ({"label_set": "moon"}, "label_set: no label set 'moon' in the package, which has ind"),
        ({"label_set": "sets/mine.yaml"}, "contains any other set itself .*, not its path"),
        ({"label_set": {"name": "a"}}, "label_set.classes: missing"),
        (
            {"label_set": {"name": "a", "classes": {"b": [0, 0, 999]}}},
            r"label_set.classes.b\[2\]: ",
        ),
        ({"labels": "urban10"}, "labels: is the former name of 'label_set'; give one"),
        ({"windwo": 2}, "windwo: unknown key; did you mean 'window'"),
        ({"licnse": "Apache-2.0"}, "licnse: unknown key; did you mean 'license'"),
        ({"name": "../x"}, "name: must be a plain file name"),
        ({"label_set": "../x"}, "label_set: no label set '../x' in the package"),
        ({"sha256": "../x"}, "sha256: must be 64 hexadecimal digits"),
        ({"network": "MinkUNet14A"}, "network: must be a mapping"),
        ({"network": {"in_channels": 2}}, "network.name: missing"),
        ({"network": {**NETWORK, "in_channels": 10**9}}, "network.in_channels: must be 2"),
        ({"input": {**INPUT, "scal": [1, 2]}}, "input.scal: unknown key; did you mean 'scale'"),
        ({"input": {**INPUT, "roundng": "round"}}, "input.roundng: unknown key"),
        ({"input": {**INPUT, "scale": [1, float("nan")]}}, r"input.scale\[1\]: .*, not nan"),
        ({"input": {"features": ["one", "z"]}}, "input.voxel_size: missing"),
        ({"window": -3}, "window: must be 1 to 96, not -3"),
        ({"window": 10**9}, "window: must be 1 to 96, not 1000000000"),
        ({"window": 2.0}, "window: must be an integer, not 2.0"),
        ({"crf": {"iterations": -5}}, "crf.iterations: must be 1 to 100, not -5"),
        ({"crf": {"sigma_chroma": float("nan")}}, "crf.sigma_chroma: must be a finite number"),
        ({"crf": {"sigma_time": 99}}, "crf.sigma_time: must be 1 to 32, not 99"),
        ({"figures": 0.7}, "figures: must be a mapping"),
        ({"network": {**NETWORK, "name": "Net"}}, "unknown network 'Net'; valid: MinkUNet14"),
        ({"input": {**INPUT, "features": ["smell", "z"]}}, r"input.features\[0\]: .*'smell'"),
        ({"input": {**INPUT, "voxel_size": 0.0}}, "input.voxel_size: must be 0.005 to 5, not 0.0"),
        ({"window": "many"}, "window: must be an integer, not 'many'"),
    ],
)
def test_an_unknown_missing_or_impossible_value_of_a_card_is_refused(saved, changes, message):
    path, _ = saved
    change_card(path, **changes)
    with pytest.raises(ModelError, match=rf"card .*small\.yaml: .*{message}"):
        load_model(path)


@pytest.mark.parametrize("key", ["network", "label_set", "input", "window"])
def test_a_card_without_a_required_key_is_refused_and_not_written(tmp_path, saved, key):
    path, network = saved
    card = yaml.safe_load(path.read_text())
    del card[key]
    path.write_text(yaml.safe_dump(card))
    with pytest.raises(
        ModelError, match=rf"card .*small\.yaml: {key}: missing; valid keys: name, "
    ):
        load_model(path)
    with pytest.raises(ModelError, match=rf"card .*other\.yaml: {key}: missing"):
        save_model(tmp_path / "other", network, card)
    assert not list(tmp_path.glob("*other*"))


def test_a_card_with_yaml_aliases_is_refused(saved):
    path, _ = saved
    path.write_text(path.read_text() + "figures: {a: &a [1], b: *a}\n")
    with pytest.raises(ModelError, match=r"card .*small\.yaml: .*alias \*a is not allowed"):
        load_model(path)


def test_a_model_with_its_own_label_set_can_be_moved(tmp_path):
    own = {
        "name": "mine",
        "classes": {f"class-{i}": [i, 0, 0] for i in range(19)},
        "movable": ["class-3"],
        "from": {"semantickitti19": {"car": "class-3"}},
    }
    save_model(tmp_path / "x", build_network(**NETWORK), {**CARD, "label_set": own})
    (tmp_path / "elsewhere").mkdir()
    for suffix in (".yaml", ".safetensors"):
        (tmp_path / f"x{suffix}").rename(tmp_path / "elsewhere" / f"y{suffix}")
    labels = load_model(tmp_path / "elsewhere" / "y.yaml").label_set
    assert (labels.name, labels.names[3], labels.movable) == ("mine", "class-3", ("class-3",))
    assert labels.mapping_from("semantickitti19")[0] == 3


def test_a_saved_card_contains_its_label_set(saved):
    card = yaml.safe_load(saved[0].read_text())
    assert LabelSet.from_dict(card["label_set"]) == LabelSet.load("semantickitti19")


@pytest.mark.parametrize("name", available_models())
def test_cards_of_the_package_contain_the_label_set_of_that_name(name):
    labels = load_model(name).label_set
    packaged = LabelSet.load(labels.name)
    assert labels == packaged
    for source in packaged.sources:
        np.testing.assert_array_equal(
            labels.mapping_from(source), packaged.mapping_from(source), source
        )


class CrashError(Exception):
    pass


@pytest.mark.parametrize("step", range(1, 9))
def test_a_crash_while_saving_leaves_the_old_or_the_new_model(saved, monkeypatch, step):
    """Saving fsyncs files and folders, and renames: it is stopped before each of these."""
    path, old = saved
    new, third = build_network(**NETWORK), build_network(**NETWORK)
    steps = 0

    def stopping(function):
        def call(*args, **kwargs):
            nonlocal steps
            steps += 1
            if steps == step:
                raise CrashError
            return function(*args, **kwargs)

        return call

    with monkeypatch.context() as patch:
        patch.setattr(files.os, "fsync", stopping(os.fsync))
        patch.setattr(Path, "replace", stopping(Path.replace))
        with pytest.raises(CrashError):
            save_model(path.with_suffix(""), new, {**CARD, "description": "new"})
    model = load_model(path)
    is_new = model.card.get("description") == "new"
    assert is_new == (step > 5)
    expected = (new if is_new else old).state_dict()["final.bias"].half().float()
    assert torch.equal(model.network.state_dict()["final.bias"], expected)

    save_model(path.with_suffix(""), third, CARD)
    expected = third.state_dict()["final.bias"].half().float()
    assert torch.equal(load_model(path).network.state_dict()["final.bias"], expected)
    left = {file.name for file in path.parent.iterdir()}
    assert left == {"small.yaml", "small.safetensors"}


def test_a_name_with_dots_keeps_them(tmp_path):
    network = build_network(**NETWORK)
    save_model(tmp_path / "small.v1", network, CARD)
    save_model(tmp_path / "small.v2", network, CARD)
    assert load_model(tmp_path / "small.v1.yaml").name == "small.v1"
    assert len(list(tmp_path.iterdir())) == 4


def test_a_card_that_is_no_mapping_is_refused(saved):
    saved[0].write_text("- a\n- b\n")
    with pytest.raises(
        ModelError, match=r"card .*: must be a mapping with the keys name, network,"
    ):
        load_model(saved[0])
    saved[0].write_text("a: [")
    with pytest.raises(ModelError, match="is not plain YAML"):
        load_model(saved[0])


def test_a_model_can_be_saved_in_full_precision(tmp_path):
    network = build_network(**NETWORK)
    save_model(tmp_path / "full", network, CARD, half=False)
    loaded = load_model(tmp_path / "full.yaml").network.state_dict()
    for key, value in network.state_dict().items():
        assert torch.equal(loaded[key], value), key


def test_voxels_shifted_by_their_minimum_cannot_be_joined_in_a_window(saved):
    path, _ = saved
    change_card(path, input={**INPUT, "shift": "minimum"})
    with pytest.raises(ModelError, match="cannot be joined in time: the window must be 1, not 2"):
        load_model(path)


@pytest.mark.parametrize(("license", "ours"), [("Apache-2.0", True), ("theirs", False)])
def test_only_cards_under_our_license_have_its_header(tmp_path, license, ours):
    save_model(tmp_path / "x", build_network(**NETWORK), {**CARD, "license": license})
    text = (tmp_path / "x.yaml").read_text()
    assert text.startswith("# Copyright 2026 The minkowski_perception authors\n") == ours


@pytest.fixture
def saved_with_crf(tmp_path):
    network = build_network(**NETWORK)
    crf = TrilateralCRF(19, sigma_space=2, iterations=5, causal=True)
    torch.nn.init.normal_(crf.kernel)
    save_model(tmp_path / "refined", network, CARD, crf=crf)
    return tmp_path / "refined.yaml", network, crf


def test_a_model_comes_back_with_its_crf(saved_with_crf):
    path, network, crf = saved_with_crf
    model = load_model(path)
    assert model.card["crf"] == model.crf.settings == crf.settings
    assert not model.crf.training
    assert torch.equal(model.crf.kernel, crf.kernel.half().float())
    assert torch.equal(
        model.network.state_dict()["final.kernel"], network.final.kernel.half().float()
    )


def test_a_model_without_a_crf_has_none(saved):
    model = load_model(saved[0])
    assert model.crf is None
    assert model.chroma(torch.zeros(3, 2)) is None


def test_the_weights_of_a_crf_are_checked_like_those_of_the_network(saved_with_crf, tmp_path):
    path, _, _ = saved_with_crf
    card = yaml.safe_load(path.read_text())
    change_card(path, crf=None)
    with pytest.raises(ModelError, match=r"unknown crf\.kernel$"):
        load_model(path)
    change_card(path, crf={**card["crf"], "causal": False})
    with pytest.raises(
        ModelError, match=r"crf\.kernel has shape \[8, 19, 19\], not \[9, 19, 19\]"
    ):
        load_model(path)
    weights = path.with_suffix(".safetensors")
    state = load_file(weights)
    state["crf.kernel"][0, 0, 0] = float("nan")
    save_file(state, weights)
    change_card(path, crf=card["crf"], sha256=None)
    with pytest.raises(ModelError, match=r"crf\.kernel is not finite$"):
        load_model(path)
    del state["crf.kernel"]
    save_file(state, weights)
    with pytest.raises(ModelError, match=r"missing crf\.kernel$"):
        load_model(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sigma_space": 5}, r"crf.sigma_space: must be one of .*, not 5"),
        ({"sigma": 5}, "crf.sigma: unknown key; did you mean 'sigma_"),
    ],
)
def test_impossible_settings_of_a_crf_are_refused(saved_with_crf, changes, message):
    path, _, crf = saved_with_crf
    change_card(path, crf={**crf.settings, **changes})
    with pytest.raises(ModelError, match=message):
        load_model(path)


def test_a_crf_needs_its_chroma_among_the_features(tmp_path):
    crf = TrilateralCRF(19, chroma="intensity")
    save_model(tmp_path / "x", build_network(**NETWORK), CARD, crf=crf)
    with pytest.raises(ModelError, match=r"'x': its CRF needs intensity .*, which are one, z$"):
        load_model(tmp_path / "x.yaml")


def test_chroma_is_read_from_the_features_of_the_network(tmp_path):
    features = ["red", "one", "blue", "green"]
    given = {
        "voxel_size": 0.3,
        "features": features,
        "scale": [2.0, 1.0, 1.0, 0.5],
        "offset": [-0.5, 0.0, 0.0, 0.25],
    }
    arguments = {**NETWORK, "in_channels": 4}
    card = {**CARD, "network": arguments, "input": given}
    crf = TrilateralCRF(19, chroma="colour")
    save_model(tmp_path / "x", build_network(**arguments), card, crf=crf)
    model = load_model(tmp_path / "x.yaml")
    seen = torch.tensor([[2 * 0.1 - 0.5, 1.0, 0.9, 0.5 * 0.4 + 0.25]])
    torch.testing.assert_close(model.chroma(seen), torch.tensor([[0.1, 0.4, 0.9]]))


def test_a_card_of_the_first_version_is_read_and_saved_with_the_present_keys(tmp_path, caplog):
    former = {"name": "MinkUNet14A", "in_channels": 2, "num_classes": 19, "dims": 3, "width": 0.25}
    network = build_network(**former)
    card = {"network": former, "labels": "semantickitti19", "licence": "MIT", "window": 1}
    save_model(tmp_path / "former", network, {**card, "input": INPUT})
    model = load_model(tmp_path / "former.yaml")
    assert (model.network.dimension, len(model.label_set)) == (3, 19)
    assert (model.card["name"], model.card["license"]) == ("former", "MIT")
    assert any("'num_classes' is the former name of 'heads'" in m for m in caplog.messages)
    written = yaml.safe_load((tmp_path / "former.yaml").read_text())
    assert not {"labels", "licence"} & written.keys()


def test_a_card_file_without_a_name_is_refused(saved):
    path, _ = saved
    card = yaml.safe_load(path.read_text())
    del card["name"]
    path.write_text(yaml.safe_dump(card))
    with pytest.raises(ModelError, match=r"name: missing; valid keys: name, "):
        load_model(path)
