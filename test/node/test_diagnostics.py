# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import pytest

pytest.importorskip("diagnostic_msgs", reason="needs the ROS messages")

from diagnostic_msgs.msg import DiagnosticStatus

from minkowski_perception.accounting import Counts, DropReason
from minkowski_perception.node.diagnostics import Monitor, Stages, count_values


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
    unlike = ("far_range 5 (training: 30 to 90): use model indoor_depth",)
    level, message = monitor.judge("active", "", Counts(12, 8, failed), unlike)
    assert (level, message) == (warn, f"unlike the training: {unlike[0]}")
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
