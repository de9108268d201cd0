# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import os
import platform
import subprocess
import sys

import pytest

from minkowski_perception.allocator import VARIABLE, keep_freed_memory

_PAGES = """
import resource
import numpy as np
from minkowski_perception.allocator import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.ones(2**26, np.uint8)  # more than glibc ever takes from its heap by default
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

kept = keep_freed_memory()
faults()
print(kept, faults())
"""


def run(**environment):
    """Return whether memory is kept, and the page faults of a second array of 64 MiB."""
    shown = subprocess.run(
        [sys.executable, "-c", _PAGES],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    kept, faults = shown.stdout.split()
    return kept == "True", int(faults)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")
def test_freed_memory_is_used_again_without_page_faults():
    kept, faults = run()
    system, system_faults = run(**{VARIABLE: "system"})
    assert (kept, system) == (True, False)
    assert faults < 10 < system_faults


def test_other_c_libraries_are_left_as_they_are(monkeypatch):
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    assert not keep_freed_memory()
