# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import json

import pytest

from minkowski_perception.labelling.folder import FolderError, OutputFolder, State

MADE_WITH = {"model": "m", "averaging": 10}


def begin(folder):
    unfinished = folder.begin()
    (unfinished.path / "labelled").mkdir()
    (unfinished.path / "labelled" / "labelled.mcap").write_text("clouds")
    unfinished.note(State(3, 9))
    return unfinished


def test_results_have_their_names_only_when_all_are_there(tmp_path):
    folder = OutputFolder(tmp_path / "new" / "out")
    assert not folder.finished(MADE_WITH)
    unfinished = begin(folder)
    assert not folder.finished(MADE_WITH)
    assert folder.state() == State(3, 9)
    assert not (folder.path / "labelled").exists()

    unfinished.finish({"made_with": MADE_WITH})
    assert sorted(p.name for p in folder.path.iterdir()) == ["labelled", "summary.json"]
    assert (folder.path / "labelled" / "labelled.mcap").read_text() == "clouds"
    assert folder.finished(MADE_WITH)
    assert folder.state() is None


def test_a_run_that_was_cut_off_is_begun_again(tmp_path):
    folder = OutputFolder(tmp_path)
    unfinished = begin(folder)
    # Cut off between the renames and the summary.
    unfinished.note(State(9, 9, results=("labelled",)))
    (unfinished.path / "labelled").rename(tmp_path / "labelled")
    (tmp_path / "notes.txt").touch()
    assert not folder.finished(MADE_WITH)

    again = begin(folder)
    assert [p.name for p in tmp_path.iterdir() if p.is_dir()] == [again.path.name]
    assert (tmp_path / "notes.txt").exists()
    with pytest.raises(FileNotFoundError):  # a run that was taken for dead
        unfinished.finish({})
    assert not (tmp_path / "summary.json").exists()


def test_results_of_other_settings_are_not_overwritten(tmp_path):
    folder = OutputFolder(tmp_path)
    begin(folder).finish({"made_with": MADE_WITH})
    with pytest.raises(FolderError, match=r"results of other settings \(averaging, new\); remove"):
        folder.finished({"model": "m", "averaging": 1, "new": 2})
    (tmp_path / "summary.json").unlink()
    with pytest.raises(FolderError, match="labelled already exists; bags are not overwritten"):
        folder.finished(MADE_WITH)


def test_a_damaged_state_or_summary_counts_as_none(tmp_path):
    folder = OutputFolder(tmp_path)
    unfinished = begin(folder)
    (unfinished.path / "state.json").write_text("{")
    assert folder.state() == State()
    (tmp_path / "summary.json").write_text(json.dumps([]))
    assert folder.summary() is None
