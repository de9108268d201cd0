# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The output folder of a recording: results have their names only when all are whole.

Results are written into a folder unfinished-* beside. At the end they are synced and moved out of
it; the summary comes last. So a folder with a summary is finished, and a folder with
unfinished-* is not: its state.json counts the clouds that were processed.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minkowski_perception.files import rename, sync, write_whole

SUMMARY = "summary.json"
BAG = "labelled"
REPORT = "report.html"
BATCH_JSON, BATCH_HTML = "batch.json", "batch.html"
"""Files of a batch, beside the folders of its recordings."""
MEMORY = "memory.safetensors"
"""In the folder of a run that was stopped and can go on; see `stopped_run`."""
_STATE = "state.json"
_UNFINISHED = "unfinished-"


class FolderError(ValueError):
    """A folder has results that are not overwritten."""


@dataclass(frozen=True)
class State:
    """Progress of an unfinished run.

    Attributes:
        done: clouds that were processed.
        total: clouds to process, at most.
        reason: why it ended; "" while it goes on, or after the process was killed.
        results: names of the results that may have left the folder of the unfinished run.
    """

    done: int = 0
    total: int = 0
    reason: str = ""
    results: tuple[str, ...] = ()


class OutputFolder:
    """Where the results of one recording go.

    Args:
        path: of the folder; need not exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def summary(self) -> dict[str, Any] | None:
        """Return the content of the summary; None if the folder is not finished."""
        try:
            content = json.loads((self.path / SUMMARY).read_bytes())
        except (OSError, ValueError):
            return None
        return content if isinstance(content, dict) else None

    def finished(self, made_with: Mapping[str, Any]) -> bool:
        """Return whether the folder has the results of a run.

        Args:
            made_with: all that the results depend on, as JSON.

        Raises:
            FolderError: it has results of another run.
        """
        summary = self.summary()
        if summary is not None:
            before = summary.get("made_with") or {}
            if before == made_with:
                return True
            keys = [k for k in {**before, **made_with} if before.get(k) != made_with.get(k)]
            raise FolderError(
                f"{self.path} already has results of other settings ({', '.join(keys)}); remove "
                "it, or choose another folder"
            )
        if (self.path / BAG).exists() and not self._unfinished():
            raise FolderError(f"{self.path / BAG} already exists; bags are not overwritten")
        return False

    def state(self) -> State | None:
        """Return the state of the unfinished run; None without one."""
        return next((_read_state(folder) for folder in self._unfinished()), None)

    def stopped(self) -> Path | None:
        """Return the folder of a run that was stopped and can go on; None without one."""
        return next((f for f in self._unfinished() if (f / MEMORY).exists()), None)

    def begin(self, keep: Path | None = None) -> Unfinished:
        """Remove the files of unfinished runs, and begin a new one.

        Args:
            keep: folder of the run that goes on.

        Raises:
            OSError: the folder cannot be written.
        """
        for folder in self._unfinished():
            if folder == keep:
                continue
            for name in _read_state(folder).results:
                _remove(self.path / name)
            shutil.rmtree(folder)
        self.path.mkdir(parents=True, exist_ok=True)
        # A new name each time: a run that seemed dead may go on, and must not write here.
        return Unfinished(self.path, Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=self.path)))

    def _unfinished(self) -> list[Path]:
        """Return the folders of unfinished runs; first the one that can go on."""
        folders = self.path.glob(f"{_UNFINISHED}*")
        return sorted(folders, key=lambda folder: (not (folder / MEMORY).exists(), folder))


class Unfinished:
    """A run that goes on.

    Attributes:
        path: folder for the results.
    """

    def __init__(self, target: Path, path: Path) -> None:
        self.path = path
        self._target = target
        self.path.chmod(0o755)

    def note(self, state: State) -> None:
        """Write the progress of the run.

        Raises:
            OSError: the disk is full, for example.
        """
        # No sync: it is written every few seconds.
        aside = self.path / f".{_STATE}"
        aside.write_text(json.dumps(vars(state)))
        aside.replace(self.path / _STATE)

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Sync the results, move them to their names, and write the summary.

        Raises:
            OSError: the disk is full, for example; the run stays unfinished.
        """
        results = sorted(p for p in self.path.iterdir() if not p.name.endswith(_STATE))
        for path in results:
            sync(path)
        self.note(State(results=tuple(path.name for path in results)))
        for path in results:
            rename(path, self._target / path.name)
        write_whole(self._target / SUMMARY, (json.dumps(summary, indent=2) + "\n").encode())
        shutil.rmtree(self.path)

    def discard(self) -> None:
        """Remove the run."""
        shutil.rmtree(self.path)

    def empty(self) -> None:
        """Remove the results, which are incomplete on a full disk."""
        for path in self.path.iterdir():
            if not path.name.endswith(_STATE):
                _remove(path)


def _read_state(folder: Path) -> State:
    try:
        content = json.loads((folder / _STATE).read_bytes())
        return State(**{**content, "results": tuple(content["results"])})
    except (OSError, ValueError, TypeError, KeyError):
        return State()


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
