# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Writes a report into one HTML file that needs no other file and no network.

A content security policy lets a browser run the page's own script and nothing else. Names of files
and classes, which others chose, are escaped.
"""

from __future__ import annotations

import base64
import hashlib
import json
import string
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from importlib import resources
from pathlib import Path

from minkowski_perception.files import write_whole
from minkowski_perception.report.collector import Collector
from minkowski_perception.report.payload import Content, Voxels, content

_SCRIPTS = ("scene.js", "charts.js", "page.js")


@dataclass(frozen=True)
class Bar:
    """A cell with a share, from 0 to 1, as text and as a bar of a colour."""

    share: float
    text: str
    colour: tuple[int, int, int]


Cell = str | Bar


@dataclass(frozen=True)
class Table:
    """A section of the page.

    Attributes:
        title: of the section.
        rows: cells of each row; a row names what it is about in its first cell.
        heads: of the columns; none for a list of names and values.
        note: a sentence above the rows.
    """

    title: str
    rows: Sequence[Sequence[Cell]]
    heads: Sequence[str] = ()
    note: str = ""


@dataclass(frozen=True)
class Page:
    """What a report says.

    Attributes:
        title: what was labelled or evaluated.
        subtitle: by what.
        figures: the main ones, each with its name.
        tables: in the order of the page.
        collector: of the run.
        voxels: of its map; None without one.
        follows: see `content`.
    """

    title: str
    subtitle: str
    figures: Sequence[tuple[str, str]]
    tables: Sequence[Table]
    collector: Collector
    voxels: Voxels | None = None
    follows: bool = True


def write_page(path: Path, page: Page) -> None:
    """Write a report; missing folders are created.

    Raises:
        OSError: the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, _html(page).encode())


def _html(page: Page) -> str:
    found = content(page.collector, page.voxels, follows=page.follows)
    style = _resource("page.css")
    script = "".join(_resource(name) for name in _SCRIPTS)
    policy = (
        f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; "
        "base-uri 'none'; form-action 'none'"
    )
    return string.Template(_resource("page.html")).substitute(
        policy=policy,
        style=style,
        script=script,
        title=escape(page.title),
        subtitle=escape(page.subtitle),
        figures="".join(
            f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>"
            for name, value in page.figures
        ),
        shown=escape(_shown(found, page)),
        tables="".join(map(_section, page.tables)),
        description=_json(found),
        points=base64.b64encode(found.points).decode(),
    )


def _shown(found: Content, page: Page) -> str:
    """Return a sentence about what is shown of the run, and what was left out."""
    which = f"{found.shown:,} of {found.labelled:,} clouds"
    if not page.follows:
        which = f"the {found.shown:,} worst of {found.labelled:,} frames"
    share = found.shown_points / max(found.points_of_shown, 1)
    text = (
        f"Shown: {which}, with {found.shown_points:,} of their {found.points_of_shown:,} points "
        f"({share:.0%})"
    )
    if found.shown_points < found.points_of_shown:
        text += ", fewer close to the sensor, where points are dense"
    text += "."
    if (voxels := found.description["map"]) is not None:
        text += f" Map: {voxels['shown']:,} of {voxels['points']:,} voxels."
    return text + " All figures are those of all clouds and points."


def _json(found: Content) -> str:
    """Return the description as JSON that cannot end the element that it is in."""
    text = json.dumps(found.description, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c")


def _section(table: Table) -> str:
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in table.heads)
    rows = "".join(
        f'<tr><th scope="row">{_cell(first)}</th>'
        f"{''.join(f'<td>{_cell(cell)}</td>' for cell in rest)}</tr>"
        for first, *rest in table.rows
    )
    kind = "" if head else ' class="pairs"'
    parts = [
        f"<h2>{escape(table.title)}</h2>",
        f"<p>{escape(table.note)}</p>" if table.note else "",
        f'<div class="scrolled"><table{kind}>' if rows else "",
        f"<thead><tr>{head}</tr></thead>" if rows and head else "",
        f"<tbody>{rows}</tbody></table></div>" if rows else "",
    ]
    return f'<section class="card">{"".join(parts)}</section>'


def _cell(cell: Cell) -> str:
    if isinstance(cell, str):
        return escape(cell)
    colour = ",".join(map(str, cell.colour))
    return (
        f'<svg class="bar" aria-hidden="true"><rect width="{cell.share:.2%}" height="100%" '
        f'fill="rgb({colour})"/></svg>{escape(cell.text)}'
    )


def _resource(name: str) -> str:
    return resources.files(__package__).joinpath("assets", name).read_text("utf-8")


def _hash(text: str) -> str:
    """Return the source expression of an inline style or script."""
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return f"'sha256-{digest}'"
