# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from minkowski_perception.lab.benchmarks.networks import (
    PUBLISHED,
    count_macs,
    measure,
    table,
)
from minkowski_perception.lab.benchmarks.scans import Scan, recorded_scan
from minkowski_perception.networks import build_network
from minkowski_perception.sparse import Convolution, TransposedConvolution


def scan_of(coordinates):
    return Scan("made up", 2 * len(coordinates), coordinates, torch.rand(len(coordinates), 4))


def random_scan(dimension=3, count=150):
    coordinates = torch.randint(-9, 9, (count, 1 + dimension), generator=torch.manual_seed(0))
    coordinates[:, 0] = 0
    return scan_of(torch.unique(coordinates, dim=0))


def build(name, dimension=3):
    return build_network(
        name, in_channels=4, heads={"classes": 19}, dimension=dimension, width=0.25
    )


def count_pairs(layer, inputs, outputs):
    """Count the pairs of a kernel map with sets of coordinates, from fine to coarse."""
    if isinstance(layer, TransposedConvolution):
        inputs, outputs = outputs, inputs
    occupied = set(map(tuple, inputs.coordinates.tolist()))
    return sum(
        (batch, *(c + o * s for c, o, s in zip(voxel, offset, inputs.stride, strict=True)))
        in occupied
        for batch, *voxel in outputs.coordinates.tolist()
        for offset in layer.region.offsets
    )


@pytest.mark.parametrize(
    ("name", "dimension"), [("MinkUNet14A", 4), ("SPVCNN-W16", 3), ("MinkUNet34v2-W32", 3)]
)
def test_multiply_adds_are_counted_over_all_pairs_of_the_kernel_maps(name, dimension):
    network, scan = build(name, dimension), random_scan(dimension)
    counts = []

    def count(layer, arguments, output):
        channels_in, channels_out = layer.kernel.shape[-2:]
        counts.append(count_pairs(layer, arguments[0], output) * channels_in * channels_out)

    for module in network.modules():
        if isinstance(module, Convolution):
            module.register_forward_hook(count)
    assert count_macs(network, scan) == sum(counts) > 0


def test_on_one_voxel_each_kernel_has_one_pair():
    network = build("SPVCNN-W16")
    kernels = [p for name, p in network.named_parameters() if name.endswith("kernel")]
    macs = count_macs(network, scan_of(torch.zeros(1, 4, dtype=torch.long)))
    assert macs == sum(kernel.shape[-2] * kernel.shape[-1] for kernel in kernels)


def test_measured_and_published_figures_are_shown_side_by_side():
    scan = random_scan(count=40)
    measured = measure("MinkUNet18-W16", scan, torch.device("cpu"), repeats=1)
    assert measured.parameters == 5_435_235
    assert measured.seconds > 0.0
    assert measured.published == PUBLISHED["MinkUNet18-W16"]

    other = measure("MinkUNet14A", scan, torch.device("cpu"), repeats=1)
    lines = table(scan, [measured, other]).splitlines()
    assert lines[0] == f"made up: {scan.points} points in {len(scan.coordinates)} voxels"
    [row] = [line.split() for line in lines if line.startswith("MinkUNet18-W16")]
    assert row[1:5] == ["5,435,235", "5.5", f"{measured.macs / 1e9:.1f}", "28.5"]
    [row] = [line.split() for line in lines if line.startswith("MinkUNet14A")]
    assert (row[2], row[4]) == ("-", "-")
    assert max(map(len, lines)) < 80


@pytest.mark.parametrize("name", ["MinkUNet18-W16", "SPVCNN-W16"])
def test_multiply_adds_on_a_real_scan_are_close_to_the_published_ones(name, shared_data):
    folder = shared_data / "semantickitti_00" / "sequences" / "00" / "velodyne"
    scan = recorded_scan(folder / "000000.bin")
    network = build_network(name, in_channels=4, heads={"classes": 19})
    assert count_macs(network, scan) / 1e9 == pytest.approx(PUBLISHED[name].macs, rel=0.03)
