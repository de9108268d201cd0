# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Reference implementation of the LiDAR networks of SPVNAS and mmdetection3d.

It makes random checkpoints in all layouts of both sources, and computes their logits. It does not
use minkowski_perception. Layouts and their variants:
    "mmdet3d-torchsparse": MinkUNet18-W16, -W20, -W32, MinkUNet34-W32, MinkUNet34v2-W32 and
        SPVCNN-W16, -W20, -W32.
    "mmdet3d-minkowski", "mmdet3d-spconv": the MinkUNet18 and MinkUNet34 of these.
    "spvnas": MinkUNet18-* and SPVCNN-*, with a factor `cr` of 0.5 (W16), 0.64 (W20) or 1.0 (W32).
    "spvnas-specialized": SPVNAS, a sub-network described by a net.config.
In the layout "spvnas", a MinkUNet has all keys of an SPVCNN; only net.config distinguishes them.
spconv stores a kernel of size 1 as [Cout, 1, 1, 1, Cin] too, but multiplies by a [Cin, Cout] view
of its memory, not by its transpose (in all releases from 2.0 to 2.3, on all devices).
"""

import itertools
import random

import torch
from plain_sparse import (
    Levels,
    batch_norm,
    devoxelise,
    offsets,
    random_kernel,
    random_norm,
    voxelise,
)

FACTORS = {"W16": 0.5, "W20": 0.64, "W32": 1.0}
WIDTHS = (32, 32, 64, 128, 256, 256, 128, 96, 96)  # stem, 4 stages down, 4 stages up
SUPERNET = (32, 48, 96, 192, 384, 384, 192, 128, 128)  # the widest sub-network of SPVNAS


class Names:
    """Key prefixes (convolution, batch norm) of each layer in a layout."""

    def __init__(self, layout):
        self.layout = layout
        self.backbone = "backbone." if layout.startswith("mmdet3d") else ""
        self.head = {
            "spvnas": "classifier.0",
            "spvnas-specialized": "classifier.linear",
        }.get(layout, "decode_head.conv_seg")

    def stem(self, i):
        """Return the prefixes of one of the two convolutions before the first stage."""
        if self.layout.startswith("spvnas"):
            return f"stem.{3 * i}", f"stem.{3 * i + 1}"
        return self._in_sequence(f"backbone.conv_input.{i}")

    def resample(self, side, stage):
        """Return the prefixes of a stage's strided ("down") or transposed ("up") convolution."""
        if self.layout == "spvnas":
            name = f"stage{stage + 1}.0" if side == "down" else f"up{stage + 1}.0"
            return f"{name}.net.0", f"{name}.net.1"
        if self.layout == "spvnas-specialized":
            name = f"{side}sample.{stage}.transition.net"
            return f"{name}.conv", f"{name}.bn"
        return self._in_sequence(f"backbone.{'en' if side == 'down' else 'de'}coder.{stage}.0")

    def block(self, side, stage, block, which):
        """Return the prefixes of a residual block's convolution 1 or 2, or its "shortcut"."""
        if self.layout == "spvnas-specialized":
            part = "downsample" if which == "shortcut" else f"net.{which - 1}"
            name = f"{side}sample.{stage}.feature.{block}.{part}.net"
            return f"{name}.conv", f"{name}.bn"
        if self.layout == "spvnas":
            name = f"stage{stage + 1}" if side == "down" else f"up{stage + 1}.1"
        else:
            name = f"backbone.encoder.{stage}" if side == "down" else f"backbone.decoder.{stage}.1"
        # In the encoder, the strided convolution is the first item of the same sequence.
        name = f"{name}.{block + 1 if side == 'down' else block}"
        if self.layout == "mmdet3d-minkowski":
            if which == "shortcut":
                return f"{name}.downsample.net.0", f"{name}.downsample.net.1.bn"
            return f"{name}.conv{which}", f"{name}.norm{which}.bn"
        if which == "shortcut":
            return f"{name}.downsample.0", f"{name}.downsample.1"
        if self.layout == "mmdet3d-spconv":
            return f"{name}.conv{which}", f"{name}.bn{which}"
        return f"{name}.net.{3 * which - 3}", f"{name}.net.{3 * which - 2}"

    def perceptron(self, i):
        """Return the prefixes of a linear layer of the point branch."""
        name = f"{self.backbone}point_transforms.{i}"
        if self.layout == "spvnas-specialized":
            return f"{name}.net.conv", f"{name}.net.bn"
        return f"{name}.0", f"{name}.1"

    def _in_sequence(self, name):
        net, bn = {
            "mmdet3d-torchsparse": (".net", ""),
            "mmdet3d-minkowski": (".net", ".bn"),
            "mmdet3d-spconv": ("", ""),
        }[self.layout]
        return f"{name}{net}.0", f"{name}{net}.1{bn}"


