# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("open3d", exc_type=ImportError)

from tiny_models import save_tiny

from minkowski_perception.frame import Frame
from minkowski_perception.lab.benchmarks import BenchmarkError, time
from minkowski_perception.lab.benchmarks.ablation import Stream
from minkowski_perception.lab.benchmarks.time import Drive, Labelled, Row
from minkowski_perception.lab.benchmarks.time_scores import (
    CELL,
    METRICS,
    DriveObjects,
    DriveScore,
    Sightings,
    delays,
    metric_values,
)
from minkowski_perception.lab.datasets.catalogue import Dataset
from minkowski_perception.lab.simulation.drive import simulate_drive
from minkowski_perception.labels import UNLABELLED, LabelSet
from minkowski_perception.metrics import ConfusionMatrix
from minkowski_perception.segmenter import Segmenter
from minkowski_perception.settings import Settings

KITTI = LabelSet.load("semantickitti19")
CAR, ROAD, POLE = (KITTI.names.index(name) for name in ("car", "road", "pole"))


# Parts of the points


def test_sightings_count_the_frames_and_the_gap_of_each_cell():
    sightings = Sightings()
    rng = np.random.default_rng(0)
    seen: dict[tuple[int, ...], list[int]] = {}  # frames by cell
    for number in range(12):
        points = rng.uniform(-1.5, 1.5, (40, 3))
        measured = rng.random(40) < 0.5
        times, gaps = sightings.update(points, measured)
        cells = [tuple(cell) for cell in np.floor(points / CELL).astype(int).tolist()]
        frames = [seen.get(cell, []) for cell in cells]
        assert times.tolist() == [len(each) for each in frames]
        assert gaps.tolist() == [number - each[-1] if each else 0 for each in frames]
        for cell in {cell for cell, known in zip(cells, measured, strict=True) if known}:
            seen.setdefault(cell, []).append(number)


def street(frames=6):
    """A road from 1 m to 60 m, a parked car, a driving one, and a pole that is away for 4 frames.

    Points of a kind are a metre apart, so that each has a cell of its own. The sensor stands.
    """
    road = np.stack([np.arange(1.0, 61.0) + 0.1, np.full(60, 0.1), np.full(60, 0.1)], axis=1)
    car = road[:5] + np.array([0.0, 5.0, 0.0])
    kinds = np.repeat([ROAD, CAR, CAR, POLE, UNLABELLED], [60, 5, 5, 5, 1])
    made = []
    for i in range(frames):
        driving = car + np.array([0.0, 5.0 + i, 0.0])
        pole = car - np.array([0.0, 10.0 if i in (0, 5) else 40.0 + i, 0.0])
        points = np.concatenate([road, car, driving, pole, [[2.0, 2.0, 2.0]]]).astype(np.float32)
        moving = np.arange(76) // 5 == 13  # points 65 to 69
        made.append(
            Frame(
                points,
                stamp=10**9 + i * 10**8,
                intensity=np.ones(76, np.float32),
                labels=kinds.astype(np.uint8),
                moving=moving,
                pose=np.eye(4),
            )
        )
    return Stream("street", 7, made)


class FakeLabeller:
    """Predicts the labels, and the probability of moving, that a function returns."""

    def __init__(self, predict):
        self.label_set = KITTI
        self._predict = predict

    def reset(self):
        self._count = 0

    def label(self, frame):
        labels, moving = self._predict(frame, self._count)
        self._count += 1
        labels = labels.astype(np.uint8)
        moving = None if moving is None else moving.astype(np.float32)
        return Labelled((labels, labels), (0.01, 0.02), (100, 200), moving)


def fake_row(name, *predict):
    labellers = {str(seed): FakeLabeller(each) for seed, each in enumerate(predict)}
    return Row(name, labellers, list(time.CONDITIONS))


def perfect(frame, _):
    return frame.labels, frame.moving


def figures_of(*rows, streams=None, conditions=("clean",)):
    streams = streams or [street(), street()]
    scores = time.measure(rows, streams, KITTI, conditions)
    drives = [Drive(stream.case, stream.seed, len(stream.frames)) for stream in streams]
    twins = dict.fromkeys((row.name for row in rows), "3D")
    return time.report(twins, scores, drives, rows[-1].name, KITTI)


