# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
from minkowski_perception.checks.finding import fail, ok, table, warn


def test_the_table_is_aligned_and_remedies_can_be_copied():
    remedy = "sudo sysctl -w " + "net.core.rmem_max=33554432 " * 5

    lines = table(
        {
            "this machine": [ok("python", "3.11"), warn("socket buffers", "small", remedy)],
            "recording": [fail("unit", "word " * 40, "divide by 1000")],
        }
    ).splitlines()

    assert lines[0] == "this machine"
    assert {
        line.index(word) for line, word in zip(lines[1:3], ("3.11", "small"), strict=True)
    } == {24}
    assert lines[3] == " " * 24 + f"-> {remedy}"
    assert all(len(line) <= 100 for line in lines if remedy not in line)
    assert lines[-1] == "1 failed, 1 warnings, 1 ok"
