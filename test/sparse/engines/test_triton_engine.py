# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Tests of the Triton engine: on CUDA, else on the CPU under Triton's interpreter."""

from dataclasses import replace
from unittest import mock

import numpy as np
import pytest
import torch
from tiny_models import save_tiny
from torch.nn.functional import pad

from minkowski_perception.networks.model import load_model
from minkowski_perception.segmenter import Segmenter
from minkowski_perception.sparse import (
    Convolution,
    SparseTensor,
    TransposedConvolution,
    capacity,
    cube,
    hybrid,
    selection,
)
from minkowski_perception.sparse.engines.triton_engine import TritonEngine
from minkowski_perception.trial import trial_frame

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def test_layers_give_the_results_of_plain_pytorch():
    pytest.importorskip("triton", reason="needs triton")
    generator = torch.Generator().manual_seed(0)
    space = torch.randint(-3, 4, (80, 4), generator=generator)
    coordinates = torch.unique(pad(space, (1, 0)), dim=0).to(DEVICE)
    features = torch.randn(len(coordinates), 3, generator=generator).to(DEVICE)
    region, step = hybrid((3, 3, 3, 3), cross_axes=(3,)), (2, 2, 2, 1)
    layers = [
        Convolution(3, 8, region, bias=True),
        Convolution(8, 6, cube(step), stride=step),
        TransposedConvolution(6, 6, cube(step), stride=step),
        Convolution(6, 4, cube((1, 1, 1, 1)), bias=True),
    ]
    results = []
    with torch.inference_mode():
        for engine in (None, TritonEngine(torch.float32)):
            tensor = SparseTensor(features, coordinates, engine=engine)
            for layer in layers:
                tensor = layer.eval().to(DEVICE)(tensor, relu=True)
            results.append(tensor.features)
    torch.testing.assert_close(*results, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_the_default_model_gives_the_labels_of_plain_pytorch(monkeypatch):
    gemm = pytest.importorskip("minkowski_perception.sparse.implicit_gemm", reason="needs triton")
    monkeypatch.setattr(gemm, "_FEW_ROWS", 0)  # fewer, higher tiles: the interpreter is slow
    monkeypatch.setattr(TritonEngine, "check", lambda device: None)  # accept the interpreter
    frames = []
    for i in range(2):
        pose = np.eye(4)
        pose[0, 3] = 0.3 * i
        frames.append(replace(trial_frame(60, 0), stamp=(1 + i) * 10**8, pose=pose))
    plain, ours = (
        Segmenter(load_model(), device=DEVICE, crf=False, **options)
        for options in ({"engine": "torch"}, {"engine": "triton", "precision": "float32"})
    )
    for frame in frames:
        expected, result = plain.segment(frame), ours.segment(frame)
        assert np.array_equal(result.labels, expected.labels)
        assert np.abs(result.confidence - expected.confidence).max() < 1e-5


@pytest.mark.slow
def test_padding_and_capacities_that_were_too_small_leave_the_bits_as_they_are(
    tmp_path, monkeypatch
):
    pytest.importorskip("triton", reason="needs triton")
    monkeypatch.setattr(TritonEngine, "check", lambda device: None)  # accept the interpreter
    monkeypatch.setattr(capacity, "_GRAIN", 8)
    network = {"dimension": 4, "kernel": "causal", "recall": 2, "support": 2, "stem_kernel": 1}
    links = ("none", "voxel", "voxel", "none", "none")
    save_tiny(tmp_path / "tiny", crf=True, links=links, **network)
    padded, exact = (
        Segmenter(
            load_model(tmp_path / "tiny.yaml"),
            device=DEVICE,
            engine="triton",
            precision="float32",
            averaging=1,
        )
        for _ in range(2)
    )
    exact._execution.capacities = None
    computed = mock.Mock(wraps=padded._execution.scores)
    monkeypatch.setattr(padded._execution, "scores", computed)
    for i, rays in enumerate((3, 14)):
        pose = np.eye(4)
        pose[0, 3] = 0.7 * i
        frame = replace(trial_frame(rays, i), stamp=(1 + i) * 10**8, pose=pose)
        found, expected = padded.probabilities(frame), exact.probabilities(frame)
        assert torch.equal(found.alone, expected.alone)
    assert computed.call_count == 3  # the second frame twice
    states = padded.state(), exact.state()
    assert states[0].keys() == states[1].keys()
    for name, kept in states[0].items():
        assert torch.equal(kept, states[1][name]), name


def test_it_is_deterministic_and_an_engine_of_the_parameter():
    assert TritonEngine.deterministic
    assert selection.ENGINES["triton"]() is TritonEngine
