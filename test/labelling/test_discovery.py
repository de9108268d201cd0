# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from minkowski_perception.labelling.discovery import DiscoveryError, Found, find_recordings


@pytest.fixture
def drives(tmp_path):
    """Files of bags, a bag with metadata, a split bag, scans, and files that are no recordings."""
    root = tmp_path / "drives"
    for name in (
        "a.mcap",
        "a.bag",
        "b.db3.zstd",
        "._b.db3",
        "notes.txt",
        "full/metadata.yaml",
        "full/full_0.mcap",
        "north/split/s_0.mcap",
        "north/split/s_1.mcap",
        "north/c.mcap",
        "north/d.mcap",
        ".hidden/e.mcap",
        "out/a/labelled/labelled.mcap",
        "out/a/labelled/metadata.yaml",
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    (root / "scans").mkdir()
    np.save(root / "scans" / "1.npy", np.ones((5, 3)))
    np.save(root / "scans" / "2.npy", np.ones((5, 3)))
    return root


ALL = ["a.bag", "a.mcap", "b", "full", "north/c", "north/d", "north/split", "scans"]


def test_a_folder_is_searched_but_for_the_results(drives):
    found = find_recordings([drives], drives / "out")
    assert [each.name for each in found] == ALL
    assert found[0].path == drives / "a.bag"
    assert found[6].path == drives / "north" / "split"


def test_a_pattern_names_recordings_from_its_fixed_part(drives):
    found = find_recordings([drives / "**" / "*.mcap"], drives / "out")
    names = ["a", "full/full_0", "north/c", "north/d", "north/split/s_0", "north/split/s_1"]
    assert [each.name for each in found] == names
    [only] = find_recordings([drives / "n*" / "[c]*"], drives / "out")
    assert only == Found("north/c", drives / "north" / "c.mcap")


def test_files_are_taken_as_they_are_and_once(drives):
    files = [drives / "b.db3.zstd", drives / "north", drives / "north" / "d.mcap"]
    found = find_recordings(files, drives / "out")
    assert [each.name for each in found] == ["b", "c", "d", "split"]


def test_a_path_that_is_one_recording_is_found_alone(drives, tmp_path):
    for path in (drives / "full", drives / "scans", drives / "a.bag", tmp_path / "missing.bag"):
        assert [each.path for each in find_recordings([path], tmp_path / "out")] == [path]


def test_paths_without_recordings_are_refused(drives, tmp_path):
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "empty", drives / "*.pcapng"):
        with pytest.raises(DiscoveryError, match=f"no recordings at .*{path.name[-5:]}"):
            find_recordings([path], tmp_path / "out")


def test_recordings_of_one_name_get_the_names_of_their_folders(drives, tmp_path):
    (tmp_path / "a.bag").touch()
    paths = [tmp_path / "a.bag", drives / "a.bag", drives / "a.mcap", drives / "b.db3.zstd"]
    found = find_recordings(paths, tmp_path / "out")
    assert [each.name for each in found] == ["a", "drives/a.bag", "drives/a.mcap", "drives/b"]


def test_a_folder_of_scans_and_bags_is_refused(drives, tmp_path):
    (drives / "scans" / "c.mcap").touch()
    for path in (drives, drives / "scans"):
        with pytest.raises(DiscoveryError, match=r"scans has scans and bags \(c.mcap\)"):
            find_recordings([path], tmp_path / "out")
