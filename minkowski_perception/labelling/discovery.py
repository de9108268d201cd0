# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Recordings below paths: files, folders and patterns."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from minkowski_perception.recordings.bags import (
    BagError,
    BagReader,
    bag_suffix,
    is_bag_file,
)
from minkowski_perception.recordings.scan_files import is_scan, open_scans


class DiscoveryError(ValueError):
    """Paths lead to no recordings, or to some of several kinds."""


class Found(NamedTuple):
    """A recording, and its name: its path below the given one, without suffix."""

    name: str
    path: Path


def find_recordings(paths: Sequence[Path], out: Path) -> list[Found]:
    """Return the recordings of files, folders and patterns such as "drives/*.mcap".

    Args:
        paths: where to look; patterns may contain ** for folders of any depth.
        out: folder of the results, in which recordings are not looked for.

    Raises:
        DiscoveryError: a path has no recordings, or a folder has scans and bags.
    """
    found: dict[Path, Found] = {}
    out = out.resolve()
    for path in paths:
        recordings = list(_below(path, out))
        if not recordings:
            raise DiscoveryError(f"no recordings at {path}")
        for each in recordings:
            found.setdefault(each.path.resolve(), each)
    return _with_distinct_names(list(found.values()))


def _below(path: Path, out: Path) -> Iterator[Found]:
    if not path.exists() and glob.has_magic(str(path)):
        fixed = [part for part in path.parents if not glob.has_magic(str(part))]
        for match in sorted(glob.glob(str(path), recursive=True)):
            if out not in (Path(match).resolve(), *Path(match).resolve().parents):
                yield from _at(Path(match), fixed[0], out)
    elif not path.is_dir() or _is_recording(path) or _is_bag(path):
        yield Found(_without_suffix(path.resolve().name), path)
    else:
        yield from _in(path, path, out)


def _at(path: Path, base: Path, out: Path) -> Iterator[Found]:
    """Yield a recording, or those of a folder, named from a base."""
    recording = _is_recording(path) if path.is_dir() else is_bag_file(path) or is_scan(path)
    if recording:
        yield Found(_without_suffix(str(path.relative_to(base))), path)
    elif path.is_dir():
        yield from _in(path, base, out)


def _in(folder: Path, base: Path, out: Path) -> Iterator[Found]:
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.resolve() == out:
            continue
        if path.is_dir() or is_bag_file(path):
            yield from _at(path, base, out)


def _is_recording(folder: Path) -> bool:
    """Return whether a folder is one recording, and stays one if another is put beside it."""
    if (folder / "metadata.yaml").exists():
        return True
    try:
        if open_scans(folder) is not None:
            _check_scans_alone(folder)
            return True
    except BagError:  # scans of several formats
        return True
    parts = sum(map(is_bag_file, folder.iterdir()))
    return parts > 1 and _is_bag(folder)


def _check_scans_alone(folder: Path) -> None:
    """Check that a folder of scans has no bags, which would not be labelled.

    Raises:
        DiscoveryError: it has some.
    """
    bags = [p.name for p in folder.iterdir() if is_bag_file(p) or (p / "metadata.yaml").exists()]
    if bags:
        raise DiscoveryError(
            f"{folder} has scans and bags ({', '.join(sorted(bags))}): move the scans into a "
            "folder of their own, or name the bags"
        )


def _is_bag(path: Path) -> bool:
    """Return whether a path contains one bag."""
    try:
        BagReader(path)
    except BagError:
        return False
    return True


def _without_suffix(name: str) -> str:
    return name.removesuffix(bag_suffix(name))


def _with_distinct_names(found: Sequence[Found]) -> list[Found]:
    """Return recordings with the suffix, or with folders, in names that are the same without."""
    named = _with_suffixes(found)
    if not _repeated(named):
        return named
    paths = [each.path.resolve() for each in found]
    base = os.path.commonpath([path.parent for path in paths])
    below = (_without_suffix(str(path.relative_to(base))) for path in paths)
    return _with_suffixes([Found(*each) for each in zip(below, paths, strict=True)])


def _with_suffixes(found: Sequence[Found]) -> list[Found]:
    """Return recordings with the suffix in names that are the same without."""
    repeated = _repeated(found)
    return [
        Found(each.name + each.path.name.removeprefix(Path(each.name).name), each.path)
        if each.name in repeated
        else each
        for each in found
    ]


def _repeated(found: Iterable[Found]) -> set[str]:
    counts = Counter(each.name for each in found)
    return {name for name, count in counts.items() if count > 1}
