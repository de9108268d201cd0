# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Snippets of the documentation: code blocks, and commands in the text."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("docs/**/*.md"))]

_FENCE = re.compile(
    r"^```(\w*)\n(.*?)^```$|`((?:minkowski-perception|make|pip|ros2) [^`]+)`", re.S | re.M
)


@dataclass(frozen=True)
class Snippet:
    """A code block, or a command in the text.

    Attributes:
        language: of the block; "inline" for a command in the text.
        text: its content.
        place: page and line, for errors.
    """

    language: str
    text: str
    place: str

    @property
    def commands(self) -> list[list[str]]:
        """Words of each shell command, in order."""
        if self.language == "inline":
            return [shlex.split(self.text)]
        if self.language not in ("bash", "sh"):
            return []
        lines = self.text.replace("\\\n", " ").splitlines()
        found = [shlex.split(part, comments=True) for line in lines for part in line.split("&&")]
        return [words for words in found if words]


def snippets(page: Path) -> list[Snippet]:
    """Return the snippets of a page in order."""
    text = page.read_text()
    found = []
    for match in _FENCE.finditer(text):
        language, block, command = match.groups()
        line = text.count("\n", 0, match.start()) + 1
        found.append(
            Snippet(
                "inline" if command else language,
                command or block,
                f"{page.relative_to(ROOT)}:{line}",
            )
        )
    return found
