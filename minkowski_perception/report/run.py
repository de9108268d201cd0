# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The report of a run over a recording: what `Summary` says, beside the clouds."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path

from minkowski_perception import __version__
from minkowski_perception.accounting import DropReason
from minkowski_perception.labels import UNLABELLED_COLOUR
from minkowski_perception.report.collector import Collector
from minkowski_perception.report.page import Bar, Cell, Page, Table, write_page
from minkowski_perception.report.payload import Voxels
from minkowski_perception.summary import Summary


def write_run(
    path: Path,
    summary: Summary,
    collector: Collector,
    card: Mapping[str, str],
    sha256: str | None,
    command: str,
    voxels: Voxels | None = None,
) -> None:
    """Write the report of a run.

    Args:
        path: of the HTML file.
        summary: of the run.
        collector: that saw its clouds.
        card: facts about the model, by name.
        sha256: digest of the model's weights; None if it is unknown.
        command: line that began the run.
        voxels: of its map; None without one.

    Raises:
        OSError: the file cannot be written.
    """
    tables = [
        _classes(summary, collector),
        _dropped(summary, collector),
        Table("Model", list(card.items())),
        provenance(
            sha256,
            command,
            {
                "recording": summary.bag,
                "topic": summary.topic,
                "device": summary.device,
                "engine": summary.engine,
                "ego motion": f"{summary.ego_motion}: {summary.ego_motion_reason}",
            },
            datetime.now(timezone.utc).isoformat(timespec="seconds"),
        ),
    ]
    page = Page(
        title=Path(summary.bag).name,
        subtitle=f"{summary.topic}, labelled by {summary.model}",
        figures=_figures(summary),
        tables=tables,
        collector=collector,
        voxels=voxels,
        follows=True,
    )
    write_page(path, page)


def provenance(sha256: str | None, command: str, how: Mapping[str, str], date: str) -> Table:
    """Return the section that says where a report comes from.

    Args:
        sha256: digest of the model's weights; None if it is unknown.
        command: line that began the run.
        how: further facts by name; empty ones are left out.
        date: of the run, in ISO 8601.
    """
    rows = {
        **how,
        "weights": "of unknown hash" if sha256 is None else f"sha256 {sha256}",
        "version": f"minkowski_perception {__version__}",
        "command": command,
        "date": date,
    }
    return Table("Provenance", [(name, value) for name, value in rows.items() if value])


def _figures(summary: Summary) -> list[tuple[str, str]]:
    found = [("clouds labelled", f"{summary.labelled:,} of {summary.received:,}")]
    if summary.latency_ms:
        found.append(("median latency", f"{summary.latency_ms['median']:.0f} ms"))
        found.append(("99th percentile", f"{summary.latency_ms['p99']:.0f} ms"))
    found.append(("points per second", f"{summary.points_per_second:,.0f}"))
    if summary.moving_share is not None:
        found.append(("points that move", f"{summary.moving_share:.1%}"))
    if summary.miou is not None:
        found.append((f"mIoU of {len(summary.iou)} classes", f"{summary.miou:.3f}"))
    return found


def _classes(summary: Summary, collector: Collector) -> Table:
    colours = dict(zip(collector.label_set.names, collector.label_set.colours, strict=True))
    if collector.truth_set is not None:
        truth = collector.truth_set
        colours = dict(zip(truth.names, truth.colours, strict=True)) | colours
    rows: list[list[Cell]] = []
    for name in dict.fromkeys([*summary.label_shares, *summary.iou]):
        share, iou = summary.label_shares.get(name), summary.iou.get(name)
        colour = colours.get(name, UNLABELLED_COLOUR)
        cells: list[Cell] = ["" if share is None else Bar(share, f"{share:.1%}", colour)]
        if summary.iou:
            cells.append("" if iou is None else Bar(iou, f"{iou:.3f}", colour))
        rows.append([name, *cells])
    heads = ["class", "share of the points", *(["IoU"] if summary.iou else [])]
    return Table("Classes", rows, heads)


def _dropped(summary: Summary, collector: Collector) -> Table:
    heads = ("reason", "clouds", "what it means", "the first of them")
    rows = [
        (
            reason.value.replace("_", " "),
            f"{summary.dropped[reason.value]:,}",
            reason.meaning,
            collector.causes.get(reason, ""),
        )
        for reason in DropReason
        if reason.value in summary.dropped
    ]
    if summary.pending:
        lost = "neither labelled nor dropped when the run ended"
        rows.append(("pending", f"{summary.pending:,}", lost, ""))
    accounts = (
        f"{summary.received:,} received = {summary.labelled:,} labelled + "
        f"{sum(summary.dropped.values()):,} dropped + {summary.pending:,} pending."
    )
    return Table("Clouds without labels", rows, heads, accounts)