class Builder:
    """Builder of a state dict with the names and shapes of a layout."""

    def __init__(self, layout, seed):
        self.names, self.state = Names(layout), {}
        self.spconv = layout == "mmdet3d-spconv"
        self.random = torch.Generator().manual_seed(seed)

    def convolution(self, prefixes, size, inputs, outputs):
        convolution, norm = prefixes
        kernel = random_kernel(convolution, size**3, inputs, outputs, self.random)
        if self.spconv:
            slots = kernel.pop(f"{convolution}.kernel").reshape(size, size, size, inputs, outputs)
            kernel[f"{convolution}.weight"] = slots.permute(4, 0, 1, 2, 3).contiguous()
        self.state.update(kernel)
        self.state.update(random_norm(norm, outputs, self.random))

    def block(self, side, stage, block, inputs, middle, outputs, shortcut):
        names = self.names.block
        self.convolution(names(side, stage, block, 1), 3, inputs, middle)
        self.convolution(names(side, stage, block, 2), 3, middle, outputs)
        if shortcut:
            self.convolution(names(side, stage, block, "shortcut"), 1, inputs, outputs)

    def linear(self, name, inputs, outputs):
        weight = torch.randn(outputs, inputs, generator=self.random)
        self.state[f"{name}.weight"] = weight * inputs**-0.5
        self.state[f"{name}.bias"] = torch.randn(outputs, generator=self.random) * 0.2

    def perceptron(self, i, inputs, outputs):
        linear, norm = self.names.perceptron(i)
        self.linear(linear, inputs, outputs)
        self.state.update(random_norm(norm, outputs, self.random))


def widths_of(variant, width=1.0):
    """Return the widths of stem, 4 encoder and 4 decoder stages, scaled by `width`."""
    return [int(int(FACTORS[variant.split("-")[1]] * w) * width) for w in WIDTHS]


def checkpoint(variant, layout, *, classes=19, in_channels=4, width=1.0, seed=0):
    """Return a state dict {key: float32 tensor} of a variant in a layout, with random weights.

    Args:
        variant: such as "MinkUNet18-W16", "MinkUNet34v2-W32" or "SPVCNN-W20"; for "SPVNAS" see
            `specialized`.
        layout: a layout of this module except "spvnas-specialized".
        width: factor on every width, for quick tests.
    """
    if layout != "mmdet3d-torchsparse" and ("v2" in variant or layout == "spvnas-specialized"):
        raise ValueError(f"no {variant} has the layout {layout}")
    if "SPVCNN" in variant and layout in ("mmdet3d-minkowski", "mmdet3d-spconv"):
        raise ValueError(f"no {variant} has the layout {layout}")
    c = widths_of(variant, width)
    build = Builder(layout, seed)
    build.convolution(build.names.stem(0), 3, in_channels, c[0])
    build.convolution(build.names.stem(1), 3, c[0], c[0])
    down = (2, 3, 4, 6) if "34" in variant else (2, 2, 2, 2)
    for stage in range(4):
        inputs, outputs = c[stage], c[stage + 1]
        build.convolution(build.names.resample("down", stage), 2, inputs, inputs)
        for j in range(down[stage]):
            build.block("down", stage, j, inputs, outputs, outputs, inputs != outputs)
            inputs = outputs
    for stage in range(4):
        outputs = c[5 + stage]
        build.convolution(build.names.resample("up", stage), 2, c[4 + stage], outputs)
        inputs = outputs + c[3 - stage]
        for j in range(2):
            build.block("up", stage, j, inputs, outputs, outputs, inputs != outputs)
            inputs = outputs
    if "SPVCNN" in variant or layout == "spvnas":
        for i in range(3):
            build.perceptron(i, c[(0, 4, 6)[i]], c[(4, 6, 8)[i]])
    build.linear(build.names.head, c[4] + c[6] + c[8] if "v2" in variant else c[8], classes)
    return build.state


