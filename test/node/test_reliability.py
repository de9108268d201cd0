# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Faults in and around the node, in processes of their own: the table of docs/reliability.md."""

import signal
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs rclpy: a ROS 2 installation or its wheels")

from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import GetState
from rcl_interfaces.msg import Parameter, ParameterValue
from rcl_interfaces.srv import SetParameters
from rig import ANSWER, assert_balanced, cloud_message, odometry_message

from minkowski_perception.node.stopping import STALLED
from minkowski_perception.trial import trial_frame

pytestmark = pytest.mark.system

START = 1_700_000_000 * 10**9


def frame(index, x=None, points=2000):
    """Frame of a street, a tenth of a second after the one before; with a pose at x metres."""
    pose = None
    if x is not None:
        pose = np.eye(4)
        pose[0, 3] = x
    return replace(
        trial_frame(points, 0), stamp=START + index * 10**8, frame_id="lidar", pose=pose
    )


def cloud(index, frame_id="lidar", points=2000):
    return cloud_message(frame(index, points=points), frame_id=frame_id)


def resets(running):
    return {k.removeprefix("resets_"): v for k, v in running.values.items() if "resets_" in k}


def was_reported(running, text):
    return any(text in message for message in running.messages)


# The engine


@pytest.mark.parametrize("fault", ["fail_twice", "fail_until_built_anew"])
def test_an_engine_that_fails_is_recovered_and_labels_again(tiny_rig, fault):
    running = tiny_rig(fault).ready()
    running.publish(cloud(0))
    running.publish(cloud(1))  # fails: the state is dropped
    running.publish(cloud(2))  # fails: the engine is built anew
    running.publish(cloud(3))
    running.wait_for(lambda: len(running.labelled) == 2)
    values = running.fresh_values()
    assert (values["dropped_inference_failed"], values["recovery_steps"]) == ("2", "2")
    assert values["state"] == "active"
    assert was_reported(running, "inference failed")


def test_an_engine_that_cannot_be_recovered_leaves_the_state_active_and_is_tried_again(tiny_rig):
    running = tiny_rig("fail").ready()
    for index in range(3):
        running.publish(cloud(index))
    running.wait_for(lambda: 2 in running.levels and running.values["state"] != "active")
    running.wait_for_output("the engine fails on every cloud")
    running.wait_for(lambda: running.output().count("on_configure failed") > 1)
    assert running.stop() == 0


def test_a_managed_node_waits_for_its_manager_after_the_error_state(tiny_rig):
    running = tiny_rig("fail", autostart=False).ready("unconfigured")
    assert running.change_state(Transition.TRANSITION_CONFIGURE)
    assert running.change_state(Transition.TRANSITION_ACTIVATE)
    running.ready()
    for index in range(3):
        running.publish(cloud(index))
    running.wait_for(lambda: running.values["state"] == "unconfigured")
    state = running.call(GetState, "get_state", GetState.Request()).current_state
    assert state.id == State.PRIMARY_STATE_UNCONFIGURED


@pytest.mark.parametrize(("fault", "status"), [("hang", STALLED), ("hang_with_the_lock", 1)])
def test_a_process_whose_engine_hangs_ends_itself_with_a_status_of_failure(
    tiny_rig, fault, status
):
    running = tiny_rig(fault, stall_timeout=15.0).ready()
    running.publish(cloud(0))
    running.clouds.publish(cloud(1))
    running.process.wait(ANSWER)
    assert running.process.returncode == status
    if fault == "hang":
        running.spin(0.5)
        assert was_reported(running, "the engine has not returned")
        assert (running.values["dropped_stalled"], running.values["pending"]) == ("1", "0")
        assert_balanced(running.values)


@pytest.mark.parametrize("fault", ["hang", "never_configured"])
def test_a_node_that_hangs_can_be_stopped(tiny_rig, fault):
    running = tiny_rig(fault, stall_timeout=0.0)
    if fault == "hang":
        running.ready().publish(cloud(0))
        running.clouds.publish(cloud(1))
        running.spin(1.0)
    else:
        running.ready("configuring")
    assert running.stop() == STALLED