def test_each_part_has_its_points():
    scores = time.measure([fake_row("3D", perfect)], [street()], KITTI, ["clean"])
    (drive,) = scores["clean"]["3D"]["0"].drives
    points = {name: int(counts.sum()) for name, counts in drive.confusions.items()}
    assert points == {
        "all": 6 * 75,
        "first_seen": 75 + 5 * 5 + 4 * 5,  # the whole first frame, the driving car, the pole
        "newly_seen": 5 * 5 + 4 * 5,
        "reseen": 5,  # the pole in its last frame
        "seen_often": 3 * 65,
        "moving": 6 * 5,
        "parked": 6 * 5,
        "beyond_30m": 6 * 31 + 4 * 5,  # the road, and the pole elsewhere
        "miou25": 5 * 75,  # without the first frame
    }
    assert drive.motion.sum(axis=1).tolist() == [5 * 70, 5 * 5]


def test_an_error_lowers_the_metrics_of_its_part_alone():
    def far_road_is_parking(frame, _):
        far = (frame.labels == ROAD) & (frame.points[:, 0] >= 50)
        return np.where(far, KITTI.names.index("parking"), frame.labels), frame.moving

    def car_is_still(frame, _):
        return frame.labels, np.zeros(len(frame))

    figures = figures_of(
        fake_row("3D", perfect),
        fake_row("far", far_road_is_parking),
        fake_row("still", car_is_still),
    )["rows"]
    far, still = (figures[name]["values"]["clean"] for name in ("far", "still"))
    assert figures["3D"]["values"]["clean"] == {
        **dict.fromkeys(METRICS, 100.0),
        "flicker": 0.0,
        "frames_until_right": None,  # no object has enough points
        "moving_calibration_error": pytest.approx(0.0, abs=1e-4),
    }
    assert far["beyond_30m"] == pytest.approx(100 * (20 / 31 + 1) / 2)
    assert far["all"] == pytest.approx(100 * (49 / 60 + 1 + 1) / 3)
    assert (far["moving"], far["parked"], far["moving_ap"]) == (100.0, 100.0, 100.0)
    # Road, car and pole are right, half of the cars are still ones; no car is a moving one.
    assert still["miou25"] == pytest.approx(100 * (1 + 0.5 + 1 + 0) / 4)
    assert still["moving_iou"] == 0.0
    assert still["moving_ap"] == pytest.approx(100 * 5 / 75)
    assert still["all"] == 100.0


def test_without_the_head_what_needs_it_is_none():
    def classes_alone(frame, _):
        return frame.labels, None

    report = figures_of(fake_row("3D", perfect), fake_row("bare", classes_alone))
    of_row, gains = report["rows"]["bare"]["values"]["clean"], report["gains"]["clean"]
    for metric in ("miou25", "moving_ap", "moving_iou", "moving_calibration_error"):
        assert of_row[metric] is None
        assert gains[metric] is None
    assert gains["all"] == {"value": 0.0, "low": 0.0, "high": 0.0}
    assert report["moving"]["iou"] is None
    assert set(report["gains"]["clean"]) == set(METRICS)


@pytest.mark.parametrize("condition", time.CONDITIONS)
def test_all_models_get_the_same_frames_and_the_truth_stays(condition):
    seen = [], []

    def remember(frames):
        return lambda frame, _: (frames.append(frame), perfect(frame, _))[1]

    rows = [fake_row("3D", remember(seen[0])), fake_row("other", remember(seen[1]))]
    scores = time.measure(rows, [street()], KITTI, [condition])
    for one, other, clean in zip(*seen, street().frames, strict=True):
        assert one.points.tobytes() == other.points.tobytes()
        assert np.array_equal(one.pose, other.pose)
        same = np.array_equal(one.points, clean.points) and np.array_equal(one.pose, clean.pose)
        assert same == (condition == "clean")
    (drive,) = scores[condition]["3D"]["0"].drives
    measured = sum(int(frame.valid[:75].sum()) for frame in seen[0])
    assert drive.confusions["all"].sum() == measured


# Intervals


def drive_score(rng):
    """Random counts of three classes."""
    counts = rng.integers(0, 50, (3, 4))
    motion = np.zeros((2, 2049), np.int64)
    motion[:, [400, 1500]] = rng.integers(1, 50, (2, 2))
    flicker = np.array([100, int(rng.integers(0, 30))])
    return DriveScore({"all": counts}, motion, flicker, rng.integers(1, 9, 2))


