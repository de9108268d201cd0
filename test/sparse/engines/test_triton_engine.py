# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Tests of the Triton engine: on CUDA, else on the CPU under Triton's interpreter."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn.functional import pad

from minkowski_perception.networks.model import load_model
from minkowski_perception.segmenter import Segmenter
from minkowski_perception.sparse import (
    Convolution,
    SparseTensor,
    TransposedConvolution,
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


def test_it_is_deterministic_and_an_engine_of_the_parameter():
    assert TritonEngine.deterministic
    assert selection.ENGINES["triton"]() is TritonEngine