def test_an_error_after_a_cloud_was_counted_is_reported_and_the_node_goes_on(tiny_rig):
    running = tiny_rig("fail_after_the_count").ready()
    for index in range(4):
        running.publish(cloud(index))
    running.wait_for(lambda: len(running.labelled) == 4)
    values = running.fresh_values()
    assert (values["labelled"], values["dropped"], values["errors"]) == ("4", "0", "1")
    assert was_reported(running, "a fault after the cloud was counted")


def test_a_worker_that_ends_is_an_error_and_is_started_again(tiny_rig):
    running = tiny_rig("end_the_worker").ready()
    running.publish(cloud(0))
    running.publish(cloud(1))  # the thread ends
    running.publish(cloud(2))
    running.wait_for(lambda: len(running.labelled) == 2)
    values = running.fresh_values()
    assert (values["dropped_internal_error"], values["errors"]) == ("1", "1")
    assert was_reported(running, "the worker thread ended")


def test_an_error_in_a_report_ends_neither_the_reports_nor_the_node(tiny_rig):
    running = tiny_rig("fail_to_report").ready()
    running.publish(cloud(0))
    reports = running.reports
    running.wait_for(lambda: running.reports > reports + 2)
    assert running.stop() == 0


# Slow machines, and clouds of a topic


def test_a_slow_machine_keeps_its_stream_and_does_not_wait_again_for_a_pose(tiny_rig):
    running = tiny_rig("slow", ego_motion="auto", ego_motion_timeout=0.5, max_gap=0.9).ready()
    running.feed([cloud(index) for index in range(60)])
    running.wait_for(lambda: running.values["pending"] == "0")
    values = running.fresh_values()
    assert int(values["dropped_superseded"]) > int(values["labelled"]) > 1
    assert 2 * int(values.get("resets_gap", 0)) < int(values["labelled"])


def test_two_frames_on_one_topic_are_named(tiny_rig):
    running = tiny_rig().ready()
    for index in range(8):
        running.publish(cloud(index, ("front", "rear")[index % 2]))
    assert was_reported(running, "clouds of the frames 'front', 'rear' on one topic")
    assert int(running.fresh_values()["resets_frame_changed"]) == 7


def test_clouds_without_a_frame_are_labelled_with_a_warning(tiny_rig):
    running = tiny_rig().ready()
    message = cloud(0)
    message.header.frame_id = ""
    running.publish(message)
    running.fresh_values()
    assert was_reported(running, "no frame_id")
    assert len(running.labelled) == 1


def test_every_cloud_that_is_sent_is_received_or_counted_as_lost(tiny_rig):
    running = tiny_rig(input_reliability="best_effort").ready()
    running.publish(cloud(0))
    for index in range(1, 60):
        running.clouds.publish(cloud(index, points=60_000))
    sent = 60

    def all_are_counted():
        """Send one more, which shows the loss of those before it."""
        nonlocal sent
        running.clouds.publish(cloud(sent))
        sent += 1
        values = running.fresh_values()
        return int(values["received"]) + int(values["lost_before_reception"]) == sent

    running.wait_for(all_are_counted)


def test_points_and_voxels_beyond_the_limits_are_counted(tiny_rig):
    running = tiny_rig(max_points=1000, max_voxels=1000).ready()
    running.publish(cloud(0, points=4000))
    running.wait_for(lambda: running.labelled)
    assert running.labelled[0].width == 4000
    running.fresh_values()
    assert int(running.values["thinned_points"]) >= 3000
    assert was_reported(running, "beyond max_points or max_voxels")


# Parameters


