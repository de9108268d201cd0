# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Logs of the player, and diagnostics of the node, from the playback of a bag."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from minkowski_perception.recordings.bags import BagReader

DIAGNOSTICS = "/diagnostics"


class Played(NamedTuple):
    """Times in seconds, of one clock, at which a cloud was published and its answer arrived.

    The stamp is that of the cloud, in nanoseconds.
    """

    published: float
    answered: float
    stamp: int


def read_playback(path: Path) -> list[Played]:
    """Read the player's log, maybe still incomplete; `answered` is NaN without an answer."""
    if not path.exists():
        return []
    with open(path, newline="") as file:
        return [
            Played(
                _seconds(row["published_ns"]), _seconds(row["answered_ns"]), int(row["stamp_ns"])
            )
            for row in csv.DictReader(file)
        ]


def _seconds(nanoseconds: str) -> float:
    return 1e-9 * float(nanoseconds or "nan")


def node_report(recording: BagReader) -> dict[str, str]:
    """Return the last value of each key in the node's recorded diagnostics."""
    from rosbags.typesys import Stores, get_typestore

    store = get_typestore(Stores.LATEST)
    values: dict[str, str] = {}
    for _, message_type, _, cdr in recording.raw([DIAGNOSTICS]):
        message: Any = store.deserialize_cdr(cdr, message_type)
        values.update((pair.key, pair.value) for pair in message.status[0].values)
    return values
