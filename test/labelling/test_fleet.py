# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import errno
import json
import re
import shutil
import signal
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from cloud_messages import write_bag
from fake_segmenters import HeightSegmenter
from small_recipes import write_sequences

from minkowski_perception.codec import encode_frame
from minkowski_perception.commands import label
from minkowski_perception.commands.main import main
from minkowski_perception.lab.datasets.catalogue import open_dataset
from minkowski_perception.labelling import labeller, progress, workers
from minkowski_perception.labelling.labeller import Labeller
from minkowski_perception.labelling.outcome import attempt
from minkowski_perception.labelling.topics import LABELLED_TOPIC
from minkowski_perception.labelling.watch import Watch
from minkowski_perception.recordings.bags import BagReader, BagWriter


class Interrupting(HeightSegmenter):
    """Signals this process at its third cloud."""

    number = signal.SIGTERM

    def segment(self, frame):
        if len(self.seen) == 2:
            signal.raise_signal(self.number)
        return super().segment(frame)


def run_here(work, recordings, stop, show, *, jobs):
    """Label in this process, as `run_on_processes` does in others."""
    labeller = Labeller(work)
    for recording in recordings:
        show([recording])
        outcome = attempt(labeller, recording, Watch(stop))
        yield outcome
        if outcome.disk_full or stop():
            return


