# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import argparse
import hashlib
import itertools
import json
import os
import sys
import types
import zipfile
from collections import OrderedDict, defaultdict
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from minkowski_perception.lab.importers import CheckpointError, read_checkpoint

STATE = OrderedDict(first=torch.arange(6.0).reshape(2, 3), second=torch.ones(4))


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize(
    "content",
    [
        STATE,
        {"state_dict": STATE},
        {"model": STATE, "epoch": 3},
        {"model_state_dict": {f"module.{key}": value for key, value in STATE.items()}},
    ],
)
def test_weights_are_found_under_the_keys_of_training_scripts(tmp_path, content, zipped):
    path = tmp_path / "weights.pth"
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    checkpoint = read_checkpoint(path)
    assert list(checkpoint.state) == list(STATE)
    assert torch.equal(checkpoint.state["first"], STATE["first"])
    assert checkpoint.metadata == ({"epoch": 3} if "epoch" in content else {})
    assert checkpoint.zipped == zipped
    assert checkpoint.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


WRAPPERS = ["module.", "_orig_mod.", "module._orig_mod.", "_fsdp_wrapped_module."]


@pytest.mark.parametrize("prefix", WRAPPERS)
def test_prefixes_of_wrappers_are_removed(tmp_path, prefix):
    wrapped = {f"{prefix}{key}": value for key, value in STATE.items()}
    inside = {f"model.{prefix}{key}": value for key, value in STATE.items()}
    torch.save(wrapped, tmp_path / "wrapped.pth")
    torch.save(inside, tmp_path / "inside.pth")
    assert list(read_checkpoint(tmp_path / "wrapped.pth").state) == list(STATE)
    assert list(read_checkpoint(tmp_path / "inside.pth").state) == ["model.first", "model.second"]


def test_a_wrapper_stays_where_two_keys_would_become_equal(tmp_path):
    torch.save({"first": torch.ones(1), "module.first": torch.zeros(1)}, tmp_path / "c.pth")
    assert list(read_checkpoint(tmp_path / "c.pth").state) == ["first", "module.first"]


@pytest.mark.parametrize(
    ("content", "metadata"),
    [
        ({"net": STATE, "epoch": 3}, {"epoch": 3}),
        ({"weights": STATE}, {}),
        ({"run": {"network": STATE, "name": "a"}}, {"name": "a"}),
        ([STATE, 5], {}),
        ({"ema_state_dict": STATE}, {}),
        ({"net": STATE, "ema": STATE}, {"ema": STATE}),
        ({"step": torch.tensor(5), "model": STATE}, {"step": torch.tensor(5)}),
        ({"net": STATE, "optimizer": {"state": {"a": dict(STATE, b=STATE["first"])}}}, None),
        ({"net": STATE, "mean": {"value": torch.ones(3)}}, None),
    ],
)
def test_the_only_dictionary_of_weights_is_found(tmp_path, content, metadata):
    torch.save(content, tmp_path / "c.pth")
    checkpoint = read_checkpoint(tmp_path / "c.pth")
    assert list(checkpoint.state) == list(STATE)
    assert metadata is None or str(checkpoint.metadata) == str(metadata)


def test_several_dictionaries_of_weights_are_refused_and_listed(tmp_path):
    torch.save({"generator": STATE, "critic": STATE}, tmp_path / "c.pth")
    with pytest.raises(CheckpointError, match=r"several .*: generator, critic; save the one"):
        read_checkpoint(tmp_path / "c.pth")


@pytest.mark.parametrize(
    "key",
    [
        "decode_head.loss_decode.class_weight",
        "criterion.weight",
        "focal_loss.alpha",
        "auxiliary_head.conv_seg.weight",
        "aux_classifier.0.weight",
        "data_preprocessor.mean",
        "n_averaged",
        "val_iou.confmat",
        "ema_model.first",
        "teacher.first",
    ],
)
def test_parts_of_training_are_left_out_by_name(tmp_path, key):
    torch.save({"state_dict": {**STATE, key: torch.ones(2)}}, tmp_path / "c.pth")
    checkpoint = read_checkpoint(tmp_path / "c.pth")
    assert list(checkpoint.state) == list(STATE)
    assert checkpoint.left_out == (key,)


def test_averaged_weights_are_read_if_there_are_no_others(tmp_path):
    torch.save({f"ema_model.{key}": value for key, value in STATE.items()}, tmp_path / "c.pth")
    assert list(read_checkpoint(tmp_path / "c.pth").state) == [
        "ema_model.first",
        "ema_model.second",
    ]


def test_similar_names_are_not_parts_of_training(tmp_path):
    keys = ["semantic_head.weight", "stem.glossy.weight", "decode_head.conv_seg.weight"]
    torch.save({key: torch.ones(2) for key in keys}, tmp_path / "c.pth")
    assert list(read_checkpoint(tmp_path / "c.pth").state) == keys


def test_torchscript_is_refused_with_the_remedy(tmp_path):
    torch.jit.script(torch.nn.Linear(2, 2)).save(str(tmp_path / "c.pth"))
    with pytest.raises(CheckpointError, match=r"TorchScript .* torch\.save\(torch\.jit\.load"):
        read_checkpoint(tmp_path / "c.pth")


@pytest.mark.parametrize("name", ["c.pth", "c.safetensors"])
@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
        ("<!DOCTYPE html><html></html>", "is a web page"),
    ],
)
def test_files_in_place_of_a_checkpoint_are_refused_by_kind(tmp_path, name, text, meaning):
    (tmp_path / name).write_text(text)
    with pytest.raises(CheckpointError, match=meaning):
        read_checkpoint(tmp_path / name)