def test_draws_keep_the_number_of_drives_of_each_case():
    cases = ["a", "b", "a", "b", "b"]
    draws = time.draw_drives(cases, 400)
    assert draws.shape == (401, 5)
    assert draws[0].tolist() == [1] * 5
    assert (draws[:, [0, 2]].sum(axis=1) == 2).all()
    assert (draws[:, [1, 3, 4]].sum(axis=1) == 3).all()
    assert draws[1:].mean(axis=0) == pytest.approx(np.ones(5), abs=0.15)
    assert len({tuple(row) for row in draws[:, [1, 3, 4]].tolist()}) == 10


def test_drives_are_drawn_from_all_cases_if_a_case_has_one():
    draws = time.draw_drives(["a", "b", "b"], 200)
    assert (draws.sum(axis=1) == 3).all()
    assert set(draws[:, 0].tolist()) == {0, 1, 2, 3}


def test_a_single_drive_gives_no_interval():
    with pytest.raises(BenchmarkError, match="intervals need two drives or more"):
        figures_of(fake_row("3D", perfect), streams=[street()])


def test_gains_and_intervals_equal_a_bootstrap_by_hand():
    rng = np.random.default_rng(3)
    names, seeds, drives = ("3D", "4D"), 2, 6
    scores = {
        name: [[drive_score(rng) for _ in range(drives)] for _ in range(seeds)] for name in names
    }
    draws = time.draw_drives(["a"] * drives, 300)
    found = {
        name: [metric_values(each, draws) for each in of_seeds]
        for name, of_seeds in scores.items()
    }
    gain = time._gain(list(zip(found["4D"], found["3D"], strict=True)), "all")

    def miou(of_drives, times):
        matrix = ConfusionMatrix(3)
        for score, count in zip(of_drives, times, strict=True):
            for _ in range(count):
                matrix.counts += score.confusions["all"]
        return 100 * matrix.miou

    differences = [
        np.mean(
            [miou(scores["4D"][s], times) - miou(scores["3D"][s], times) for s in range(seeds)]
        )
        for times in draws
    ]
    assert gain["value"] == pytest.approx(differences[0])
    assert [gain["low"], gain["high"]] == pytest.approx(
        np.percentile(differences[1:], [2.5, 97.5]).tolist()
    )
    assert gain["low"] < gain["value"] < gain["high"]
    ap, flicker = found["3D"][0]["moving_ap"], found["3D"][0]["flicker"]
    changed = sum(score.flicker[1] for score in scores["3D"][0])
    assert flicker[0] == pytest.approx(100 * changed / (100 * drives))
    total = sum(score.motion for score in scores["3D"][0])
    (low_still, high_still), (low, high) = total[:, [400, 1500]]
    precise, overall = high / (high + high_still), (low + high) / total.sum()
    assert low_still > 0
    assert ap[0] == pytest.approx(100 * (high * precise + low * overall) / (low + high))


def test_a_gain_on_every_drive_excludes_zero():
    def half_of_the_road(frame, _):
        wrong = (frame.labels == ROAD) & (np.arange(len(frame)) < 30)
        return np.where(wrong, CAR, frame.labels), frame.moving

    streams = [street(), street(4), street(3)]
    report = figures_of(
        fake_row("3D", half_of_the_road, half_of_the_road),
        fake_row("4D", perfect, perfect),
        streams=streams,
    )
    gain = report["gains"]["clean"]["all"]
    assert 0.0 < gain["low"] <= gain["value"] <= gain["high"]
    assert report["rows"]["4D"]["trainings"] == ["0", "1"]
    assert report["twin"] == "3D"
    assert report["cost"] == {"over_3d": 1.0, "milliseconds": 10.0, "state_bytes": 100}
    averaged = report["rows"]["4D + averaging"]
    assert (averaged["milliseconds"], averaged["state_bytes"]) == (20.0, 200)
    assert averaged["twin"] == "3D + averaging"
    figures = {
        "iou": 1.0,
        "precision": 1.0,
        "recall": 1.0,
        "average_precision": 1.0,
        "false_positive_share": 0.0,
    }
    assert figures.items() <= report["moving"].items()
    assert list(report["moving"]["by_class"]) == ["car", "road", "pole"]
    assert report["moving"]["by_range"][4]["moving_points"] == 0
    # The car moves by a metre in 0.1 s; its speed is unknown in the first frame of three drives.
    slow, walking, _, _ = report["moving"]["by_speed"]
    assert slow["moving_points"] == walking["moving_points"] == 0
    assert sum(band["moving_points"] for band in report["moving"]["by_speed"]) == 2 * 5 * 10
    assert {band["recall"] for band in report["moving"]["by_speed"]} <= {None, 1.0}
    assert "+" in time.table(report)


