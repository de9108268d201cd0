# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import pytest

pytest.importorskip("diagnostic_msgs", reason="needs the ROS messages")

from diagnostic_msgs.msg import DiagnosticStatus

from minkowski_perception.accounting import Counts, DropReason
from minkowski_perception.node.diagnostics import (
    Increase,
    Monitor,
    Recurrence,
    Stages,
    count_values,
)


def test_level_and_message_cover_the_time_since_the_previous_report():
    monitor = Monitor()
    ok, warn, error = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR
    assert monitor.judge("inactive", "", Counts(0, 0, {})) == (ok, "inactive")
    assert monitor.judge("active", "", Counts(0, 0, {})) == (warn, "no clouds")
    assert monitor.judge("active", "", Counts(5, 5, {})) == (ok, "labelling")
    dropped = {DropReason.MALFORMED: 2, DropReason.SUPERSEDED: 1}
    level, message = monitor.judge("active", "", Counts(9, 6, dropped))
    assert (level, message) == (warn, "clouds dropped: 2 malformed, 1 superseded")
    assert monitor.judge("active", "", Counts(10, 7, dropped)) == (ok, "labelling")
    failed = {**dropped, DropReason.INFERENCE_FAILED: 1}
    assert monitor.judge("active", "", Counts(11, 7, failed))[0] == error
    assert monitor.judge("inactive", "no model", Counts(11, 7, failed)) == (error, "no model")


def test_the_counts_have_a_value_for_every_drop_reason():
    values = count_values(Counts(9, 5, {DropReason.NO_POSE: 3}))
    assert (values["received"], values["labelled"], values["dropped"]) == ("9", "5", "3")
    assert values["pending"] == "1"
    assert {f"dropped_{reason.value}" for reason in DropReason} <= set(values)
    assert values["dropped_no_pose"] == "3"


def test_stages_are_medians_over_the_recent_clouds_in_milliseconds():
    stages = Stages(recent=3)
    for seconds in (9.0, 0.001, 0.003, 0.002):
        stages.add({"decode": seconds, "network": 2 * seconds})
    assert stages.medians() == pytest.approx({"decode": 2.0, "network": 4.0})
    assert list(stages.medians()) == ["decode", "network"]


def test_errors_and_warnings_of_other_parts_are_in_the_message():
    monitor = Monitor()
    warn, error = DiagnosticStatus.WARN, DiagnosticStatus.ERROR
    monitor.judge("active", "", Counts(0, 0, {}))
    assert monitor.judge("active", "", Counts(1, 1, {}), warnings=["a", "b"]) == (warn, "a; b")
    found = monitor.judge("active", "", Counts(2, 2, {}), errors=["bad"], warnings=["a"])
    assert found == (error, "bad")
    assert monitor.judge("inactive", "", Counts(2, 2, {}), errors=["bad"])[1] == "inactive"


def test_streams_that_start_anew_again_and_again_are_a_warning_with_the_cause():
    recurrence = Recurrence(seconds=10.0, most=2)
    assert recurrence.warnings({"gap": 5}, now=0.0) == []
    assert recurrence.warnings({"gap": 7}, now=1.0) == []
    [warning] = recurrence.warnings({"gap": 8, "frame_changed": 1}, now=2.0)
    assert "3 times" in warning
    assert "max_gap" in warning
    assert recurrence.warnings({"gap": 8, "frame_changed": 1}, now=15.0) == []


def test_an_increase_is_counted_since_the_last_question():
    increase = Increase()
    assert [increase(n) for n in (2, 2, 5)] == [2, 0, 3]
