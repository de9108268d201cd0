# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import hashlib
import json
import re
from datetime import datetime, timezone

import numpy as np
import pytest
from tiny_models import save_tiny

import minkowski_perception
from minkowski_perception.codec import encode_frame
from minkowski_perception.commands import evaluate
from minkowski_perception.commands.main import main
from minkowski_perception.frame import Frame
from minkowski_perception.lab.datasets.catalogue import open_dataset
from minkowski_perception.lab.evaluation import protocol
from minkowski_perception.labels import LabelSet
from minkowski_perception.metrics import ConfusionMatrix
from minkowski_perception.recordings.bags import BagWriter
from minkowski_perception.segmenter import Segmenter

RAW = (10, 40, 48, 50, 70, 72, 80, 0)
"""Raw ids of SemanticKITTI: seven classes, and unlabelled."""


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    save_tiny(folder / "tiny", dimension=4, kernel="causal")
    return folder / "tiny.yaml"


def write_kitti(root, name, frames=3, points=400, labels=True, poses=True):
    """Write a sequence of a still world, measured by a moving sensor."""
    draw = np.random.default_rng(int(name))
    folder = root / "sequences" / name
    (folder / "velodyne").mkdir(parents=True)
    (folder / "labels").mkdir()
    world = draw.uniform(-30, 30, (points, 3)) * [1, 1, 0.1]
    ids = draw.choice(RAW, points).astype("<u4")
    for i in range(frames):
        rows = np.column_stack([world - [0.5 * i, 0, 0], draw.random(points)]).astype("<f4")
        (folder / "velodyne" / f"{i:06d}.bin").write_bytes(rows.tobytes())
        if labels:
            (folder / "labels" / f"{i:06d}.label").write_bytes(ids.tobytes())
    if poses:
        lines = [f"1 0 0 {0.5 * i} 0 1 0 0 0 0 1 0" for i in range(frames)]
        (folder / "poses_lidar.txt").write_text("\n".join(lines) + "\n")
    return root


@pytest.fixture(scope="module")
def kitti(tmp_path_factory):
    root = tmp_path_factory.mktemp("kitti")
    write_kitti(root, "08")
    return write_kitti(root, "01", frames=2)


def run(*arguments, dataset="semantickitti"):
    return main(["evaluate", "--dataset", dataset, "--device", "cpu", *map(str, arguments)])


def test_figures_equal_those_of_the_labels_of_the_segmenter(kitti, model, tmp_path, capsys):
    report = tmp_path / "new" / "figures.json"
    assert run("--root", kitti, "--model", model, "--engine", "torch", "--json", report) == 0

    found = json.loads(report.read_text())
    kitti19, groups = LabelSet.load("semantickitti19"), LabelSet.load("outdoor_groups7")
    classes, coarse = ConfusionMatrix(19), ConfusionMatrix(7)
    segmenter = Segmenter.load(model, device="cpu", engine="torch", intensity_full_scale=1.0)
    to_group = groups.mapping_from(kitti19)
    points = 0
    for frames in open_dataset("semantickitti", kitti).sequences.values():
        segmenter.reset()
        for frame in frames:
            labels = segmenter.segment(frame).labels
            classes.update(frame.labels, labels)
            coarse.update(to_group[frame.labels], to_group[labels])
            points += len(frame)
    assert found["miou"] == pytest.approx(classes.miou)
    assert found["groups"]["miou"] == pytest.approx(coarse.miou)
    for key, matrix, names in (
        ("classes", classes, kitti19.names),
        ("groups", coarse, groups.names),
    ):
        expected = [None if np.isnan(iou) else pytest.approx(iou) for iou in matrix.iou]
        assert [found[key][name] for name in names] == expected
    assert found["points"] == points
    assert found["scored_points"] == classes.counts.sum() < points
    assert found["frames"] == 5
    assert found["sequences"] == ["01", "08"]
    assert found["flicker"]["compared_points"] > 500
    shown = capsys.readouterr().out
    assert re.search(rf"^mIoU +{classes.miou:.3f} ", shown, re.MULTILINE)


def test_two_models_are_compared_with_paired_intervals(kitti, model, tmp_path, capsys):
    report = tmp_path / "figures.json"
    save_tiny(tmp_path / "other", dimension=3)
    other = tmp_path / "other.yaml"
    common = ("--root", kitti, "--engine", "torch", "--json", report)
    assert run(*common, "--model", model, model, other) == 0
    found = json.loads(report.read_text())
    assert [each["model"] for each in found["models"]] == ["tiny", "tiny", "other"]
    same, gain = found["comparisons"]
    assert same["classes"]["gain"] == 0.0
    assert same["classes"]["intervals"] == {"frames": [0.0, 0.0], "sequences": [0.0, 0.0]}
    first, _, last = (each["miou"] for each in found["models"])
    assert gain["classes"]["gain"] == pytest.approx(last - first)
    assert "other over tiny" in capsys.readouterr().out
    assert run(*common, "--model", model, other, "--report", tmp_path / "out") == 2
    assert "show one model" in capsys.readouterr().err


