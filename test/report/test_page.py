# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import base64
import hashlib
import re
from dataclasses import replace

import numpy as np
import pytest
from pages import CAR, LABELS, Reading, scene, write_scenes

from minkowski_perception.report import payload
from minkowski_perception.report.collector import Collector
from minkowski_perception.report.payload import content


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "new" / "report.html"
    collector = write_scenes(path, name="a <img src=x onerror=alert(1)>")
    return path, list(collector.clouds), Reading(path)


def test_points_are_those_of_the_clouds_within_half_a_step(report):
    _, clouds, reading = report
    assert len(reading.description["clouds"]) == len(clouds) == 5
    for index, cloud in enumerate(clouds):
        found = reading.cloud(index)
        step = reading.description["clouds"][index]["step"]
        assert step < 0.001
        np.testing.assert_allclose(found["points"], cloud.coordinates, atol=step / 2 + 1e-6)
        for name in ("label", "truth", "agreement"):
            np.testing.assert_array_equal(found[name], cloud.columns[name])


def test_shares_are_quantised_and_unknown_ones_marked(report):
    _, clouds, reading = report
    found, cloud = reading.cloud(0), clouds[0]
    confidence = found["confidence"] / 254
    np.testing.assert_allclose(confidence, cloud.columns["confidence"], atol=0.5 / 254 + 1e-6)
    unknown = np.isnan(cloud.columns["moving"])
    assert unknown.any()
    np.testing.assert_array_equal(found["moving"] == 255, unknown)
    brightest = cloud.columns["intensity"] > 99.5
    assert (found["intensity"][brightest] == 254).all()


def test_poses_are_relative_to_the_first_one(report):
    poses = [np.reshape(c["pose"], (4, 4)).T for c in report[2].description["clouds"]]
    assert [pose[:3, 3].tolist() for pose in poses] == [[float(i), 0, 0] for i in range(5)]


def test_names_are_text_and_no_elements(report):
    _, _, reading = report
    assert "img" not in reading.tags
    assert reading.tags.count("b") == 0
    assert reading.tags.count("script") == 3
    assert "onerror" not in dict(reading.attributes)
    for text in (
        "a <img src=x onerror=alert(1)>",
        "wall <b>",
        "no pose after <1.3 s> & more",
        "<script>alert(1)</script>",
        "label 'a b' --report r.html",
        "sha256 ab12",
    ):
        assert text in reading.words
    assert "</script" not in reading.data["description"].lower()


def test_nothing_is_loaded_and_only_the_own_script_may_run(report):
    _, _, reading = report
    assert not {name for name, _ in reading.attributes} & {"src", "href", "style", "onclick"}
    own = reading.data["script"] + reading.data["style"]
    assert not re.search(
        r"@import|url\(|fetch\(|XMLHttpRequest|import\(|https?://(?!www\.w3)", own
    )
    policies = [value for name, value in reading.attributes if value and "default-src" in value]
    assert len(policies) == 1
    for kind in ("script", "style"):
        digest = hashlib.sha256(reading.data[kind].encode()).digest()
        assert f"{kind}-src 'sha256-{base64.b64encode(digest).decode()}'" in policies[0]
    assert policies[0].startswith("default-src 'none';")


def test_the_page_says_what_was_dropped_and_what_is_shown(report):
    words = report[2].words
    assert "6 received = 5 labelled + 1 dropped + 0 pending" in words
    assert "no pose at its stamp arrived in time" in words
    assert "5 of 5 clouds, with 20,000 of their 20,000 points (100%)" in words
    assert "Map: 300 of 300 voxels" in words


def test_the_timeline_has_shares_latency_and_drops(report):
    timeline = report[2].description["timeline"]
    assert timeline["places"] == pytest.approx([0.0, 0.1, 0.1, 0.2, 0.3, 0.4])
    assert timeline["dropped"] == [0, 0, 1, 0, 0, 0]
    assert timeline["latency"] == [50.0, 60.0, None, 70.0, 80.0, 90.0]
    assert timeline["shares"][str(CAR)][0] == pytest.approx((scene(0)[1] == CAR).mean(), abs=1e-5)
    assert timeline["shares"][str(CAR)][2] is None


def test_a_long_drive_of_large_clouds_stays_small(monkeypatch):
    monkeypatch.setattr(payload, "MOST_BYTES", 120_000)
    collector = Collector(LABELS, LABELS)
    for number in range(20):
        collector.add(*scene(number, 2000))
    found = content(collector, None, follows=True)
    assert 110_000 < len(found.points) <= 120_000
    assert found.points_of_shown == 40_000
    assert found.shown_points == sum(c["shown"] for c in found.description["clouds"]) < 11_000


def test_a_run_without_labelled_clouds_has_a_page(tmp_path):
    write_scenes(tmp_path / "report.html", count=0)
    reading = Reading(tmp_path / "report.html")
    assert reading.description["clouds"] == []
    assert "0 of 0 clouds" in reading.words


@pytest.mark.parametrize(
    ("stamps", "timed"), [([0, 1, 2, 9], True), ([0, 1, 2, 3 * 10**9], False), ([0, 2, 1], False)]
)
def test_stamps_that_cannot_be_an_axis_are_replaced_by_numbers(stamps, timed):
    collector = Collector(LABELS)
    for number, stamp in enumerate(stamps):
        frame, labels, outputs = scene(number, 20)
        collector.add(replace(frame, stamp=stamp * 10**8), labels, outputs)
    found = content(collector, None, follows=True).description
    assert found["timed"] is timed
    if not timed:
        assert found["timeline"]["places"] == list(range(len(stamps)))