def test_a_parameter_of_an_unknown_type_is_refused(tiny_rig):
    running = tiny_rig().ready()
    for value in (ParameterValue(type=99), ParameterValue(type=0)):
        request = SetParameters.Request(parameters=[Parameter(name="sensor_pose", value=value)])
        [result] = running.call(SetParameters, "set_parameters", request).results
        assert not result.successful
    assert not running.set_parameter("engine", "nonsense")
    assert not running.set_parameter("max_gap", "hello")
    assert not running.set_parameter("model", "no_such_model")
    running.publish(cloud(0))
    for transition in (4, 2, 1, 3):  # to unconfigured and back
        assert running.change_state(transition)
    running.ready().publish(cloud(1))
    assert running.fresh_values()["labelled"] == "2"


# Motion


@pytest.mark.parametrize("jump", [2.0, 10.0, 1000.0])
def test_a_jump_of_the_odometry_starts_a_new_stream(tiny_rig, jump):
    running = tiny_rig(ego_motion="odometry", ego_motion_timeout=10.0).ready()
    running.wait_for(lambda: running.odometry.get_subscription_count() > 0)
    for index in range(6):
        running.odometry.publish(odometry_message(frame(index, index + jump * (index > 3))))
        running.publish(cloud(index))
    values = running.fresh_values()
    assert (values["labelled"], resets(running)) == ("6", {"pose_jump": "1"})


def test_absurd_odometry_is_ignored(tiny_rig):
    running = tiny_rig(ego_motion="odometry", ego_motion_timeout=0.2).ready()
    running.wait_for(lambda: running.odometry.get_subscription_count() > 0)
    for index, x in enumerate((0.0, 1.0, float("nan"), 1e300, 4.0)):
        running.odometry.publish(odometry_message(frame(index, x)))
        running.publish(cloud(index))
    values = running.fresh_values()
    assert (values["labelled"], values["dropped_no_pose"], values["dropped"]) == ("3", "2", "2")


# Transitions


def test_a_node_that_waits_for_a_pose_can_be_deactivated_at_once(tiny_rig):
    running = tiny_rig(ego_motion="odometry", ego_motion_timeout=10.0).ready()
    running.clouds.publish(cloud(0))
    running.wait_for(lambda: running.values["pending"] == "1")
    assert running.change_state(Transition.TRANSITION_DEACTIVATE)
    values = running.fresh_values()
    assert (values["dropped_shutdown"], values["pending"]) == ("1", "0")
    assert running.change_state(Transition.TRANSITION_ACTIVATE)
    running.ready()


def test_diagnostics_go_on_and_services_answer_while_the_node_is_configured(tiny_rig):
    running = tiny_rig("slow_start").ready("configuring")
    state = running.call(GetState, "get_state", GetState.Request()).current_state
    assert state.id == State.TRANSITION_STATE_CONFIGURING
    assert not running.change_state(Transition.TRANSITION_CONFIGURE)
    running.ready()
    assert running.states.count("configuring") > 1
    assert running.stop() == 0


def test_the_whole_path_is_run_before_the_node_is_active(tiny_rig):
    running = tiny_rig("fail_at_once").ready("unconfigured")
    assert "an illegal memory access" in running.status.message
    assert "active" not in running.states


def test_a_shutdown_by_service_then_a_signal_is_orderly(tiny_rig):
    running = tiny_rig().ready()
    assert running.change_state(Transition.TRANSITION_ACTIVE_SHUTDOWN)
    running.wait_for(lambda: running.values["state"] == "finalized")
    assert running.stop(signal.SIGINT) == 0
    assert "Traceback" not in running.output()


# Load shedding


def test_a_node_beyond_its_budget_sheds_load_step_by_step_with_the_reason(tiny_rig):
    running = tiny_rig(latency_budget=1e-6).ready()
    for index in range(30):
        running.publish(cloud(index))
    values = running.fresh_values()
    assert values["load_level"] == "half_clouds"
    assert "budget 1e-06 s" in values["load_reason"]
    assert values["averaging"] == "3"
    for index in range(30, 34):
        running.publish(cloud(index))
    values = running.fresh_values()
    assert int(values["dropped_shed"]) == 2
    assert_balanced(values)
    assert was_reported(running, "load shedding: half_clouds")
