# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The tables of docs/reliability.md name tests that exist."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "reliability.md").read_text()
TABLES = PAGE.partition("## Proof under load")[0]
ROWS = [line for line in TABLES.splitlines() if line.startswith("| ") and "| fault |" not in line]


def test_every_row_names_a_test_that_exists():
    tests = (ROOT / "test" / "node" / "test_reliability.py").read_text()
    assert len(ROWS) > 20
    for row in ROWS:
        cell = row.rstrip("| ").rpartition("|")[2]
        names = re.findall(r"`(test_\w+)", cell)
        files = re.findall(r"`(test/[\w/]+\.py)`", cell)
        assert names or files or "…" in cell, row
        assert all(f"def {name}(" in tests for name in names), row
        assert all((ROOT / file).exists() for file in files), row


def test_every_fault_of_the_test_file_has_a_row():
    tests = (ROOT / "test" / "node" / "test_reliability.py").read_text()
    missing = [name for name in re.findall(r"^def (test_\w+)", tests, re.M) if name not in PAGE]
    assert not missing
