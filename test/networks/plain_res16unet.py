# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Reference implementation of Res16UNet and MinkUNet: random checkpoints and their logits.

Res16UNet is the network of SpatioTemporalSegmentation, PointContrast and DepthContrast; MinkUNet
is that of MinkowskiEngine's examples. This module does not use minkowski_perception. Variants have
the class names of the sources: Res16UNet*, STRes16UNet* (4D, hybrid blocks),
STResTesseract16UNet18A (4D, cube blocks) and MinkUNet* (the examples). Res16UNet50 and 101 are
excluded, because the sources' classes cannot run: `final` expects fewer channels than their last
block has.
"""

import itertools
import types

import numpy as np
import torch
from plain_sparse import Levels, batch_norm, offsets, random_kernel, random_norm

LAYERS = {
    "14": (1,) * 8,
    "18": (2,) * 8,
    "34": (2, 3, 4, 6, 2, 2, 2, 2),
    "50": (2, 3, 4, 6, 2, 2, 2, 2),
    "101": (2, 3, 4, 23, 2, 2, 2, 2),
    "14A2": (1, 1, 1, 1, 2, 2, 2, 2),
    "14B2": (1, 1, 1, 1, 2, 2, 2, 2),
    "14B3": (2, 2, 2, 2, 1, 1, 1, 1),
}
DECODER_PLANES = {
    "14A": (128, 128, 96, 96),
    "14B": (128, 128, 128, 128),
    "14C": (192, 192, 128, 128),
    "14D": (384, 384, 384, 384),
    "18A": (128, 128, 96, 96),
    "18B": (128, 128, 128, 128),
    "18D": (384, 384, 384, 384),
    "34A": (256, 128, 64, 64),
    "34B": (256, 128, 64, 32),
    "34C": (256, 128, 96, 96),
}
PREFIXES = ("STResTesseract16UNet", "STRes16UNet", "Res16UNet", "MinkUNet")
DOWN = ("conv1p1s2", "conv2p2s2", "conv3p4s2", "conv4p8s2")
UP = ("convtr4p16s2", "convtr5p8s2", "convtr6p4s2", "convtr7p2s2")


def checkpoint(variant, *, stem_kernel=3, classes=20, in_channels=3, width=1.0, seed=0, head=True):
    """Return a state dict {key: float32 tensor} of a class of the sources, with random weights.

    Args:
        variant: such as "Res16UNet34C", "STRes16UNet14A" or "MinkUNet50".
        stem_kernel: size of the first kernel (per spatial axis in 4D, where time has size 1).
        width: factor on every width of the network, for quick tests.
        head: whether to include `final`; DepthContrast's trunk does not.
    """
    prefix = next(p for p in PREFIXES if variant.startswith(p))
    name = variant.removeprefix(prefix)
    base = (256, 128, 96, 96) if prefix == "MinkUNet" else (256,) * 4
    planes = (32, 64, 128, 256, *DECODER_PLANES.get(name[:3], base))
    planes = [int(p * width) for p in planes]
    layers = LAYERS.get(name) or LAYERS[name[:2]]
    widen = 4 if name in ("50", "101") else 1
    volume = {"STRes16UNet": 29, "STResTesseract16UNet": 81}.get(prefix, 27)
    random = torch.Generator().manual_seed(seed)
    state = {}
    channels = first = int(32 * width)

    def block(key, outer):
        nonlocal channels
        inner = outer // widen
        if widen == 1:
            convolutions = ((volume, channels, outer), (volume, outer, outer))
        else:
            convolutions = ((1, channels, inner), (volume, inner, inner), (1, inner, outer))
        for i, shape in enumerate(convolutions, 1):
            state.update(random_kernel(f"{key}.conv{i}", *shape, random))
            state.update(random_norm(f"{key}.norm{i}.bn", shape[2], random))
        if channels != outer:
            state.update(random_kernel(f"{key}.downsample.0", 1, channels, outer, random))
            state.update(random_norm(f"{key}.downsample.1.bn", outer, random))
        channels = outer

    state.update(random_kernel("conv0p1s1", stem_kernel**3, in_channels, first, random))
    state.update(random_norm("bn0.bn", first, random))
    skips = []
    for i, key in enumerate(DOWN):
        skips.append(channels)
        state.update(random_kernel(key, 8, channels, channels, random))
        state.update(random_norm(f"bn{i + 1}.bn", channels, random))
        for j in range(layers[i]):
            block(f"block{i + 1}.{j}", planes[i] * widen)
    for i, key in enumerate(UP, 4):
        state.update(random_kernel(key, 8, channels, planes[i], random))
        state.update(random_norm(f"bntr{i}.bn", planes[i], random))
        channels = planes[i] + skips.pop()
        for j in range(layers[i]):
            block(f"block{i + 1}.{j}", planes[i] * widen)
    if head:
        state.update(random_kernel("final", 1, channels, classes, random))
        state["final.bias"] = torch.randn(1, classes, generator=random) * 0.2
    return state


def forward(state, coordinates, features, block_order="hybrid", even_order="first-axis"):
    """Return logits [N, classes], float64, in the order of the coordinates.

    Args:
        state: a state dict of `checkpoint`; without `final`, the features of block8 are returned.
        coordinates: int64 [N, 3] or [N, 4] (time last), unique, possibly negative.
        features: [N, in_channels].
        block_order: "hybrid" or "cube", the slot order of block kernels with 27 slots; kernels
            with 29 slots are hybrid, those with 81 are cubes.
        even_order: "first-axis" or "last-axis", the slot order of kernels of size 2.
    """
    dimension = coordinates.shape[1]
    levels = Levels(coordinates)
    in_time = (1,) * (dimension - 3)
    cube = offsets("first-axis", (3,) * dimension)
    region = {
        27: offsets("hybrid" if block_order == "hybrid" else "first-axis", (3, 3, 3, *in_time)),
        29: offsets("hybrid", (3,) * dimension),
        81: cube,
    }
    half = offsets(even_order, (2, 2, 2, *in_time))
    size = round(len(state["conv0p1s1.kernel"]) ** (1 / 3))
    stem = offsets("first-axis", (size, size, size, *in_time))

    def convolve(level, x, name):
        kernel = state[f"{name}.kernel"].double()
        if kernel.dim() == 2:
            return x @ kernel
        return levels.convolve(level, x, kernel, region[len(kernel)])

    def block(level, x, name):
        residual = x
        if f"{name}.downsample.0.kernel" in state:
            residual = convolve(level, x, f"{name}.downsample.0")
            residual = batch_norm(residual, state, f"{name}.downsample.1.bn")
        for i in itertools.count(1):
            x = batch_norm(convolve(level, x, f"{name}.conv{i}"), state, f"{name}.norm{i}.bn")
            if f"{name}.conv{i + 1}.kernel" not in state:
                return (x + residual).relu()
            x = x.relu()

    def blocks(level, x, name):
        for j in itertools.count():
            if f"{name}.{j}.conv1.kernel" not in state:
                return x
            x = block(level, x, f"{name}.{j}")

    x = levels.convolve(0, features.double(), state["conv0p1s1.kernel"].double(), stem)
    x = batch_norm(x, state, "bn0.bn").relu()
    skips = []
    for level, name in enumerate(DOWN):
        skips.append(x)
        x = levels.down(level, x, state[f"{name}.kernel"].double(), half)
        x = batch_norm(x, state, f"bn{level + 1}.bn").relu()
        x = blocks(level + 1, x, f"block{level + 1}")
    for i, name in enumerate(UP, 4):
        level = 7 - i
        x = levels.up(level, x, state[f"{name}.kernel"].double(), half)
        x = batch_norm(x, state, f"bntr{i}.bn").relu()
        x = blocks(level, torch.cat([x, skips.pop()], 1), f"block{i + 1}")
    if "final.kernel" in state:
        x = x @ state["final.kernel"].double() + state["final.bias"].double()
    return x


def file_of(state, kind):
    """Return the checkpoint object that a source saves with torch.save.

    "bare": MinkowskiEngine's examples, the state dict itself.
    "sts": SpatioTemporalSegmentation, and PointContrast's semantic segmentation.
    "sts-crf": "sts" for a network wrapped in a CRF, bilateral in 3D, trilateral in 4D.
    "pointcontrast": PointContrast's pre-training, where `config` is an OmegaConf object.
    "depthcontrast": DepthContrast's joint pre-training of points and voxels, each with a query and
        a key encoder. The query encoder of voxels (trunk.2) is `state`; the key encoder (trunk.3)
        has other weights. `state` must not have `final`.
    "depthcontrast-voxels": DepthContrast's pre-training of voxels only (trunk.0 and trunk.1).
    """
    optimizer = {"state": {}, "param_groups": [{"lr": 0.1, "momentum": 0.9, "params": []}]}
    if kind == "bare":
        return dict(state)
    if kind == "sts-crf":
        classes = state["final.kernel"].shape[1]
        offsets = 15 if len(state["block1.0.conv1.kernel"]) > 27 else 13
        kernel = torch.rand(offsets, classes, classes, generator=torch.Generator().manual_seed(5))
        state = {f"model.{key}": value for key, value in state.items()}
        state |= {"filter.kernel": kernel, "filter.conv.kernel": kernel}
    if kind in ("sts", "sts-crf"):
        return {
            "iteration": 60000,
            "epoch": 100,
            "arch": "Res16UNet34C",
            "state_dict": state,
            "optimizer": optimizer,
            "best_val": np.float64(72.2),
            "best_val_iter": 59000,
        }
    if kind == "pointcontrast":
        return {
            "curr_iter": 40000,
            "state_dict": dict(state),
            "optimizer": optimizer,
            "scheduler": {"gamma": 0.99, "last_epoch": 0},
            "config": types.SimpleNamespace(net={"model": "Res16UNet34C", "model_n_out": 32}),
        }
    first = {"depthcontrast": 2, "depthcontrast-voxels": 0}[kind]
    trunk = {}
    if first:
        trunk = {f"module.trunk.{i}.layer.weight": torch.ones(3, 3) for i in (0, 1)}
    width = next(v for k, v in reversed(state.items()) if k.endswith("running_mean")).shape[0]
    perceptron = ((width, width), (128, width))
    head = {f"head.clf.{i}.linear.weight": torch.zeros(s) for i, s in enumerate(perceptron)}
    head |= {f"head.clf.{i}.linear.bias": torch.zeros(s[0]) for i, s in enumerate(perceptron)}
    for key, value in (state | head).items():
        trunk[f"module.trunk.{first}.{key}"] = value
        trunk[f"module.trunk.{first + 1}.{key}"] = value + 1
    return {"epoch": 300, "model": trunk, "optimizer": optimizer, "train_criterion": {}}
