# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Findings of a check, and their table for people."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "warn", "fail"]

_WIDTH = 100
"""Columns of text; remedies are not wrapped, so that commands can be copied."""


@dataclass(frozen=True)
class Finding:
    """Result of one check.

    Attributes:
        name: of what was checked.
        state: "ok"; "warn" if labels can be worse or later than they need to be; "fail" if
            something does not work.
        found: in words.
        remedy: command or action that mends it; "" if nothing is wrong.
    """

    name: str
    state: State
    found: str
    remedy: str = ""


Sections = Mapping[str, Sequence[Finding]]
"""Findings by what was looked at."""


def ok(name: str, found: str) -> Finding:
    """Return a finding with nothing wrong."""
    return Finding(name, "ok", found)


def warn(name: str, found: str, remedy: str) -> Finding:
    """Return a finding of state "warn"."""
    return Finding(name, "warn", found, remedy)


def fail(name: str, found: str, remedy: str) -> Finding:
    """Return a finding of state "fail"."""
    return Finding(name, "fail", found, remedy)


def count(findings: Iterable[Finding], state: State) -> int:
    """Return the number of findings of a state."""
    return sum(finding.state == state for finding in findings)


def table(sections: Sections) -> str:
    """Return all findings as aligned lines, each remedy below its finding, and a last line."""
    findings = [finding for section in sections.values() for finding in section]
    name_width = max((len(finding.name) for finding in findings), default=0)
    indent = " " * (name_width + 10)
    lines: list[str] = []
    for title, section in sections.items():
        lines += [title]
        for finding in section:
            head = f"  {finding.state:<4}  {finding.name:<{name_width}}  "
            lines += wrapped(head, finding.found)
            if finding.remedy:
                lines.append(f"{indent}-> {finding.remedy}")
        lines.append("")
    failed, warned = count(findings, "fail"), count(findings, "warn")
    lines.append(f"{failed} failed, {warned} warnings, {len(findings) - failed - warned} ok")
    return "\n".join(lines)


def wrapped(head: str, text: str) -> list[str]:
    """Return a text as lines beside a head, which the first line begins with."""
    return textwrap.wrap(
        head + " ".join(text.split()),
        _WIDTH,
        subsequent_indent=" " * len(head),
        break_long_words=False,
        break_on_hyphens=False,
    )
