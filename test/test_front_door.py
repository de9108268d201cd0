# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What `import minkowski_perception` gives."""

import subprocess
import sys

import pytest

import minkowski_perception

HEAVY = ("numpy", "torch", "scipy", "yaml", "rclpy")


def test_the_import_loads_nothing_heavy():
    program = (
        "import sys, minkowski_perception as m; dir(m); m.__version__; "
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", program], text=True).strip() == "[]"


@pytest.mark.parametrize("name", minkowski_perception.__all__)
def test_every_name_is_the_one_of_its_module(name):
    value = getattr(minkowski_perception, name)
    module = sys.modules[value.__module__]
    assert module.__name__.startswith("minkowski_perception.")
    assert getattr(module, name) is value
    assert name in dir(minkowski_perception)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(
        AttributeError, match="'minkowski_perception' has no attribute 'Segmentor'"
    ):
        _ = minkowski_perception.Segmentor
    with pytest.raises(ImportError):
        from minkowski_perception import Segmentor  # noqa: F401
