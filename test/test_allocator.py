# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import os
import platform
import subprocess
import sys

import pytest

from minkowski_perception import allocator
from minkowski_perception.allocator import (
    VARIABLE,
    keep_freed_memory,
    return_freed_memory,
    separate_large_arrays,
    use_one_heap,
)

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

_SEPARATE = """
import ctypes
import numpy as np
from minkowski_perception.allocator import separate_large_arrays

separate = separate_large_arrays()
np.ones(2**24, np.uint8)  # by default, glibc takes more such arrays from its heap after the first
c = ctypes.CDLL(None)
c.sbrk.restype = ctypes.c_void_p
before = c.sbrk(0)
array = np.ones(2**24, np.uint8)
print(separate, c.sbrk(0) - before)
"""

_HEAPS = """
import ctypes, threading
from minkowski_perception.allocator import return_freed_memory, use_one_heap

shared = use_one_heap()
c = ctypes.CDLL(None)
c.malloc.restype = ctypes.c_void_p
barrier = threading.Barrier(4)

def allocate():
    c.malloc(100_000)
    barrier.wait()

threads = [threading.Thread(target=allocate) for _ in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
return_freed_memory()
print(shared, flush=True)
c.malloc_info(0, ctypes.c_void_p.in_dll(c, "stdout"))
c.fflush(None)
"""


def output(program, **environment):
    """Return the output of a program in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def run(**environment):
    """Return whether memory is kept, and the page faults of a second array of 64 MiB."""
    kept, faults = output(_PAGES, **environment).split()
    return kept == "True", int(faults)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")
def test_freed_memory_is_used_again_without_page_faults():
    kept, faults = run()
    system, system_faults = run(**{VARIABLE: "system"})
    assert (kept, system) == (True, False)
    assert faults < 10 < system_faults


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")
def test_threads_share_one_heap():
    ours, system = output(_HEAPS), output(_HEAPS, **{VARIABLE: "system"})
    assert ours.startswith("True")
    assert system.startswith("False")
    assert ours.count("<heap nr=") == 1 < system.count("<heap nr=")


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")
def test_large_arrays_are_not_in_the_heap():
    assert output(_SEPARATE).split() == ["True", "0"]
    separate, grown = output(_SEPARATE, **{VARIABLE: "system"}).split()
    assert separate == "False"
    assert int(grown) > 2**23


def test_other_c_libraries_are_left_as_they_are(monkeypatch):
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    assert not keep_freed_memory()
    assert not use_one_heap()
    assert not separate_large_arrays()
    return_freed_memory()


def test_memory_of_a_peak_is_given_back_once_and_not_again_within_the_period(monkeypatch):
    now, given = [100.0], []
    monkeypatch.setattr(allocator.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(allocator, "return_freed_memory", lambda: given.append(now[0]))
    peaks = allocator.Peaks(period=10.0)
    for now[0], ends in ((100.0, False), (101.0, True), (102.0, False), (103.0, True)):
        if ends:
            peaks.note()
        peaks.give_back()
    assert given == [101.0]
    for now[0] in (110.9, 111.0, 130.0):
        peaks.give_back()
    assert given == [101.0, 111.0]
