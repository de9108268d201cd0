# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import json
import shutil
import signal

import numpy as np
import pytest
from cloud_messages import street
from tiny_models import save_tiny

from minkowski_perception.codec import encode_frame
from minkowski_perception.commands.main import main
from minkowski_perception.labelling.folder import MEMORY
from minkowski_perception.recordings.bags import BagWriter
from minkowski_perception.segmenter import Segmenter

CLOUDS = 8
OF_TIME = ("frames_per_second", "points_per_second", "latency_ms", "command")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """A model, and a bag whose motion comes from registration; of its clouds two are dropped."""
    folder = tmp_path_factory.mktemp("inputs")
    save_tiny(folder / "tiny", dimension=4, kernel="causal", crf=True)
    with BagWriter(folder / "bag") as bag:
        for index in range(CLOUDS):
            late = index in (2, 6)  # their stamps are those of the clouds before
            bag.write_cloud(
                "/points", encode_frame(street(index)), street(index - late).stamp, "lidar"
            )
    return folder


@pytest.fixture
def label(inputs, tmp_path):
    """Label the bag, in this process."""

    def label(*arguments, out="out", recording=inputs / "bag"):
        out = tmp_path / out
        own = ("--model", inputs / "tiny.yaml", "--engine", "torch", "--averaging", 4)
        results = ("--out", out, "--map", out / "map.ply", "--export", "npz")
        return main(["label", *map(str, (recording, *own, *results, *arguments))])

    return label


def stop_at(patched, call, method="segment"):
    """Signal this process at a call of the segmenter."""
    calls, original = iter(range(1, CLOUDS + 1)), getattr(Segmenter, method)

    def stopping(self, *arguments):
        if next(calls) == call:
            signal.raise_signal(signal.SIGTERM)
        return original(self, *arguments)

    patched.setattr(Segmenter, method, stopping)


def stopped(label, call, method="segment", arguments=(), **others):
    with pytest.MonkeyPatch.context() as patched:
        stop_at(patched, call, method)
        assert label(*arguments, **others) == 128 + signal.SIGTERM


def files(folder):
    found = {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    summary = json.loads(found.pop(next(p for p in found if p.name == "summary.json")))
    return found, {name: value for name, value in summary.items() if name not in OF_TIME}


def unfinished(out):
    return [path for path in out.iterdir() if path.name.startswith("unfinished-")]


def test_a_run_that_was_stopped_has_the_bytes_of_a_whole_one(label, tmp_path, capsys):
    pytest.importorskip("kiss_icp", reason="needs kiss-icp: pip install kiss-icp")
    assert label(out="whole") == 0
    whole, figures = files(tmp_path / "whole")
    assert (figures["ego_motion"], figures["dropped"]) == ("kiss_icp", {"out_of_order": 2})

    stopped(label, 3)
    assert "stopped after 4 of 8 clouds; the same command goes on" in capsys.readouterr().err
    stopped(label, 2, "recall")
    assert "stopped after 4 of 8 clouds" in capsys.readouterr().err  # what was there stays
    assert len(unfinished(tmp_path / "out")) == 1
    stopped(label, 2)
    assert "goes on after 4 clouds" in capsys.readouterr().err
    assert label() == 0

    assert "goes on after 6 clouds" in capsys.readouterr().err
    found, again = files(tmp_path / "out")
    assert len(whole) > 6
    assert {name: found.get(name) == data for name, data in whole.items()} == dict.fromkeys(
        found, True
    )
    assert again == figures


@pytest.fixture
def scans(tmp_path):
    folder = tmp_path / "scans"
    folder.mkdir()
    for index in range(4):
        np.save(folder / f"{index}.npy", street(index).points)
    return folder


def change_scan(scans, folder):
    np.save(scans / "1.npy", street(9).points)  # of the same size


def damage_memory(scans, folder):
    (folder / MEMORY).write_bytes(b"none")


def remove_bag(scans, folder):
    shutil.rmtree(folder / "labelled")


@pytest.mark.parametrize(
    ("change", "arguments", "reason"),
    [
        (None, ["--averaging", 1], "the run that was stopped had other averaging"),
        (change_scan, [], "the clouds are not those of the run that was stopped"),
        (damage_memory, [], "memory.safetensors cannot be read"),
        (remove_bag, [], "no bag at"),
    ],
)
def test_a_run_of_something_else_begins_anew(
    label, scans, tmp_path, capsys, change, arguments, reason
):
    motion = ("--ego-motion", "none")
    stopped(label, 3, recording=scans, arguments=motion)
    [folder] = unfinished(tmp_path / "out")
    if change is not None:
        change(scans, folder)
    capsys.readouterr()

    assert label(*motion, *arguments, recording=scans) == 0
    err = capsys.readouterr().err
    assert reason in err
    assert "; all clouds are labelled anew" in err
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"labelled", "map.ply", "npz", "summary.json"}
    assert len([*(tmp_path / "out" / "npz").iterdir()]) == 4
