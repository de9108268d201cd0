# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import gc

import pytest

from minkowski_perception.node.start import importing


def test_garbage_is_collected_again_after_the_imports():
    with importing():
        assert not gc.isenabled()
    assert gc.isenabled()


def test_garbage_is_collected_again_after_an_import_that_fails():
    with pytest.raises(ImportError), importing():
        raise ImportError
    assert gc.isenabled()
