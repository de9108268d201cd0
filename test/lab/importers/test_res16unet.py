# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from comparison import TRAINED, largest_difference, some_voxels
from plain_crf import sts_filter
from plain_res16unet import checkpoint, file_of, forward

from minkowski_perception.lab.importers import (
    CheckpointError,
    Orders,
    convert,
    read_checkpoint,
)
from minkowski_perception.networks.model import load_model, save_model
from minkowski_perception.sparse import SparseTensor


def saved(folder, content, **options):
    torch.save(content, folder / "weights.pth", **options)
    return read_checkpoint(folder / "weights.pth")


@pytest.mark.parametrize(
    ("variant", "kind", "block_order", "options"),
    [
        ("Res16UNet14", "sts", "hybrid", {}),
        ("Res16UNet34C", "sts", "hybrid", {"stem_kernel": 5}),
        ("Res16UNet18", "sts", "hybrid", {"classes": 13, "in_channels": 6}),
        ("Res16UNet14B2", "sts", "hybrid", {}),
        ("STRes16UNet14A", "sts", "hybrid", {"classes": 12}),
        ("STResTesseract16UNet18A", "sts", "cube", {"classes": 12}),
        ("MinkUNet14", "bare", "cube", {"stem_kernel": 5}),
        ("MinkUNet50", "bare", "cube", {"stem_kernel": 5}),
    ],
)
def test_a_converted_network_reproduces_the_original_logits(
    tmp_path, variant, kind, block_order, options
):
    state = checkpoint(variant, width=0.25, **options)
    conversion = convert(saved(tmp_path, file_of(state, kind)), "small")
    name = variant.replace("STResTesseract", "Res").replace("STRes", "Res")
    assert conversion.card["network"]["name"] == name
    network = conversion.network
    coordinates, features = some_voxels(network.dimension, network.in_channels)
    expected = forward(state, coordinates, features, block_order=block_order)
    assert largest_difference(network, coordinates, features, expected) < 1e-4


@pytest.mark.parametrize("block", ["hybrid", "cube"])
@pytest.mark.parametrize("even", ["first-axis", "last-axis"])
def test_a_requested_order_is_used(tmp_path, block, even):
    state = checkpoint("Res16UNet14A", width=0.25)
    conversion = convert(
        saved(tmp_path, file_of(state, "sts")), "small", orders=Orders(block, even)
    )
    coordinates, features = some_voxels(3, 3)
    expected = forward(state, coordinates, features, block_order=block, even_order=even)
    assert largest_difference(conversion.network, coordinates, features, expected) < 1e-4
    assert conversion.card["source"]["block order"].startswith(f"{block}, as requested")
    assert conversion.card["source"]["even order"].startswith(f"{even}, as requested")


def test_a_wrong_order_changes_the_logits(tmp_path):
    state = checkpoint("Res16UNet14A", width=0.25)
    network = convert(saved(tmp_path, file_of(state, "sts")), "small").network
    coordinates, features = some_voxels(3, 3)
    for wrong in ({"block_order": "cube"}, {"even_order": "last-axis"}):
        expected = forward(state, coordinates, features, **wrong)
        assert largest_difference(network, coordinates, features, expected) > 0.1


def test_code_and_date_decide_if_the_weights_are_inconclusive(tmp_path):
    state = file_of(checkpoint("Res16UNet34C", width=0.25), "sts")
    new = convert(saved(tmp_path, state), "new").card["source"]
    assert new["block order"].startswith("hybrid: SpatioTemporalSegmentation")
    assert new["even order"].startswith("first-axis: saved by PyTorch 1.6")

    legacy = {"_use_new_zipfile_serialization": False}
    published = convert(saved(tmp_path, state, **legacy), "old").card["source"]
    assert published["even order"].startswith("last-axis: SpatioTemporalSegmentation published")
    other = file_of(checkpoint("Res16UNet34C", width=0.25, stem_kernel=5), "sts")
    later = convert(saved(tmp_path, other, **legacy), "old").card["source"]
    assert later["even order"].startswith("first-axis: MinkowskiEngine uses this order since")

    bare = convert(saved(tmp_path, checkpoint("MinkUNet14A", width=0.25)), "example").card[
        "source"
    ]
    assert bare["block order"].startswith("cube: MinkowskiEngine's examples")
    assert bare["even order"].startswith("first-axis: MinkowskiEngine's examples")


def test_trained_weights_take_precedence_over_code_and_date(tmp_path):
    state = load_model(TRAINED).network.state_dict()
    spatial = {
        key: value[:27] if key.startswith("block") and value.dim() == 3 else value
        for key, value in state.items()
    }
    spatial["conv0p1s1.kernel"] = spatial["conv0p1s1.kernel"][:, :3]
    conversion = convert(
        saved(tmp_path, spatial), "bare", label_set="semantickitti19", voxel_size=1
    )
    assert conversion.card["source"]["block order"].startswith("hybrid, measured from the weights")
    assert conversion.card["source"]["even order"].startswith(
        "first-axis, measured from the weights"
    )


def test_the_card_holds_the_preprocessing_of_rooms(tmp_path):
    sts = convert(saved(tmp_path, file_of(checkpoint("Res16UNet14A", width=0.25), "sts")), "x")
    assert sts.card["label_set"]["name"] == "scannet20"
    assert sts.card["input"] == {
        "voxel_size": 0.02,
        "features": ["red", "green", "blue"],
        "offset": [-0.5, -0.5, -0.5],
    }
    example = convert(saved(tmp_path, checkpoint("MinkUNet14A", width=0.25)), "x")
    assert example.card["input"]["reduce"] == "mean"
    options = {"classes": 12, "width": 0.25}
    synthia = convert(saved(tmp_path, checkpoint("STRes16UNet14A", **options)), "x")
    assert (synthia.card["label_set"]["name"], synthia.card["window"]) == ("synthia12", 3)