# Recordings


def test_still_points_of_recordings_that_are_called_moving_are_counted():
    def calls(frame, _):
        moves = np.zeros(len(frame))
        moves[[0, 60, 65, 75]] = 0.9  # a road, a parked car, a driving one, no class
        moves[1] = np.nan
        return frame.labels, moves

    bright = [replace(frame, intensity=255 * frame.intensity) for frame in street(3).frames]
    known = Dataset("some", KITTI, {"00": bright}, 255.0)
    found = time.false_positives([fake_row("3D", calls, calls)], known)
    expected = {"still_points": 2 * 69, "false_positive_share": 2 / 69}
    assert found == {"3D": {"0": expected, "1": expected}}
    unknown = Dataset("some", KITTI, {"00": [replace(f, moving=None) for f in bright]}, 255.0)
    found = time.false_positives([fake_row("3D", calls)], unknown, 2)
    assert found["3D"]["0"] == {"still_points": 64, "false_positive_share": 1 / 64}


# Objects


def test_objects_are_connected_cells_and_what_moves_keeps_its_number():
    stream = street()
    # Points a metre apart are cells apart, so that each is an object.
    objects = DriveObjects.of(stream.frames, KITTI)
    ids = np.stack(objects.ids)
    assert (ids[:, :60] == -1).all()  # the road
    assert (ids[:, 75] == -1).all()  # no label
    parked, driving, pole = ids[:, 60:65], ids[:, 65:70], ids[:, 70:75]
    assert (parked == parked[0]).all()
    assert len(np.unique(parked)) == 5
    assert (np.unique(driving).tolist(), pole[0].tolist()) == (
        np.unique(driving[0]).tolist(),
        pole[5].tolist(),
    )
    assert not np.isin(pole[1:5], pole[0]).any()
    assert objects.new.sum() == len(np.unique(pole[1:5]))
    speeds = np.stack(objects.speeds)
    assert np.isnan(speeds[0]).all()
    assert speeds[1:, 65:70] == pytest.approx(10.0, rel=1e-5)
    assert np.isnan(speeds[:, :65]).all()


def test_the_delay_of_an_object_counts_its_frames_before_three_right_ones():
    rows = {
        "11111": 0,
        "10111": 2,
        "00000": 5,
        "11011": 5,
        "-0111": 1,
        "1-11-": 0,
        "---11": None,
    }
    frames = np.array([list(row) for row in rows]).T
    found = delays(frames != "-", frames == "1")
    assert found.tolist() == [delay for delay in rows.values() if delay is not None]


# Rows


def test_a_row_is_compared_with_the_twin_of_its_settings():
    rows = [
        fake_row(name, perfect)
        for name in ("3D", "A", "A + CRF", "B", "B + CRF", "B, window of 2")
    ]
    scores = time.measure(rows, [street(), street()], KITTI, ["clean"])
    twins = {"3D": "3D", "A": "3D", "B": "A"}
    figures = time.report(twins, scores, [Drive("a", 1, 6)] * 2, "B", KITTI)["rows"]
    averaged = " + averaging"
    expected = {
        "A": "3D",
        "A + CRF": "3D",
        "B": "A",
        "B + CRF": "A + CRF",
        "B, window of 2": "A",
    }
    for name, twin in expected.items():
        assert figures[name]["twin"] == twin
        assert figures[name + averaged]["twin"] == twin + averaged
        assert figures[name + averaged]["gains"]["clean"]["all"]["value"] == 0.0
    assert not figures["3D"]["gains"]


def save_seeds(folder, seeds=2):
    heads = {"classes": 19, "moving": 1}
    folders = [folder / str(seed) for seed in range(seeds)]
    for each in folders:
        each.mkdir()
        save_tiny(each / "time_3d", dimension=3, heads=heads)
        save_tiny(each / "time_rich", crf=True, dimension=4, kernel="causal", heads=heads)
    return folders


