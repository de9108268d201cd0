# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Outcomes of a batch as a table, JSON and HTML."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

import minkowski_perception
from minkowski_perception.files import write_whole
from minkowski_perception.labelling.folder import BATCH_HTML, BATCH_JSON, REPORT
from minkowski_perception.labelling.labeller import Recording
from minkowski_perception.labelling.outcome import Outcome, Status

_HEADS = ("recording", "status", "clouds", "dropped", "unlabelled", "mIoU", "classes")
_CLASSES = 3
"""Commonest classes that a row names."""

_STYLE = """
body { font: 15px/1.4 system-ui, sans-serif; margin: 2em auto; max-width: 80em; color: #1f2328; }
table { border-collapse: collapse; width: 100%; }
th, td { border-bottom: 1px solid #d0d7de; padding: .35em .7em; text-align: left; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; }
i { display: inline-block; width: .8em; height: .8em; border-radius: .2em; margin-right: .3em; }
.failed, .stopped { color: #b42318; }
"""


class Batch:
    """Recordings and what became of them.

    Args:
        recordings: all of them.
        command_line: that labels them.
    """

    def __init__(self, recordings: Sequence[Recording], command_line: str) -> None:
        self._recordings = recordings
        self._command_line = command_line
        self._outcomes: dict[str, Outcome] = {}

    def add(self, outcome: Outcome) -> None:
        """Take the outcome of a recording."""
        self._outcomes[outcome.recording.name] = outcome

    @property
    def outcomes(self) -> list[Outcome]:
        """One for each recording, in their order."""
        return [self._outcomes.get(r.name, Outcome(r, Status.WAITING)) for r in self._recordings]

    @property
    def done(self) -> int:
        """Number of recordings that need no more work."""
        return sum(o.status not in (Status.STOPPED, Status.WAITING) for o in self.outcomes)

    @property
    def stopped(self) -> bool:
        """Whether recordings are left to label."""
        return self.done < len(self._recordings)

    def counts(self) -> dict[str, int]:
        """Return the number of recordings by status."""
        found = Counter(outcome.status for outcome in self.outcomes)
        return {status.value: found[status] for status in Status if found[status]}

    def closing(self) -> str:
        """Return in a line how the batch ended."""
        total = len(self._recordings)
        counts = ", ".join(f"{number} {status}" for status, number in self.counts().items())
        if not self.stopped:
            return f"{total} recordings: {counts}"
        return (
            f"stopped after {self.done} of {total} recordings: {counts}; the same command goes on"
        )

    def table(self) -> str:
        """Return a line for each recording."""
        rows = [_HEADS, *map(_cells, self.outcomes)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return "\n".join(
            "  ".join(
                cell.rjust(width) if 2 <= i <= 5 else cell.ljust(width)
                for i, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in rows
        )

    def save(self, folder: Path) -> None:
        """Write the outcomes as JSON and as HTML.

        Raises:
            OSError: the files cannot be written.
        """
        content = {
            "version": minkowski_perception.__version__,
            "command": self._command_line,
            "saved": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "stopped": self.stopped,
            "counts": self.counts(),
            "recordings": [_entry(outcome, folder) for outcome in self.outcomes],
        }
        write_whole(folder / BATCH_JSON, (json.dumps(content, indent=2) + "\n").encode())
        write_whole(folder / BATCH_HTML, self._html(folder).encode())

    def _html(self, folder: Path) -> str:
        head = "".join(f"<th{_side(i)}>{name}</th>" for i, name in enumerate((*_HEADS, "")))
        rows = "\n".join(_row(outcome, folder) for outcome in self.outcomes)
        return (
            '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n'
            f"<title>{escape(folder.name)}</title>\n<style>{_STYLE}</style>\n"
            f"<h1>{escape(folder.name)}</h1>\n<p>{escape(self.closing())}</p>\n"
            f"<table>\n<tr>{head}</tr>\n{rows}\n</table>\n"
            f"<p><code>{escape(self._command_line)}</code></p>\n</html>\n"
        )


def _cells(outcome: Outcome) -> tuple[str, ...]:
    """Return name, status, clouds, dropped, share without label, mIoU and commonest classes."""
    name, status, summary = outcome.recording.name, outcome.status.value, outcome.summary
    if summary is None:
        return name, status, "", "", "", "", ""
    miou = "" if summary["miou"] is None else f"{summary['miou']:.3f}"
    return (
        name,
        status,
        str(summary["labelled"]),
        str(sum(summary["dropped"].values())),
        f"{summary['label_shares'].get('unlabelled', 0.0):.1%}",
        miou,
        ", ".join(f"{name} {share:.0%}" for name, share in _commonest(summary)),
    )


def _commonest(summary: Mapping[str, Any]) -> list[tuple[str, float]]:
    shares = summary["label_shares"].items()
    return [(name, share) for name, share in shares if name != "unlabelled"][:_CLASSES]


def _entry(outcome: Outcome, folder: Path) -> dict[str, Any]:
    """Return an outcome as JSON, with the figures of its summary."""
    left_out = ("made_with", "command", "classes", "version", "warnings")
    figures = {k: v for k, v in (outcome.summary or {}).items() if k not in left_out}
    return {
        "name": outcome.recording.name,
        "recording": str(outcome.recording.path),
        "folder": os.path.relpath(outcome.recording.out, folder),
        "status": outcome.status.value,
        "message": outcome.message,
        "warnings": (outcome.summary or {}).get("warnings") or list(outcome.warnings),
        "summary": figures or None,
    }


def _row(outcome: Outcome, folder: Path) -> str:
    name, status, *numbers, _ = _cells(outcome)
    where = os.path.relpath(outcome.recording.out, folder)
    cells = [escape(name), escape(status), *numbers, "", ""]
    if outcome.summary is not None:
        colours = {each["name"]: each["colour"] for each in outcome.summary["classes"]}
        cells[0] = f'<a href="{quote(where)}/">{escape(name)}</a>'
        cells[-2] = " &nbsp; ".join(
            f'<i style="background: rgb{tuple(colours[name])}"></i>{escape(name)} {share:.0%}'
            for name, share in _commonest(outcome.summary)
        )
    if outcome.message:
        cells[-2] = escape(outcome.message)
    if (outcome.recording.out / REPORT).exists():
        cells[-1] = f'<a href="{quote(where)}/{REPORT}">report</a>'
    kind = status.split()[0]
    return (
        f'<tr class="{kind}">'
        + "".join(f"<td{_side(i)}>{cell}</td>" for i, cell in enumerate(cells))
        + "</tr>"
    )


def _side(column: int) -> str:
    return ' class="number"' if 2 <= column <= 5 else ""