def net_config(variant="SPVNAS", *, classes=19, seed=0, narrow=True):
    """Return the content of a model zoo's net.config.

    For MinkUNet18-* and SPVCNN-*, it has num_classes and cr, and for SPVCNN also pres and vres.
    For SPVNAS, it is a random sub-network in the format of SPVNAS's `random_sample`:
    output_channels has the channels of each stage, and each choice of the super-network has its
    channels or depth, or None if the depth excludes the layer. `narrow` prefers few channels, more
    often than the sources do.
    """
    if variant != "SPVNAS":
        config = {"num_classes": classes, "cr": FACTORS[variant.split("-")[1]]}
        return config | ({"pres": 0.05, "vres": 0.05} if "SPVCNN" in variant else {})
    draw = random.Random(seed)

    def channels(most):
        return max(16, draw.randint(most // 8, most // 4 if narrow else most) // 16 * 16)

    outputs = [32, *(channels(w) for w in SUPERNET[1:])]
    config = {"output_channels": outputs}
    for side, stage in itertools.product(("down", "up"), range(4)):
        at = stage + 1 if side == "down" else stage + 5
        before = f"{side}sample.{stage}"
        depth = draw.randint(1, 2)
        config[f"{before}.transition"] = channels(SUPERNET[at - 1 if side == "down" else at])
        config[f"{before}.feature"] = depth
        for j in range(2):
            layer, used = f"{before}.feature.layers.{j}", j < depth
            config[f"{layer}.net"] = 2 if used else None
            config[f"{layer}.net.layers.0"] = channels(SUPERNET[at]) if used else None
            config[f"{layer}.net.layers.1"] = outputs[at] if used else None
            if j == 0:
                config[f"{layer}.downsample"] = outputs[at]
    config |= {f"point_transforms.{i}": outputs[(4, 6, 8)[i]] for i in range(3)}
    return config | {"num_classes": classes, "pres": 0.05, "vres": 0.05}


def specialized(config, *, in_channels=4, seed=0):
    """Return a state dict of the SPVNAS sub-network of a net.config, with random weights.

    `classifier.linear` has the 128 inputs of the super-network; the sub-network uses the first
    ones.
    """
    outputs = config["output_channels"]
    build = Builder("spvnas-specialized", seed)
    build.convolution(build.names.stem(0), 3, in_channels, 32)
    build.convolution(build.names.stem(1), 3, 32, 32)
    inputs = 32
    for side, stage in itertools.product(("down", "up"), range(4)):
        at = stage + 1 if side == "down" else stage + 5
        before = f"{side}sample.{stage}"
        transition = config[f"{before}.transition"]
        build.convolution(build.names.resample(side, stage), 2, inputs, transition)
        inputs = transition + (outputs[3 - stage] if side == "up" else 0)
        for j in range(config[f"{before}.feature"]):
            middle = config[f"{before}.feature.layers.{j}.net.layers.0"]
            # As in the super-network, the first block of each stage has a shortcut.
            build.block(side, stage, j, inputs, middle, outputs[at], shortcut=j == 0)
            inputs = outputs[at]
    for i in range(3):
        build.perceptron(i, outputs[(0, 4, 6)[i]], outputs[(4, 6, 8)[i]])
    build.linear(build.names.head, SUPERNET[8], config["num_classes"])
    return build.state


def file_of(state, layout):
    """Return the checkpoint object that a source saves (for SPVNAS, the file `init`)."""
    if layout.startswith("spvnas"):
        return {"model": state}
    dataset = {"classes": ("car", "bicycle"), "palette": [[100, 150, 245], [100, 230, 245]]}
    meta = {"epoch": 15, "iter": 17940, "mmengine_version": "0.7.0", "dataset_meta": dataset}
    return {"meta": meta, "state_dict": state}


def forward(state, layout, coordinates, features, points=None):
    """Return logits [N, classes], float64, in the order of the coordinates.

    Args:
        state: a state dict of `checkpoint` or `specialized`; it determines widths and depths.
        layout: a layout of this module.
        coordinates: int64 [N, 3], unique. For spconv they must not be negative; its strided
            convolutions drop the last plane of an odd extent (largest coordinate + 1).
        features: [N, in_channels].
        points: whether to use the point branch. Required in the layout "spvnas", True for SPVCNN
            and False for MinkUNet; in the others, None lets the state decide.
    """
    names = Names(layout)
    levels = Levels(coordinates, clip=layout == "mmdet3d-spconv")
    cube = offsets("last-axis" if layout == "mmdet3d-spconv" else "first-axis", (3, 3, 3))
    half = offsets("first-axis" if layout == "mmdet3d-minkowski" else "last-axis", (2, 2, 2))
    if points is None:
        if layout == "spvnas":
            raise ValueError("layout 'spvnas' needs points: True for SPVCNN, False for MinkUNet")
        points = f"{names.perceptron(0)[0]}.weight" in state
    head = state[f"{names.head}.weight"].double()

    def kernel(convolution):
        """Return a kernel [K, Cin, Cout] in the slot order of the layout, or [Cin, Cout]."""
        if layout != "mmdet3d-spconv":
            return state[f"{convolution}.kernel"].double()
        weight = state[f"{convolution}.weight"].double()
        outputs, *sizes, inputs = weight.shape
        if sizes == [1, 1, 1]:
            # spconv reads the memory of this one as [Cin, Cout], without transposing.
            return weight.reshape(inputs, outputs)
        return weight.permute(1, 2, 3, 4, 0).flatten(0, 2)

    def layer(x, level, prefixes, step="at"):
        convolution, norm = prefixes
        weight = kernel(convolution)
        if step == "down":
            x = levels.down(level, x, weight, half)
        elif step == "up":
            x = levels.up(level, x, weight, half)
        elif weight.dim() == 2:
            x = x @ weight
        else:
            x = levels.convolve(level, x, weight, cube)
        return batch_norm(x, state, norm)

    def blocks(x, level, side, stage):
        for j in itertools.count():
            first, second, shortcut = (
                names.block(side, stage, j, which) for which in (1, 2, "shortcut")
            )
            if f"{first[1]}.weight" not in state:
                return x
            residual = x
            if f"{shortcut[1]}.weight" in state:
                residual = layer(x, level, shortcut)
            x = layer(layer(x, level, first).relu(), level, second)
            x = (x + residual).relu()

    def to_points(x, level):
        return devoxelise(x, levels.voxels[level], coordinates, 2**level)

    def to_voxels(z, level):
        return voxelise(z, coordinates, levels.voxels[level], 2**level)

    def perceptron(z, i):
        linear, norm = names.perceptron(i)
        z = z @ state[f"{linear}.weight"].double().T + state[f"{linear}.bias"].double()
        return batch_norm(z, state, norm).relu()

    x = features.double()
    for i in range(2):
        x = layer(x, 0, names.stem(i)).relu()
    skips = [x]
    if points:
        z = to_points(x, 0)
        x = to_voxels(z, 0)
        if layout.startswith("mmdet3d"):
            skips = [x]
    for stage in range(4):
        x = layer(x, stage, names.resample("down", stage), "down").relu()
        x = blocks(x, stage + 1, "down", stage)
        skips.append(x)
    skips.pop()
    of_levels = [to_points(x, 4)]
    for stage in range(4):
        if points and stage in (0, 2):
            z = to_points(x, 4 - stage) + perceptron(z, stage // 2)
            x = to_voxels(z, 4 - stage)
        level = 3 - stage
        x = layer(x, level, names.resample("up", stage), "up").relu()
        x = blocks(torch.cat([x, skips.pop()], 1), level, "up", stage)
        if stage in (1, 3):
            of_levels.append(to_points(x, level))
    if points:
        x = to_points(x, 0) + perceptron(z, 2)
    elif sum(f.shape[1] for f in of_levels) == head.shape[1]:
        x = torch.cat(of_levels, 1)  # MinkUNet34v2
    return x @ head[:, : x.shape[1]].T + state[f"{names.head}.bias"].double()