@pytest.mark.parametrize("kind", ["depthcontrast", "depthcontrast-voxels"])
def test_a_backbone_without_a_classifier_is_refused(tmp_path, kind):
    state = checkpoint("Res16UNet34", width=0.25, head=False)
    with pytest.raises(CheckpointError, match=r"at trunk\.\d\.\* without a classifier"):
        convert(saved(tmp_path, file_of(state, kind)), "x")


def test_outputs_are_not_taken_as_classes_without_a_label_set(tmp_path):
    state = file_of(checkpoint("Res16UNet14A", width=0.25, classes=32), "pointcontrast")
    with pytest.raises(CheckpointError, match="32 outputs; if they are classes, name their label"):
        convert(saved(tmp_path, state), "x")
    classes = "\n".join(f"  c{i}: [{i}, 0, 0]" for i in range(32))
    (tmp_path / "c32.yaml").write_text(f"name: c32\nclasses:\n{classes}\n")
    conversion = convert(
        saved(tmp_path, state), "x", label_set=str(tmp_path / "c32.yaml"), voxel_size=0.025
    )
    assert conversion.card["input"]["voxel_size"] == 0.025


@pytest.mark.parametrize("variant", ["Res16UNet14A", "STRes16UNet14A"])
def test_a_network_with_a_crf_reproduces_the_original_scores(tmp_path, variant):
    state = checkpoint(variant, width=0.25, classes=12)
    content = file_of(state, "sts-crf")
    conversion = convert(saved(tmp_path, content), "x", label_set="synthia12", voxel_size=0.15)
    save_model(tmp_path / "x", conversion.network, conversion.card, crf=conversion.crf, half=False)
    model = load_model(tmp_path / "x.yaml")
    assert model.card["source"]["crf"].startswith("cells of 1 voxel and 12 of 255")

    voxels, _ = some_voxels(model.network.dimension, 3, extent=6)
    # Red values in two cells, at their borders and inside, so that many neighbours share a cell.
    random = torch.Generator().manual_seed(0)
    colours = torch.tensor([0, 11, 12, 23])[torch.randint(4, (len(voxels), 3), generator=random)]
    colours[:, 1:] = 255
    features = colours / 255 - 0.5
    with torch.no_grad():
        batch = torch.nn.functional.pad(voxels, (1, 0))
        logits = model.network.class_logits(SparseTensor(features, batch)).at(batch)
        scores = model.crf(
            logits,
            torch.nn.functional.pad(batch, (0, 5 - batch.shape[1])),
            model.chroma(features),
        )
    kernel = content["state_dict"]["filter.kernel"].double().numpy()
    original = forward(state, voxels, features).numpy()
    scene = (original, [tuple(voxel) for voxel in voxels.tolist()], colours.tolist())
    expected, wrong = (torch.from_numpy(sts_filter(*scene, k)) for k in (kernel, kernel[::-1]))
    assert (scores - expected).abs().max() / expected.std() < 1e-4
    assert (wrong - expected).abs().max() / expected.std() > 0.1


@pytest.mark.parametrize(
    ("variant", "change", "message"),
    [
        (
            "Res16UNet14A",
            {"filter.kernel": torch.zeros(13, 20, 20)},
            r"differs from its alias filter\.kernel",
        ),
        ("Res16UNet14A", torch.zeros(729, 20, 20), r"shape \[729, 20, 20\]; known are \[13, K, K"),
        ("Res16UNet14A", torch.zeros(13, 19, 19), r"\[13, 19, 19\]; .* with K = 20 classes"),
        ("Res16UNet14A", torch.full((13, 20, 20), torch.nan), "is not finite, or differs"),
        ("STRes16UNet14A", torch.zeros(13, 20, 20), "would connect the frames of a 4D network"),
    ],
)
def test_an_unsupported_crf_is_refused(tmp_path, variant, change, message):
    content = file_of(checkpoint(variant, width=0.25), "sts-crf")
    if isinstance(change, torch.Tensor):
        change = {"filter.kernel": change, "filter.conv.kernel": change}
    content["state_dict"] |= change
    with pytest.raises(CheckpointError, match=message):
        convert(saved(tmp_path, content), "x")


def broken(change):
    state = checkpoint("Res16UNet14A", width=0.25)
    change(state)
    return file_of(state, "sts")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("bn3.bn.bias"), r"nearest is Res16UNet14A .*: missing bn3\.bn\.bias$"),
        (lambda s: s.update(extra=torch.ones(1)), "unknown extra$"),
        (
            lambda s: s.update({"bn0.bn.bias": torch.ones(3)}),
            r"misshapen bn0\.bn\.bias \[3\] instead of \[8\]$",
        ),
        (lambda s: s["bn0.bn.bias"].fill_(torch.nan), r"not finite bn0\.bn\.bias$"),
        (lambda s: s.update({"conv0p1s1.kernel": torch.ones(8)}), r"shape \[8\], not 3 axes"),
        (lambda s: s.update({"conv0p1s1.kernel": torch.ones(625, 3, 8)}), "has 625 slices"),
        (
            lambda s: s.update({"block1.0.conv1.kernel": torch.ones(7, 8, 8)}),
            r"have \[7, 27\] slices",
        ),
    ],
)
def test_mismatched_parameters_are_listed(tmp_path, change, message):
    with pytest.raises(CheckpointError, match=message):
        convert(saved(tmp_path, broken(change)), "x")
