# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import io

import pytest
import torch
from plain_res16unet import checkpoint, file_of, forward


def parameters(state):
    return sum(v.numel() for k, v in state.items() if "running" not in k and "tracked" not in k)


def some_cloud(dimension, channels=3):
    random = torch.Generator().manual_seed(4)
    voxels = torch.randint(-9, 9, (120, dimension), generator=random)
    voxels[:, 3:] %= 3
    voxels = torch.unique(voxels, dim=0)
    voxels = voxels[torch.randperm(len(voxels), generator=random)]
    return voxels, torch.randn(len(voxels), channels, generator=random)


@pytest.mark.parametrize(
    ("variant", "classes", "stem_kernel", "millions"),
    [
        ("Res16UNet14A", 20, 5, 8.02),
        ("Res16UNet14B", 20, 5, 8.96),
        ("Res16UNet14C", 20, 5, 11.92),
        ("Res16UNet18A", 20, 5, 15.49),
        ("Res16UNet34C", 20, 5, 37.86),
        ("MinkUNet34C", 20, 5, 37.86),
        ("STRes16UNet14A", 12, 3, 8.54),
        ("STRes16UNet18A", 12, 3, 16.56),
        ("STResTesseract16UNet18A", 12, 3, 44.7),
    ],
)
def test_every_variant_has_its_number_of_parameters(variant, classes, stem_kernel, millions):
    state = checkpoint(variant, classes=classes, stem_kernel=stem_kernel)
    assert parameters(state) / 1e6 == pytest.approx(millions, abs=0.005 if millions < 40 else 0.05)


@pytest.mark.parametrize(
    "variant", ["Res16UNet14A", "MinkUNet50", "STRes16UNet14A", "STResTesseract16UNet18A"]
)
def test_logits_do_not_depend_on_voxel_order_and_on_shifts_by_the_coarsest_stride(variant):
    state = checkpoint(variant, width=0.25)
    voxels, features = some_cloud(dimension=4 if variant.startswith("ST") else 3)
    logits = forward(state, voxels, features)
    assert logits.shape == (len(voxels), 20)
    moved = voxels.flip(0)
    moved[:, :3] += torch.tensor([-16, 32, 16])
    torch.testing.assert_close(forward(state, moved, features.flip(0)), logits.flip(0))


@pytest.mark.parametrize("orders", [("cube", "first-axis"), ("hybrid", "last-axis")])
def test_a_wrong_kernel_order_changes_the_logits(orders):
    state = checkpoint("Res16UNet14A", width=0.25)
    voxels, features = some_cloud(dimension=3)
    right = forward(state, voxels, features)
    assert (forward(state, voxels, features, *orders) - right).std() > 0.1 * right.std()


def test_temporal_kernel_slots_connect_the_frames_of_a_4d_network():
    state = checkpoint("STRes16UNet14A", width=0.25)
    voxels, features = some_cloud(dimension=4)
    first = voxels[:, 3] == 0
    together = forward(state, voxels, features)[first]
    alone = forward(state, voxels[first], features[first])
    assert (together - alone).std() > 0.01
    for key in [k for k, v in state.items() if v.dim() == 3 and len(v) == 29]:
        state[key][27:] = 0
    torch.testing.assert_close(
        forward(state, voxels, features)[first],
        forward(state, voxels[first], features[first]),
    )


@pytest.mark.parametrize("kind", ["bare", "sts", "sts-crf", "depthcontrast-voxels"])
def test_a_checkpoint_file_has_every_tensor_of_the_network(kind):
    state = checkpoint("Res16UNet14A", width=0.25, head="contrast" not in kind)
    file = io.BytesIO()
    torch.save(file_of(state, kind), file)
    file.seek(0)
    loaded = torch.load(file, weights_only=False)
    prefix = {"sts-crf": "model.", "depthcontrast-voxels": "module.trunk.0."}.get(kind, "")
    tensors = loaded.get("state_dict", loaded.get("model", loaded))
    assert all(torch.equal(tensors[prefix + key], value) for key, value in state.items())
