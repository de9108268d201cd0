# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""A node under a soak: started again when it ends, fed by a sensor, watched by a client."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.srv import ChangeState
from nav_msgs.msg import Odometry
from rcl_interfaces.srv import ListParameters, SetParameters
from rclpy.executors import SingleThreadedExecutor
from rig import BROKEN, RELIABLE, cloud_message, odometry_message, stamped
from sensor_msgs.msg import PointCloud2

from minkowski_perception.frame import nanoseconds
from minkowski_perception.trial import trial_frame

RESPAWN_DELAY = 0.2  # seconds, as in the launch files
PATIENCE = 60.0  # seconds for a node to recover, before it is killed
SAMPLE_PERIOD = 1.0  # seconds
SPEED = 5.0  # m/s of the sensor along x
PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass
class Record:
    """What was seen of a node; times are seconds since the start of the soak.

    Attributes:
        samples: time, resident MB, open files, number of the process, and MB of the resident
            memory that is the process's own.
        latencies: time of the answer, seconds since the cloud was sent, and whether there was no
            fault then.
        faults: of `soak_faults`, as they were injected.
        ends: of processes: time, status, whether it was expected, the end of the log.
        reports: of the node on /diagnostics.
        unbalanced: reports in which received is not labelled + dropped + pending.
        sent: clouds, malformed ones included.
        unanswered: requests without a response within 10 s.
    """

    samples: list[tuple[float, float, int, int, float]] = field(default_factory=list)
    latencies: list[tuple[float, float, bool]] = field(default_factory=list)
    faults: list[dict] = field(default_factory=list)
    ends: list[dict] = field(default_factory=list)
    reports: int = 0
    unbalanced: int = 0
    sent: int = 0
    unanswered: int = 0