@pytest.fixture
def bags(tmp_path):
    folder = tmp_path / "bags"
    for name in ("a", "b", "deep/c"):
        write_bag(folder / name, number=4)
    return folder


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run the command `label` with a fake segmenter, in this process."""
    monkeypatch.setattr(workers, "run_on_processes", run_here)

    def run(*arguments, segmenter=HeightSegmenter):
        monkeypatch.setattr(label, "load_segmenter", lambda settings: segmenter())
        return main(["label", *map(str, arguments), "--out", str(tmp_path / "out")])

    return run


def batch_of(folder):
    content = json.loads((folder / "batch.json").read_text())
    return content, {each["name"]: each for each in content["recordings"]}


def test_recordings_of_a_folder_are_labelled_and_one_that_fails_harms_no_other(
    bags, run, tmp_path, capsys
):
    (bags / "bad.mcap").write_bytes(b"nothing")
    assert run(bags) == 1

    out, err = capsys.readouterr()
    assert re.search(r"^bad +failed$", out, re.MULTILINE)
    assert re.search(r"^deep/c +labelled +4 +0 +0.0% +road \d+%, car \d+%$", out, re.MULTILINE)
    assert re.search(r"label: bad: failed: cannot read bag .*neither MCAP", err)
    assert "4 recordings: 3 labelled, 1 failed" in err
    content, found = batch_of(tmp_path / "out")
    assert (content["counts"], content["stopped"]) == ({"labelled": 3, "failed": 1}, False)
    assert found["deep/c"]["summary"]["labelled"] == 4
    assert (found["deep/c"]["folder"], found["bad"]["summary"]) == ("deep/c", None)
    for name in ("a", "b", "deep/c"):
        with BagReader(tmp_path / "out" / name / "labelled") as bag:
            assert bag.cloud_topics() == {LABELLED_TOPIC: 4}


def test_what_is_finished_is_skipped_until_settings_differ(bags, run, tmp_path, capsys):
    assert run(bags, "--export", "ply") == 0
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.mcap")}
    write_bag(bags / "new", number=2)
    assert run(bags, "--export", "ply", "--threads", 1) == 0
    content, _ = batch_of(tmp_path / "out")
    assert content["counts"] == {"labelled before": 3, "labelled": 1}
    assert {path: path.stat().st_mtime_ns for path in before} == before
    capsys.readouterr()

    assert run(bags, "--export", "ply", "--averaging", 1) == 1
    _, err = capsys.readouterr()
    assert err.count("already has results of other settings (averaging); remove it") == 4


def test_a_batch_stops_on_a_signal_and_goes_on_later(bags, run, tmp_path, capsys):
    assert run(bags, segmenter=Interrupting) == 128 + signal.SIGTERM
    _, err = capsys.readouterr()
    assert "a: stopped: stopped after 3 of 4 clouds" in err
    assert "stopped after 0 of 3 recordings: 1 stopped, 2 not begun; the same command" in err
    content, found = batch_of(tmp_path / "out")
    assert (content["stopped"], found["b"]["status"]) == (True, "not begun")
    [unfinished] = (tmp_path / "out" / "a").iterdir()
    state = json.loads((unfinished / "state.json").read_text())
    assert (state["done"], state["total"]) == (3, 4)
    with BagReader(unfinished / "labelled") as bag:  # closed, so it can be used
        assert bag.cloud_topics() == {LABELLED_TOPIC: 3}

    assert run(bags) == 0
    assert batch_of(tmp_path / "out")[0]["counts"] == {"labelled": 3}
    names = sorted(path.name for path in (tmp_path / "out" / "a").iterdir())
    assert names == ["labelled", "summary.json"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_one_recording_stops_on_a_signal_and_is_labelled_later(
    bags, run, tmp_path, capsys, number
):
    before = signal.getsignal(number)
    segmenter = type("Other", (Interrupting,), {"number": number})
    assert run(bags / "a", segmenter=segmenter) == 128 + number
    assert signal.getsignal(number) == before
    assert "label: stopped after 3 of 4 clouds; the same command" in capsys.readouterr().err
    assert not (tmp_path / "out" / "summary.json").exists()
    assert run(bags / "a") == 0
    assert "goes on after 3 clouds" in capsys.readouterr().err
    with BagReader(tmp_path / "out" / "labelled") as bag:
        assert bag.cloud_topics() == {LABELLED_TOPIC: 4}


@pytest.mark.parametrize("path", ["a", "."])
def test_a_full_disk_is_said_and_the_work_goes_on_later(bags, run, tmp_path, capsys, path):
    write_cloud = BagWriter.write_cloud

    def fill(self, topic, cloud, stamp, frame_id, latched=False):
        if stamp % 10**9 >= 2 * 10**8:
            raise OSError(errno.ENOSPC, "No space left on device")
        write_cloud(self, topic, cloud, stamp, frame_id, latched)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(BagWriter, "write_cloud", fill)
        assert run(bags / path) == 1
    err = capsys.readouterr().err
    assert re.search(r"no space is left for .*out.* after 2 of 4 clouds", err)
    folder = tmp_path / "out" / ("" if path == "a" else "a")
    [unfinished] = [p for p in folder.iterdir() if p.name.startswith("unfinished")]
    assert [p.name for p in unfinished.iterdir()] == ["state.json"]
    if path == ".":
        assert "stopped after 0 of 3 recordings: 1 stopped, 2 not begun" in err
    assert run(bags / path) == 0


@pytest.mark.parametrize("path", ["a", "."])
def test_a_nearly_full_disk_stops_the_work_which_goes_on_later(bags, run, tmp_path, capsys, path):
    free = iter([10**12, 1000])
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(
            labeller.shutil, "disk_usage", lambda path: SimpleNamespace(free=next(free))
        )
        assert run(bags / path) == 1
    err = capsys.readouterr().err
    assert re.search(r"little space is left for .*out.*: stopped after 2 of 4 clouds", err)
    assert run(bags / path) == 0
    assert path == "." or "goes on after 2 clouds" in capsys.readouterr().err


def test_the_overview_shows_classes_reports_and_errors(bags, run, tmp_path):
    (bags / "<bad>.mcap").write_bytes(b"nothing")
    run(bags)
    (tmp_path / "out" / "b" / "report.html").touch()
    run(bags)
    page = (tmp_path / "out" / "batch.html").read_text()
    assert page.count("<tr") == 5
    assert '<a href="deep/c/">deep/c</a>' in page
    assert page.count('<i style="background: rgb(255, 0, 255)"></i>road') == 3
    assert re.findall(r'<a href="([^"]+)">report</a>', page) == ["b/report.html"]
    assert "&lt;bad&gt;" in page
    assert "<bad>" not in page


def test_a_log_gets_lines_of_progress(bags, run, capsys, monkeypatch):
    monkeypatch.setattr(progress, "_LINE", 0.0)
    run(bags / "a")
    err = capsys.readouterr().err
    assert "\r" not in err
    lines = [line for line in err.splitlines() if line.startswith("labelling: ")]
    assert re.fullmatch(r"labelling: 4 of 4 clouds, \S+ clouds/s, 0 s left", lines[-1])
    run(bags, "--frames", 1)
    lines = capsys.readouterr().err.splitlines()
    assert any(line.startswith("labelling: 0 of 3 recordings; a begins") for line in lines)


def test_pictures_and_maps_are_in_the_folder_of_each_recording(bags, run, tmp_path, capsys):
    pytest.importorskip("matplotlib", reason="needs matplotlib for pictures")
    assert run(bags / "b*", "--pictures", 1, "--frames", 1) == 0
    assert [path.name for path in (tmp_path / "out" / "b").glob("*.png")] == ["cloud_0001.png"]
    assert run(bags, "--map", "maps/map.ply") == 2
    assert "give the file's name only, such as --map map.ply" in capsys.readouterr().err


def test_sequences_of_a_data_set_are_recordings(run, tmp_path):
    write_sequences(tmp_path / "data", frames=2)
    names = sorted(path.name for path in (tmp_path / "data" / "sequences").iterdir())
    assert len(names) > 1
    assert run(tmp_path / "data", "--dataset", "semantickitti") == 0
    _, found = batch_of(tmp_path / "out")
    assert sorted(found) == names
    assert all(each["summary"]["miou"] is not None for each in found.values())


def test_the_label_set_of_true_labels_is_known_or_doubted(run, tmp_path, capsys):
    write_sequences(tmp_path / "data", frames=2)
    [frame, *_] = open_dataset("semantickitti", tmp_path / "data").sequences["00"]
    wrong = replace(frame, labels=np.full(len(frame), 18, np.uint8))
    with BagWriter(tmp_path / "bag") as bag:
        bag.write_cloud("/points", encode_frame(wrong, "true_label"), frame.stamp, "lidar")
    assert run(tmp_path / "bag") == 0
    doubt = r"field 'true_label' \(mIoU 0.000\), .* 'semantickitti19': .* with --true-label-set"
    assert re.search(doubt, capsys.readouterr().err)
    shutil.rmtree(tmp_path / "out")
    (tmp_path / "simulation.yaml").write_text("labels: indoor8\n")
    assert run(tmp_path / "bag") == 2
    assert "no mapping from label set 'semantickitti19' to 'indoor8'" in capsys.readouterr().err
    assert run(tmp_path / "bag", "--true-label-set", "semantickitti19") == 0


class OwnClasses(HeightSegmenter):
    """Has classes that nothing maps to those of the true labels."""

    label_set = replace(HeightSegmenter.label_set, name="site")


def test_true_labels_of_unrelated_classes_can_be_ignored(run, tmp_path, capsys):
    write_sequences(tmp_path / "data", frames=2)
    [frame, *_] = open_dataset("semantickitti", tmp_path / "data").sequences["00"]
    with BagWriter(tmp_path / "bag") as bag:
        bag.write_cloud("/points", encode_frame(frame, "truth"), frame.stamp, frame.frame_id)
    one = (tmp_path / "bag", "--true-label-field")
    sequence = (tmp_path / "data", "--dataset", "semantickitti", "--topic", "00")

    assert run(*one, "truth", segmenter=OwnClasses) == 2
    assert re.search(
        "true labels in field 'truth': no mapping from label set 'site' to 'semantickitti19'.*; "
        "give their label set with --true-label-set, or ignore them with --true-label-field ''$",
        capsys.readouterr().err.strip(),
    )
    assert run(*sequence, segmenter=OwnClasses) == 2
    assert re.search(
        "true labels in data set 'semantickitti': no mapping .*; ignore them with --true-label-fi",
        capsys.readouterr().err,
    )
    assert run(*one, "", segmenter=OwnClasses) == 0
    shutil.rmtree(tmp_path / "out")
    assert run(*sequence, "--true-label-field", "", segmenter=OwnClasses) == 0


def test_the_summary_says_what_the_labels_mean_and_were_made_with(bags, run, tmp_path):
    assert run(bags / "a", "--every", 2) == 0
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["classes"][0] == {"id": 0, "name": "car", "colour": [100, 150, 245]}
    assert summary["made_with"]["every"] == 2
    assert len(summary["made_with"]["weights"]) == 64
    assert summary["command"].startswith("minkowski-perception label ")
    assert summary["received"] == 2