def test_settings_are_chosen_without_the_recording_that_is_scored(model, tmp_path, capsys):
    for name in ("a", "b", "c"):
        write_kitti(tmp_path / name, "08", frames=2)
    choices = tmp_path / "choices.yaml"
    recordings = {name: [{"dataset": "semantickitti", "root": name}] for name in "abc"}
    candidates = {"plain": {}, "alone": {"averaging": 1}}
    choices.write_text(json.dumps({"recordings": recordings, "candidates": candidates}))
    report = tmp_path / "figures.json"
    given = ["--model", model, "--device", "cpu", "--engine", "torch", "--json", report]
    given = ["evaluate", "--leave-one-recording-out", choices, *given]
    assert main(list(map(str, given))) == 0
    found = json.loads(report.read_text())
    values = {name: each["groups"] for name, each in found["candidates"].items()}
    for name, row in found["recordings"].items():
        means = {c: sum(v for r, v in each.items() if r != name) for c, each in values.items()}
        assert row["candidate"] == max(means, key=means.get)
        assert row["groups"] == values[row["candidate"]][name]
    assert "over recordings" in capsys.readouterr().out
    assert main(["evaluate", "--model", str(model)]) == 2
    assert "give --dataset" in capsys.readouterr().err


def test_the_date_of_a_choice_is_when_it_began(tmp_path, monkeypatch):
    class Clock(datetime):
        hour_now = 1

        @classmethod
        def now(cls, zone):
            return datetime(2026, 1, 1, cls.hour_now, tzinfo=zone)

    def score_all(*_):
        Clock.hour_now = 5

    monkeypatch.setattr(evaluate, "datetime", Clock)
    monkeypatch.setattr(protocol, "score_all", score_all)
    monkeypatch.setattr(protocol, "report", lambda *_: {})
    monkeypatch.setattr(protocol, "text", lambda _: "")
    recordings = {name: [{"dataset": "semantickitti", "root": name}] for name in "ab"}
    choices, report = tmp_path / "choices.yaml", tmp_path / "figures.json"
    choices.write_text(json.dumps({"recordings": recordings, "candidates": {"plain": {}}}))
    given = ["evaluate", "--leave-one-recording-out", choices, "--json", report]
    assert main(list(map(str, given))) == 0
    assert json.loads(report.read_text())["date"] == "2026-01-01T01:00:00+00:00"


def test_the_origin_of_the_figures_is_in_the_json(kitti, model, tmp_path, capsys):
    report = tmp_path / "figures.json"
    given = ("--root", kitti, "--model", model, "--engine", "torch", "--limit", 2)
    assert run(*given, "--json", report) == 0
    found = json.loads(report.read_text())
    weights = model.with_suffix(".safetensors").read_bytes()
    assert found["sha256"] == hashlib.sha256(weights).hexdigest()
    assert found["version"] == minkowski_perception.__version__
    assert abs((datetime.now(timezone.utc) - datetime.fromisoformat(found["date"])).seconds) < 600
    assert found["command"].startswith("minkowski-perception evaluate --dataset semantickitti")
    assert found["command"].endswith(f"--limit 2 --json {report}")
    low, high = found["intervals"]["classes"]["sequences"]
    assert low <= found["miou"] <= high
    shown = capsys.readouterr().out
    assert found["sha256"][:16] in shown
    assert found["command"] in shown


def test_motion_is_that_of_label_with_its_options(tmp_path, model):
    write_kitti(tmp_path, "08", poses=False)
    report = tmp_path / "figures.json"
    given = ("--root", tmp_path, "--model", model, "--engine", "torch", "--json", report)
    for choice, source, averaged in (
        ("auto", "kiss_icp (the data have no poses)", 3),
        ("none", "none (requested)", 3),
    ):
        assert run(*given, "--ego-motion", choice) == 0
        found = json.loads(report.read_text())
        assert found["ego_motion"] == {"08": source}
        assert (found["averaged_frames"], found["frames"]) == (averaged, 3)


