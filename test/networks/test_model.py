# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

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
    "num_classes": 19,
    "dimension": 4,
    "width": 0.25,
}
CARD = {
    "name": "small",
    "network": NETWORK,
    "labels": "semantickitti19",
    "input": {"voxel_size": 0.3, "features": ["one", "z"]},
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
def test_every_model_of_the_package_loads_and_says_what_it_is(name):
    model = load_model(name)
    for key in ("description", "sensors", "license", "training", "figures", "sha256"):
        assert model.card[key], key
    assert model.card["figures"]["miou"]


def test_an_unknown_model_is_refused_with_the_valid_ones():
    with pytest.raises(ModelError, match=r"unknown model 'none'; choose one of indoor_depth"):
        load_model("none")


def test_a_missing_file_is_named(tmp_path, saved):
    with pytest.raises(ModelError, match=r"cannot read card .*absent\.yaml"):
        load_model(tmp_path / "absent.yaml")
    saved[0].with_suffix(".safetensors").unlink()
    with pytest.raises(ModelError, match=r"cannot read weights .*small\.safetensors"):
        load_model(saved[0])


def test_truncated_weights_are_refused(saved):
    weights = saved[0].with_suffix(".safetensors")
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ModelError, match="damaged"):
        load_model(saved[0])


def test_weights_that_are_not_those_of_the_card_are_refused(saved):
    weights = saved[0].with_suffix(".safetensors")
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    with pytest.raises(ModelError, match="not those of the card: sha256"):
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
        ({"labels": "urban10"}, "10 labels and 2 features do not fit a network of 19 classes"),
        ({"labels": "moon"}, "unknown label set 'moon'"),
        ({"network": {**NETWORK, "name": "Net"}}, "unknown network 'Net'"),
        ({"input": {"voxel_size": 0.3, "features": ["smell", "z"]}}, "'smell'.* are unknown"),
        ({"input": {"voxel_size": 0.0, "features": ["one", "z"]}}, "0.005 to 5 m, not 0.0"),
        ({"window": "many"}, "many"),
    ],
)
def test_a_card_that_asks_for_the_impossible_is_refused_by_value(saved, changes, message):
    change_card(saved[0], **changes)
    with pytest.raises(ModelError, match=message):
        load_model(saved[0])


def test_a_card_that_is_no_mapping_is_refused(saved):
    saved[0].write_text("- a\n- b\n")
    with pytest.raises(ModelError, match="holds no mapping"):
        load_model(saved[0])
    saved[0].write_text("a: [")
    with pytest.raises(ModelError, match="is not YAML"):
        load_model(saved[0])


def test_a_model_can_be_saved_in_full_precision(tmp_path):
    network = build_network(**NETWORK)
    save_model(tmp_path / "full", network, CARD, half=False)
    loaded = load_model(tmp_path / "full.yaml").network.state_dict()
    for key, value in network.state_dict().items():
        assert torch.equal(loaded[key], value), key


def test_voxels_of_each_frame_s_own_corner_cannot_be_joined_in_a_window(saved):
    path, _ = saved
    change_card(path, input={"voxel_size": 0.3, "features": ["one", "z"], "shift": "minimum"})
    with pytest.raises(ModelError, match="cannot be joined in time: the window must be 1, not 2"):
        load_model(path)


@pytest.mark.parametrize(("license", "ours"), [("Apache-2.0", True), ("theirs", False)])
def test_only_cards_under_our_licence_say_so_in_their_header(tmp_path, license, ours):
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


def test_the_weights_of_a_crf_are_checked_as_those_of_the_network(saved_with_crf, tmp_path):
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
        ({"sigma_space": 5}, r"crf: sigma_space must be one of .*, not 5"),
        ({"sigma": 5}, "crf: .*unexpected keyword argument 'sigma'"),
    ],
)
def test_a_card_that_asks_for_an_impossible_crf_is_refused(saved_with_crf, changes, message):
    path, _, crf = saved_with_crf
    change_card(path, crf={**crf.settings, **changes})
    with pytest.raises(ModelError, match=message):
        load_model(path)


def test_a_crf_needs_a_chroma_that_the_network_sees(tmp_path):
    crf = TrilateralCRF(19, chroma="intensity")
    save_model(tmp_path / "x", build_network(**NETWORK), CARD, crf=crf)
    with pytest.raises(ModelError, match=r"'x': its CRF needs intensity .*, which are one, z$"):
        load_model(tmp_path / "x.yaml")


def test_chroma_is_read_from_what_the_network_sees(tmp_path):
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
