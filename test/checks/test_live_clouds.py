# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

import pytest

pytest.importorskip("rosbags", reason="bags need the rosbags package")

from cloud_messages import SECOND, START, STEP, message, street

from minkowski_perception.checks.clouds import CloudTopic


def check(frames, delay=0, features=("intensity",)):
    clouds = CloudTopic("/points")
    for frame in frames:
        clouds.add(frame.stamp + delay, message(frame))
    return {finding.name: finding for finding in clouds.findings(features)}


def test_good_clouds_have_rate_size_fields_and_ranges():
    found = check([street(i) for i in range(10)])

    assert {finding.state for finding in found.values()} == {"ok"}
    assert "10 in 0.9 s, 10.0 Hz, 600 points" in found["clouds"].found
    assert found["fields"].found == "x FLOAT32, y FLOAT32, z FLOAT32, intensity FLOAT32"
    assert found["gaps"].found == "none"
    assert "m in the median" in found["points"].found


def test_a_topic_without_clouds_fails():
    assert check([])["clouds"].state == "fail"


def test_missing_clouds_are_counted():
    found = check([street(i) for i in (0, 1, 2, 3, 6, 7, 8)])["gaps"]

    assert found.state == "warn"
    assert "2 clouds are missing" in found.found


def test_a_gap_that_begins_a_new_stream_is_warned_of():
    found = check([street(i) for i in (0, 1, 2, 3, 40)])["gaps"]

    assert "after 1 s a new stream begins" in found.found
    assert "max_gap:=4" in found.remedy


def test_steps_back_and_repeated_stamps_are_counted():
    found = check([street(i) for i in (0, 1, 3, 2, 2, 4)])["stamps"]

    assert "1 steps back, 1 repeated" in found.found


def test_clocks_that_differ_are_warned_of():
    found = check([street(i) for i in range(4)], delay=5 * SECOND)["stamps"]

    assert found.state == "warn"
    assert "+5.0 s" in found.found


def test_stamps_of_zero_are_counted():
    clouds = CloudTopic("/points")
    for i in range(4):
        clouds.add(START + i * STEP, message(replace(street(i), stamp=0)))

    found = {finding.name: finding for finding in clouds.findings()}

    assert found["stamps"].found.startswith("4 of 4 are 0")
    assert "10.0 Hz" in found["clouds"].found


def test_two_sensors_on_one_topic_are_warned_of():
    found = check([street(0), replace(street(1), frame_id="rear")])["frame"]

    assert "'lidar' (1), 'rear' (1): several sensors" in found.found


def test_millimetres_fail_with_the_remedy():
    found = check([street(i, scale=1000.0) for i in range(3)])["unit"]

    assert found.state == "fail"
    assert found.remedy.startswith("divide x, y, z by 1000")


def test_fields_that_the_model_uses_are_named_where_they_are_missing():
    frames = [replace(street(i), intensity=None) for i in range(3)]

    found = check(frames, features=("z", "intensity", "red"))["fields"]

    assert "the model uses intensity and rgb" in found.found
    assert found.state == "warn"


def test_a_malformed_cloud_fails():
    broken = message(street())
    broken.point_step = 2
    clouds = CloudTopic("/points")
    clouds.add(START, broken)

    assert {f.name: f.state for f in clouds.findings()}["fields"] == "fail"


def test_one_intensity_at_all_points_is_warned_of():
    frames = [replace(street(i), intensity=street(i).intensity * 0 + 7) for i in range(3)]

    found = check(frames)["intensity"]

    assert found.state == "warn"
    assert found.found.startswith("7 at all points")