class SoakedNode:
    """The node in a process of its own, with a sensor that sends clouds while `spin` runs.

    Everything happens in the thread that calls `spin` or a function that uses it, so that a fault
    is a few lines in a row.

    Args:
        name: namespace of the node.
        folder: for its logs and the orders of faults.
        rate: clouds per second.
        points: of a cloud.
        parameters: of the node.

    Attributes:
        feeding: whether the sensor sends clouds.
        posed: whether it sends odometry with them.
        frame_id: of the clouds.
        clock_offset: nanoseconds from the clock of this machine to that of the sensor.
        shift: metres that the odometry has jumped.
        expected: statuses with which the process may end; each end takes them back.
        counts: of what this client saw, such as refused requests.
        values: of the latest report, with `counts`.
    """

    def __init__(self, name, folder, rate, points, parameters, seed=0):
        self.name, self.rate, self.record = name, rate, Record()
        self.feeding = self.posed = True
        self.frame_id, self.clock_offset, self.shift = "lidar", 0, 0.0
        self.expected: set[int] = set()
        self.counts: Counter[str] = Counter()
        self.in_fault = False
        self._values: dict[str, str] = {}
        self._parameters = parameters
        self._log, self._order = folder / f"{name}.log", folder / f"{name}.order"
        self._log.unlink(missing_ok=True)
        self._order.unlink(missing_ok=True)
        self._started = self._due = self._sample_due = time.monotonic()
        self._respawn_at: float | None = None
        self._sent_at: dict[int, float] = {}
        self._answered = 0.0  # when the last answered cloud was sent
        self._is_ready = False  # whether the process has answered a cloud
        self.frames = [trial_frame(points, seed=seed + k) for k in range(10)]
        self._messages = [cloud_message(f, stamp=0, frame_id="lidar") for f in self.frames]
        self._connect()
        self._start()

    def _connect(self):
        self.context = rclpy.Context()
        rclpy.init(context=self.context)
        self.node = rclpy.create_node(f"soak_{self.name}", context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        full = f"/{self.name}/minkowski_perception"
        subscribe, client = self.node.create_subscription, self.node.create_client
        subscribe(PointCloud2, f"{full}/labelled", self._on_labelled, RELIABLE)
        subscribe(DiagnosticArray, "/diagnostics", self._on_diagnostics, RELIABLE)
        self.cloud_topic, self.prefix = f"/{self.name}/cloud", full
        self.clouds = self.node.create_publisher(PointCloud2, self.cloud_topic, RELIABLE)
        self.odometry = self.node.create_publisher(Odometry, f"/{self.name}/odometry", RELIABLE)
        self._services = {
            kind: client(kind, f"{full}/{name}")
            for kind, name in (
                (ChangeState, "change_state"),
                (ListParameters, "list_parameters"),
                (SetParameters, "set_parameters"),
            )
        }

    # The process

    def _start(self):
        arguments = ["-r", f"__ns:=/{self.name}"]
        for name, value in self._parameters.items():
            arguments += ["-p", f"{name}:={value}"]
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, str(BROKEN), "as_told", "--ros-args", *arguments],
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, "FAULT_ORDER": str(self._order)},
            )
        self._values, self._respawn_at, self._is_ready = {}, None, False

    def _supervise(self, now):
        """Note the end of the process, and start it again."""
        if self._respawn_at is not None:
            if now >= self._respawn_at:
                self._start()
        elif (status := self.process.poll()) is not None:
            expected, self.expected = status in self.expected, set()
            self.record.ends.append(
                {
                    "seconds": round(now - self._started, 1),
                    "status": status,
                    "expected": expected,
                    "log": "" if expected else self._log.read_text(errors="replace")[-3000:],
                }
            )
            self._order.unlink(missing_ok=True)
            self._respawn_at = now + RESPAWN_DELAY

    @property
    def is_running(self):
        return self._respawn_at is None and self.process.poll() is None

    def _sample(self, now):
        if now < self._sample_due or not (self._is_ready and self.is_running):
            return
        self._sample_due = now + SAMPLE_PERIOD
        folder = Path(f"/proc/{self.process.pid}")
        try:
            resident, shared = (
                int(pages) * PAGE for pages in (folder / "statm").read_text().split()[1:3]
            )
            files = len(os.listdir(folder / "fd"))
        except (OSError, IndexError):
            return  # it has just ended
        if not resident:
            return
        seconds, lives = now - self._started, len(self.record.ends)
        own = round((resident - shared) / 1e6, 2)
        resident = round(resident / 1e6, 2)
        self.record.samples.append((round(seconds, 1), resident, files, lives, own))

    # The sensor

    def spin(self, seconds=PATIENCE, until=lambda: False):
        """Feed the node for some seconds, or until a condition holds; return whether it does."""
        deadline = time.monotonic() + seconds
        while not until():
            now = time.monotonic()
            if now >= deadline:
                return False
            self._supervise(now)
            self._sample(now)
            if now >= self._due:
                self._due = max(self._due + 1.0 / self.rate, now - 0.5)
                if self.feeding:
                    self.send()
            self.executor.spin_once(timeout_sec=max(0.0, min(self._due, deadline) - now))
        return True

    def send(self, message=None, stamp=None):
        """Send the odometry and a cloud of now, and forget clouds that nobody answered."""
        stamp = time.time_ns() + self.clock_offset if stamp is None else stamp
        if message is None:
            message = self._messages[self.record.sent % len(self._messages)]
        if self.posed:
            self.send_pose(stamp)
        stamped(message, stamp, self.frame_id)
        self._sent_at[stamp] = time.monotonic()
        if len(self._sent_at) > 1000:
            del self._sent_at[next(iter(self._sent_at))]
        self.publish(message)

    def publish(self, message):
        """Publish a cloud as it is."""
        self.clouds.publish(message)
        self.record.sent += 1

    def send_pose(self, stamp, x=None):
        """Send the odometry of a stamp; at x metres instead of where the sensor is."""
        pose = np.eye(4)
        clock = (stamp - self.clock_offset) / 1e9 % 1e5
        pose[0, 3] = SPEED * clock + self.shift if x is None else x
        frame = replace(self.frames[0], stamp=stamp, frame_id="lidar", pose=pose)
        self.odometry.publish(odometry_message(frame))

    # What the node says

    def _on_labelled(self, message):
        sent = self._sent_at.pop(nanoseconds(message.header.stamp), None)
        if sent is not None:
            now = time.monotonic()
            self._answered, self._is_ready = max(self._answered, sent), True
            seconds, quiet = now - self._started, not self.in_fault
            self.record.latencies.append((round(seconds, 2), round(now - sent, 4), quiet))

    def _on_diagnostics(self, message):
        status = message.status[0]
        if not status.name.startswith(f"{self.name}/") or not self.is_running:
            return
        values = {pair.key: pair.value for pair in status.values}
        self.record.reports += 1
        dropped = sum(int(v) for k, v in values.items() if k.startswith("dropped_"))
        parts = int(values["labelled"]) + dropped + int(values["pending"])
        if int(values["received"]) != parts or int(values["dropped"]) != dropped:
            self.record.unbalanced += 1
        self.counts["not_active"] += values["state"] != "active"
        self._values = values

    @property
    def values(self):
        return self._values | {key: str(count) for key, count in self.counts.items()}

    @property
    def state(self):
        return self._values.get("state", "")

    def ready(self, seconds=300.0):
        """Wait until the node answers clouds that are sent from now on."""
        now = time.monotonic()
        return self.spin(seconds, lambda: self._answered > now)

    def report(self):
        """Wait for a report that begins after this call; return whether it came."""
        seen = self.record.reports
        return self.spin(10.0, lambda: self.record.reports > seen + 1)

    # What faults do

    def call(self, kind, request, seconds=10.0):
        """Call a service of the node; return its response, None if none came."""
        client = self._services[kind]
        if not self.spin(seconds, client.service_is_ready):
            return None
        future = client.call_async(request)
        if not self.spin(seconds, future.done):
            client.remove_pending_request(future)
        return future.result() if future.done() else None

    def order(self, place, fault, calls, until=lambda: False):
        """Order a fault inside the process; return once the calls are done, or a condition holds.

        Args:
            place: where the fault happens, see `broken_node.told`.
            fault: its name there.
            calls: number of calls that it happens in; 0 for all until the condition holds.
            until: the condition.
        """
        written = self._order.with_suffix(".new")
        written.write_text(f"{place} {fault} {calls}")
        written.replace(self._order)
        self.spin(PATIENCE, lambda: not self._order.exists() or until())
        self._order.unlink(missing_ok=True)

    def wait_for_end(self, *statuses, seconds=PATIENCE):
        """Wait until the process has ended with one of the statuses."""
        ends = len(self.record.ends)
        self.expected = set(statuses)
        self.spin(seconds, lambda: len(self.record.ends) > ends)

    def inject(self, name, fault, rng):
        """Inject a fault, wait until it is over, and until the node labels again; record both."""
        self.in_fault = True
        before, began, ends = self.values, time.monotonic(), len(self.record.ends)
        fault.inject(self, rng)
        over = time.monotonic()
        recovered = self.ready(PATIENCE)
        again = time.monotonic()
        if not recovered and self.is_running:
            self.process.kill()
            self.wait_for_end(-signal.SIGKILL)
        self.report()
        ended = len(self.record.ends) > ends
        rises = {} if ended else _rises(before, self.values)
        self.record.faults.append(
            {
                "fault": name,
                "seconds": round(began - self._started, 1),
                "lasted": round(over - began, 2),
                "recovery": round(again - over, 2) if recovered else None,
                "rises": rises,
                "seen": ended
                if fault.ends
                else not fault.effects or bool(rises.keys() & set(fault.effects)),
            }
        )
        self.in_fault = False

    def stop(self):
        """Stop the node in order."""
        self.feeding = False
        if self.is_running:
            self.process.send_signal(signal.SIGINT)
            self.wait_for_end(0)

    def close(self):
        """Kill the process if it still runs, and leave the graph."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown(context=self.context)
        self._order.unlink(missing_ok=True)


def _rises(before, after):
    """Return by how much counts rose; those of a stream begin anew when it is configured."""
    rises = {}
    for key, value in after.items():
        if key.startswith(("dropped_", "resets_")) or key in RISING:
            rise = int(value) - int(before.get(key, "0"))
            if rise > 0:
                rises[key] = rise
    return rises


RISING = ("errors", "lost_before_reception", "not_active", "recovery_steps", "refused")
RISING += ("thinned_points",)
