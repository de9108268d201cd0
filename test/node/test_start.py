# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import gc

import pytest

from minkowski_perception.node.start import collecting_no_garbage


def test_garbage_is_collected_again_after_the_imports():
    with collecting_no_garbage():
        assert not gc.isenabled()
    assert gc.isenabled()


def test_garbage_is_collected_again_after_an_import_that_fails():
    with pytest.raises(ImportError), collecting_no_garbage():
        raise ImportError
    assert gc.isenabled()