def test_safetensors_are_read(tmp_path):
    save_file(STATE, tmp_path / "weights.safetensors")
    checkpoint = read_checkpoint(tmp_path / "weights.safetensors")
    assert torch.equal(checkpoint.state["second"], STATE["second"])


def test_entries_beside_the_weights_do_not_prevent_reading(tmp_path):
    counts = defaultdict(int)
    counts["val"] = 3
    beside = {
        "best_val": np.float64(72.2),
        "history": {"loss": np.arange(3.0)},
        "config": argparse.Namespace(model="Res16UNet34C"),
        "counts": counts,
        "folder": Path("runs/3"),
        "optimizer": {"state": {}, "param_groups": [{"lr": 0.1}]},
    }
    torch.save({"state_dict": STATE, "arch": "Res16UNet34C", **beside}, tmp_path / "c.pth")
    checkpoint = read_checkpoint(tmp_path / "c.pth")
    assert list(checkpoint.state) == list(STATE)
    assert checkpoint.metadata["arch"] == "Res16UNet34C"


@pytest.mark.parametrize(
    "name", ["mmengine.logging.history_buffer.HistoryBuffer", "omegaconf.dictconfig.DictConfig"]
)
def test_objects_of_training_frameworks_become_placeholders(tmp_path, monkeypatch, name):
    module, _, class_name = name.rpartition(".")
    with monkeypatch.context() as installed:
        for package in itertools.accumulate(module.split("."), "{}.{}".format):
            installed.setitem(sys.modules, package, types.ModuleType(package))
        thing = type(class_name, (), {"__module__": module})()
        setattr(sys.modules[module], class_name, type(thing))
        thing.history = np.arange(3.0)
        torch.save({"state_dict": STATE, "thing": thing}, tmp_path / "c.pth")
    checkpoint = read_checkpoint(tmp_path / "c.pth")
    assert list(checkpoint.state) == list(STATE)
    assert not hasattr(checkpoint.metadata["thing"], "history")


class Hostile:
    def __reduce__(self):
        return os.mkdir, ("made_by_the_checkpoint",)


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_checkpoint_is_refused_by_name_and_not_run(tmp_path, monkeypatch, zipped):
    monkeypatch.chdir(tmp_path)
    torch.save(
        {"state_dict": STATE, "x": Hostile()}, "c.pth", _use_new_zipfile_serialization=zipped
    )
    with pytest.raises(CheckpointError, match=r"c\.pth contains code, \w+\.mkdir, .* not run"):
        read_checkpoint(tmp_path / "c.pth")
    assert not (tmp_path / "made_by_the_checkpoint").exists()


def test_a_file_that_would_be_many_times_larger_in_memory_is_refused_unread(tmp_path, monkeypatch):
    torch.save({"state_dict": {"conv0.kernel": torch.zeros(3, 3)}}, tmp_path / "good.pth")
    with (
        zipfile.ZipFile(tmp_path / "good.pth") as good,
        zipfile.ZipFile(tmp_path / "bomb.pth", "w", zipfile.ZIP_DEFLATED) as bomb,
    ):
        for name in good.namelist():
            bomb.writestr(name, good.read(name) + bytes(10**6))
    monkeypatch.setattr(torch, "load", None)
    with pytest.raises(CheckpointError, match=r"has \d+ bytes and would take \d+ unpacked"):
        read_checkpoint(tmp_path / "bomb.pth")


@pytest.mark.parametrize("kept", [0, 10, 500, -200])
@pytest.mark.parametrize("zipped", [True, False])
def test_a_truncated_file_is_refused(tmp_path, kept, zipped):
    torch.save({"state_dict": STATE}, tmp_path / "c.pth", _use_new_zipfile_serialization=zipped)
    (tmp_path / "c.pth").write_bytes((tmp_path / "c.pth").read_bytes()[:kept])
    with pytest.raises(CheckpointError, match=r"c\.pth is damaged"):
        read_checkpoint(tmp_path / "c.pth")


@pytest.mark.parametrize("name", ["readme.txt", "photo.safetensors"])
def test_a_file_that_is_not_a_checkpoint_is_refused(tmp_path, name):
    (tmp_path / name).write_bytes(b"These are no weights at all. " * 20)
    with pytest.raises(CheckpointError, match="is damaged"):
        read_checkpoint(tmp_path / name)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ({"epoch": 3, "optimizer": {}}, r"keys \['epoch', 'optimizer'\]"),
        ([1, 2, 3], "list"),
        ({}, "dict"),
    ],
)
def test_a_checkpoint_without_weights_is_refused_and_its_contents_are_listed(
    tmp_path, content, found
):
    torch.save(content, tmp_path / "c.pth")
    with pytest.raises(CheckpointError, match=f"has no weights, .* it contains: {found}"):
        read_checkpoint(tmp_path / "c.pth")


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(
        CheckpointError, match=r"cannot read checkpoint .*/none\.pth: No such file"
    ):
        read_checkpoint(tmp_path / "none.pth")


def test_a_folder_of_the_model_zoo_is_read_with_its_config(tmp_path):
    torch.save({"model": STATE}, tmp_path / "init")
    (tmp_path / "net.config").write_text(json.dumps({"cr": 0.5}))
    assert read_checkpoint(tmp_path).config == {"cr": 0.5}
    assert read_checkpoint(tmp_path / "init").config == {"cr": 0.5}


@pytest.mark.parametrize("text", ["{", "[1]"])
def test_a_config_that_is_not_a_json_object_is_refused(tmp_path, text):
    torch.save({"model": STATE}, tmp_path / "init")
    (tmp_path / "net.config").write_text(text)
    with pytest.raises(CheckpointError, match=r"net\.config"):
        read_checkpoint(tmp_path)
