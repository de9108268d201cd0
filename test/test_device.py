# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import os

import pytest
import torch

from minkowski_perception.device import (
    choose_device,
    deterministic_algorithms,
    prepare_determinism,
    use_threads,
)
from minkowski_perception.sparse.threads import set_thread_count, thread_count


@pytest.mark.parametrize(("available", "device"), [(True, "cuda"), (False, "cpu")])
def test_auto_is_cuda_if_available_else_the_cpu(monkeypatch, available, device):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: available)
    assert choose_device("auto") == torch.device(device)


def test_an_unavailable_device_is_refused():
    with pytest.raises(ValueError, match="'cuda:99' is not available: PyTorch finds"):
        choose_device("cuda:99")
    with pytest.raises(ValueError, match="'auto', 'cpu', 'cuda' or 'cuda:N', not 'tpu'"):
        choose_device("tpu")


def test_all_cores_are_used_by_default_and_pytorch_leaves_one_free(monkeypatch):
    before = torch.get_num_threads()
    try:
        for cores in ({0, 1, 2, 3}, {0}):
            monkeypatch.setattr("os.sched_getaffinity", lambda _, cores=cores: cores)
            use_threads()
            assert thread_count() == len(cores)
            assert torch.get_num_threads() == max(1, len(cores) - 1)
        use_threads(2)
        assert thread_count() == torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
        set_thread_count(0)


def test_determinism_configures_cublas_before_cuda_starts(monkeypatch):
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", "to be restored")
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG")
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: False)
    prepare_determinism()
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    prepare_determinism()


def test_determinism_is_refused_once_cuda_runs_without_its_configuration(monkeypatch):
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    with pytest.raises(ValueError, match=r"already initialised.* CUBLAS_WORKSPACE_CONFIG=:4096:8"):
        prepare_determinism()


def test_deterministic_algorithms_are_enabled_within_the_context_only():
    assert not torch.are_deterministic_algorithms_enabled()
    with deterministic_algorithms():
        assert torch.are_deterministic_algorithms_enabled()
    assert not torch.are_deterministic_algorithms_enabled()
