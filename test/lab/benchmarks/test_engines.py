# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import json

import pytest
import torch

from minkowski_perception.lab.benchmarks import BenchmarkError, engines
from minkowski_perception.lab.benchmarks.engines import Contender, Race, Timing
from minkowski_perception.lab.benchmarks.scans import Scan

CPU = torch.device("cpu")


def scan_of(dimension, count=300):
    generator = torch.Generator().manual_seed(0)
    space = torch.randint(0, 12, (count, dimension), generator=generator)
    coordinates = torch.unique(torch.cat([torch.zeros(count, 1).long(), space], dim=1), dim=0)
    return Scan("random", count, coordinates, torch.randn(len(coordinates), 4))


def timing(name, ours, precision, *seconds):
    return Timing(Contender(name, ours, precision, lambda *_: None), list(seconds))


@pytest.mark.parametrize(
    ("network", "dimension"), [("MinkUNet14A", 3), ("MinkUNet14A-4D-hybrid", 4)], ids=str
)
def test_all_contenders_run_the_network_and_agree(network, dimension):
    ticks = []
    race = engines.race(network, scan_of(dimension), CPU, 2, lambda: ticks.append(0))
    assert race.timings[0].contender.name == "torch"
    for t in race.timings:
        assert len(t.seconds) == 2
        assert t.labels_equal > (0.99 if t.contender.precision == torch.float32 else 0.9)
    assert len(ticks) == 3 * len(race.timings)
    assert {t.contender.name for t in race.timings}.isdisjoint(race.absent)
    assert race.macs > 1e6


def test_ratios_compare_medians_with_our_fastest_engine_of_a_precision():
    race = Race(
        "MinkUNet14A",
        scan_of(3),
        1,
        [
            timing("torch", True, torch.float32, 9.0, 8.0, 7.0),
            timing("numba", True, torch.float32, 2.0, 100.0, 1.0),
            timing("numba bfloat16", True, torch.bfloat16, 0.5, 1.0, 2.0),
            timing("spconv", False, torch.float32, 6.0, 3.0, 5.0),
        ],
        {},
    )
    assert race.ratios() == {"spconv": 2.5}
    assert race.ratios(low=True) == {"spconv": 5.0}
    report = json.loads(json.dumps(engines.report("a machine", [race], None)))
    assert report["ratios"] == {"MinkUNet14A": {"spconv": 2.5}}
    assert report["races"][0]["contenders"]["torch"]["median"] == 8.0
    shown = engines.table(race).splitlines()
    row = next(line for line in shown if line.startswith("spconv "))
    assert row.split()[1:3] == ["5000.0", "2.50"]


def test_without_an_engine_of_low_precision_there_are_no_ratios_to_it():
    timings = [timing("torch", True, torch.float32, 1.0), timing("a", False, torch.float32, 1.0)]
    assert Race("MinkUNet14A", scan_of(3), 1, timings, {}).ratios(low=True) == {}


def test_an_unknown_network_is_refused():
    with pytest.raises(BenchmarkError, match="unknown network 'UNet'; choose from MinkUNet14A"):
        engines.build("UNet")
