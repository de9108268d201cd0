# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Files that a crash leaves whole, and files that are not what their name says."""

from __future__ import annotations

import os
from pathlib import Path

_OTHERS = {
    b"version https://git-lfs": (
        "is a Git LFS pointer instead of the file itself; run 'git lfs pull' where it is from"
    ),
    b"<!doctype html": "is a web page; download the file that the page links to",
    b"<html": "is a web page; download the file that the page links to",
}
"""By its first bytes: files that people find in place of the real one."""


def what_instead(start: bytes) -> str | None:
    """Return what a file is that stands in place of the real one, and the remedy.

    Args:
        start: its first 100 bytes.
    """
    begins = start.lstrip().lower()
    return next((what for mark, what in _OTHERS.items() if begins.startswith(mark)), None)


def write_whole(path: Path, data: bytes) -> None:
    """Write or replace a file; after a crash it is the old one or the new one.

    Raises:
        OSError: the file cannot be written.
    """
    unfinished = path.with_name(f".{path.name}.unfinished")
    with unfinished.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    rename(unfinished, path)


def rename(source: Path, target: Path) -> None:
    """Rename a file within its folder, on the disk too, replacing another one.

    Raises:
        OSError: the file cannot be renamed.
    """
    source.replace(target)
    _sync(target.parent)


def sync(path: Path) -> None:
    """Write a file, or a folder with all that is in it, to the disk.

    Raises:
        OSError: it cannot be written.
    """
    for each in path.rglob("*"):
        _sync(each)
    _sync(path)


def _sync(path: Path) -> None:
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