def test_every_row_has_the_twin_of_its_settings_and_the_models_of_all_trainings(tmp_path):
    folders = save_seeds(tmp_path)
    for name in ("other", "time_averaged"):
        save_tiny(folders[1] / name, dimension=3)
    conditions = ["clean", "pose_5cm"]
    chosen = time.choose_models(folders)
    assert chosen.headline == "time_averaged"
    assert "time_averaged is in 1 of 2 folders alone" in chosen.notices
    assert "time_averaged is compared with time_3d: there is no time_3d_averaged" in chosen.notices
    assert any(notice.startswith("time_causal is left out") for notice in chosen.notices)
    chosen = time.choose_models(folders, ["time_rich", "other=time_rich"], headline="time_rich")
    rows = time.open_rows(chosen, conditions, windows=[2], device="cpu", engine="torch")
    found = {row.name: (len(row.labellers), "pose_5cm" in row.conditions) for row in rows}
    assert found == {
        "time_3d": (2, True),
        "time_rich": (2, True),
        "time_rich + CRF": (2, True),
        "other": (1, False),
        "time_rich, window of 2": (2, False),
    }
    assert chosen.twins == {"time_3d": "time_3d", "time_rich": "time_3d", "other": "time_rich"}
    assert next(iter(rows[-1].labellers.values())).execution == "window 2"


def test_a_missing_twin_or_headline_is_named(tmp_path):
    folders = save_seeds(tmp_path, 1)
    with pytest.raises(BenchmarkError, match="no models time_causal in any of"):
        time.choose_models(folders, headline="time_causal")
    with pytest.raises(BenchmarkError, match="no models time_3d in any of"):
        time.choose_models([tmp_path / "absent"])


def test_labels_alone_and_averaged_equal_those_of_two_segmenters(tmp_path):
    (folder,) = save_seeds(tmp_path, 1)
    rows = time.open_rows(time.choose_models([folder]), device="cpu", engine="torch")
    (both,) = rows[1].labellers.values()
    alone, averaged = (
        Segmenter.load(
            folder / "time_rich.yaml",
            device="cpu",
            engine="torch",
            precision="float32",
            crf=False,
            averaging=averaging,
        )
        for averaging in (1, Settings.averaging)
    )
    both.reset()
    for frame in street().frames:
        found = both.label(frame)
        assert np.array_equal(found.labels[0], alone.segment(frame).labels)
        expected = averaged.segment(frame)
        assert np.array_equal(found.labels[1], expected.labels)
        assert found.seconds[0] < found.seconds[1] + 0.1
        assert found.state_bytes[0] == alone.state_bytes
        assert found.state_bytes[1] == averaged.state_bytes


def test_a_3d_network_guesses_motion_from_the_second_frame_on(tmp_path):
    chosen = time.choose_models(save_seeds(tmp_path, 1))
    rows = time.open_rows(chosen, device="cpu", engine="torch")
    scores = time.measure(rows[:2], [street()], KITTI, ["clean"])
    for name in ("time_3d", "time_rich"):
        (score,) = scores["clean"][name].values()
        (drive,) = score.drives
        assert drive.motion.sum() == 5 * 75
        assert drive.confusions["miou25"].sum() == 5 * 75


def test_drives_are_named_by_their_lidar_and_kept_in_the_cache(tmp_path):
    drives = time.held_out_drives(2, 1, ["vlp16", "vlp32"], 9100, tmp_path)
    assert [(drive.lidar, drive.seed) for drive in drives] == [
        ("vlp16", 9100),
        ("vlp32", 9101),
        ("vlp16", 9102),
        ("vlp32", 9103),
    ]
    (simulated,) = simulate_drive(9100, "vlp16", 1)
    for _ in range(2):  # the second is read
        (frame,) = drives[0].stream().frames
        assert frame.points.tobytes() == simulated.points.tobytes()
        assert np.array_equal(frame.labels, simulated.labels)
    assert len(list(tmp_path.rglob("*.npz"))) == 1
    with pytest.raises(ValueError, match="seed must be 4000 or more"):
        time.held_out_drives(1, 1, seed=3999)