def test_the_output_of_label_is_no_truth_unless_it_is_accepted(model, tmp_path, capsys):
    pytest.importorskip("rosbags", reason="bags need the rosbags package")
    bag, out = tmp_path / "bag", tmp_path / "out"
    with BagWriter(bag) as writer:
        for i in range(2):
            points = np.random.default_rng(i).uniform(-20, 20, (200, 3))
            frame = Frame(points, 10**9 * (i + 1), "lidar")
            writer.write_cloud("/points", encode_frame(frame), frame.stamp, "lidar")
    common = ("--model", str(model), "--engine", "torch", "--ego-motion", "none")
    assert main(["label", str(bag), "--out", str(out), *common]) == 0

    labelled = ("--root", out / "labelled", *common)
    assert run(*labelled, dataset="bag") == 2
    assert "were made by a model" in capsys.readouterr().err
    assert run(*labelled, "--model-labels", dataset="bag") == 0
    shown = capsys.readouterr().out
    assert "the true labels were made by a model" in shown
    assert re.search(r"^mIoU +1\.000 ", shown, re.MULTILINE)


def test_sequences_splits_and_frames_are_selected(kitti, model, tmp_path):
    report = tmp_path / "figures.json"
    common = ("--root", kitti, "--model", model, "--json", report, "--engine", "torch")

    assert run(*common, "--split", "val", "--limit", 2) == 0
    found = json.loads(report.read_text())
    assert (found["sequences"], found["frames"], found["split"]) == (["08"], 2, "val")
    assert run(*common, "--sequences", "01", "--ranges", 5, 15) == 0
    found = json.loads(report.read_text())
    assert (found["sequences"], found["frames"]) == (["01"], 2)
    assert [b["to"] for b in found["by_range"]] == [5.0, 15.0, None]


def test_augmentation_averages_over_36_worlds(kitti, model, tmp_path, capsys):
    report = tmp_path / "figures.json"
    arguments = ("--root", kitti, "--sequences", "01", "--model", model, "--engine", "torch")
    assert run(*arguments, "--limit", 1, "--tta", "--json", report) == 0
    found = json.loads(report.read_text())
    assert found["worlds"] == 36
    assert found["scored_points"] > 0
    assert "mean of 36 augmentations" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["folder", "folder/mine.md"])
def test_the_report_is_markdown_with_pictures_next_to_it(kitti, model, tmp_path, name):
    pytest.importorskip("matplotlib", reason="needs matplotlib for the pictures")
    picture = tmp_path / "own" / "picture.png"
    arguments = ("--root", kitti, "--model", model, "--limit", 1, "--engine", "torch")
    assert run(*arguments, "--report", tmp_path / name, "--picture", picture) == 0

    assert picture.read_bytes().startswith(b"\x89PNG")
    file = tmp_path / "folder" / ("mine.md" if name.endswith(".md") else "report.md")
    pictures = re.findall(r"!\[[^]]+\]\(([^)]+)\)", file.read_text())
    assert pictures == [f"{file.stem}.png", f"{file.stem}_worst.png"]
    for target in pictures:
        assert (file.parent / target).read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("name", ["folder", "new/mine.html"])
def test_the_html_report_shows_the_worst_frames_first(kitti, model, tmp_path, name, capsys):
    if not name.endswith(".html"):
        pytest.importorskip("matplotlib", reason="needs matplotlib for the pictures")
    arguments = ("--root", kitti, "--model", model, "--engine", "torch")
    assert run(*arguments, "--report", tmp_path / name) == 0

    file = tmp_path / (name if name.endswith(".html") else "folder/report.html")
    assert f"open in a browser: {file}" in capsys.readouterr().out
    assert (file.parent / "report.md").exists() != name.endswith(".html")
    page = file.read_text()
    text = page.partition('id="description">')[2].partition("</script>")[0]
    description = json.loads(text)
    titles = [cloud["title"] for cloud in description["clouds"]]
    worst = [float(title.rpartition(" ")[2]) for title in titles]
    assert len(titles) == 5
    assert worst == sorted(worst)
    assert titles[0].startswith(("08, frame ", "01, frame "))
    assert description["columns"][:3] == ["label", "truth", "agreement"]
    assert sorted(description["timeline"]["score"]) == pytest.approx(worst, abs=1e-3)
    assert "the 5 worst of 5 frames" in page


def test_simulated_drives_need_no_data(model, tmp_path, capsys):
    pytest.importorskip("open3d", exc_type=ImportError)
    report = tmp_path / "figures.json"
    size = ("--lidars", "vlp16", "--drives", 1, "--limit", 2)
    assert run(*size, "--model", model, "--json", report, dataset="simulation") == 0
    found = json.loads(report.read_text())
    assert (found["sequences"], found["frames"], found["root"]) == (["vlp16_4000"], 2, None)
    assert found["flicker"]["compared_points"] > 1000


def test_an_indoor_model_is_evaluated_in_simulated_rooms(tmp_path, capsys):
    pytest.importorskip("open3d", exc_type=ImportError)
    save_tiny(
        tmp_path / "indoor",
        labels="indoor8",
        features=("red", "green", "blue"),
        dimension=4,
        kernel="causal",
    )
    report = tmp_path / "figures.json"
    size = ("--cameras", "xtion_qvga", "--drives", 1, "--limit", 2)
    model = ("--model", tmp_path / "indoor.yaml", "--engine", "torch")
    assert run(*size, *model, "--json", report, dataset="simulation_indoor") == 0
    found = json.loads(report.read_text())
    assert found["sequences"] == ["xtion_qvga_room_4000"]
    assert [b["to"] for b in found["by_range"]] == [1.0, 2.0, 3.0, 5.0, None]
    assert "groups" not in found
    assert found["flicker"]["compared_points"] > 1000


def test_a_lidar_model_is_evaluated_in_simulated_rooms(model, tmp_path, capsys):
    pytest.importorskip("open3d", exc_type=ImportError)
    report = tmp_path / "figures.json"
    size = ("--lidars", "vlp16", "--drives", 2, "--limit", 1)
    given = (*size, "--model", model, "--json", report)
    assert run(*given, dataset="simulation_indoor") == 0
    found = json.loads(report.read_text())
    assert found["sequences"] == ["vlp16_room_4000", "vlp16_corridor_4001"]
    classes = {name for name, iou in found["classes"].items() if iou is not None}
    assert {"building", "sidewalk"} <= classes


@pytest.mark.parametrize(
    ("dataset", "arguments", "complaint"),
    [
        (
            "kitti",
            ["--root", "."],
            r"unknown data set 'kitti'; choose one of semantickitti, .*simu",
        ),
        ("semantickitti", [], r"'semantickitti' needs --root"),
        ("semantickitti", ["--root", "/nowhere"], r"/nowhere does not exist"),
        ("semantickitti", ["--root", "{kitti}", "--split", "vall"], r"unknown split 'vall'"),
        (
            "semantickitti",
            ["--root", "{kitti}", "--sequences", "99"],
            r"no sequence 99; .* 01, 08",
        ),
        ("semantickitti", ["--root", "{kitti}", "--model", "nomodel"], r"nomodel"),
        (
            "semantickitti",
            ["--root", "{kitti}", "--device", "tpu"],
            r"device must be .* not 'tpu'",
        ),
        (
            "semantickitti",
            ["--root", "{kitti}", "--ranges", "9", "3"],
            r"--ranges must .* increasing",
        ),
        ("semantickitti", ["--root", "{unlabelled}"], r"no true labels in sequence 08"),
        ("simulation", ["--root", "."], "'simulation' has no --root; leave it out"),
        ("simulation", ["--lidars", "vlp17"], r"vlp17"),
        ("simulation_indoor", ["--cameras", "lens"], r"lens"),
        ("simulation_indoor", ["--cameras", "d435", "--lidars", "vlp16"], r"choose one"),
    ],
)
def test_invalid_arguments_are_refused_in_one_line(
    kitti, model, tmp_path, capsys, dataset, arguments, complaint
):
    unlabelled = write_kitti(tmp_path, "08", labels=False)
    given = [a.format(kitti=kitti, unlabelled=unlabelled) for a in arguments]
    model_given = () if "--model" in given else ("--model", model)
    assert run(*model_given, "--engine", "torch", *given, dataset=dataset) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    errors = [line for line in lines if line.startswith("minkowski-perception evaluate: ")]
    assert len(errors) == 1
    assert re.search(complaint, errors[0])
    assert errors[0] == lines[-1]


def test_a_model_whose_features_the_clouds_lack_is_refused_in_one_line(kitti, tmp_path, capsys):
    save_tiny(tmp_path / "coloured", dimension=3, features=("red", "green", "blue"))
    arguments = ("--root", kitti, "--model", tmp_path / "coloured.yaml", "--engine", "torch")
    assert run(*arguments) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert "evaluate: the model needs colour, but the cloud has no rgb field; the command" in last


def test_only_exact_labels_of_a_real_street_are_scored(shared_data, tmp_path):
    root = shared_data / "semantickitti_00"
    report = tmp_path / "figures.json"
    assert run("--root", root, "--limit", 1, "--json", report) == 0
    found = json.loads(report.read_text())
    folder = root / "sequences" / "00"
    exact = np.fromfile(sorted((folder / "exact_mask").glob("*.u8"))[0], np.uint8) == 1
    ids = np.fromfile(sorted((folder / "labels").glob("*.label"))[0], "<u4") & 0xFFFF
    ids_of_classes = LabelSet.load("semantickitti19").sources["semantickitti_raw"].keys()
    assert found["scored_points"] == np.isin(ids[exact], list(ids_of_classes)).sum()
    assert found["groups"]["ground"] > 0.5
