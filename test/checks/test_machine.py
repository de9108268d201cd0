# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import sys

import pytest

from minkowski_perception.checks import machine


def install(folder, name, version):
    info = folder / f"{name}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    return str(folder)


def states(findings):
    return {finding.name: finding.state for finding in findings}


def test_a_missing_package_has_the_command_that_installs_it():
    packages = [
        machine._Package(("no_such_module",), "required", "nothing works", "fail"),
        machine._Package(("no_such_module",), "advised", "it is slow", "warn"),
        machine._Package(("no_such_module",), "optional", "no pictures", "ok"),
        machine._Package(("no_such_module", "numpy"), "numpy", "nothing works", "fail"),
    ]

    found, *problems = machine.packages(packages)

    assert "numpy 2" in found.found
    assert "optional (no pictures)" in found.found
    assert states(problems) == {"required": "fail", "advised": "warn"}
    assert problems[1].remedy == "pip install advised"


def test_a_package_that_cannot_be_imported_is_named(tmp_path, monkeypatch):
    (tmp_path / "broken_package.py").write_text("raise ImportError('numpy.core changed')")
    monkeypatch.syspath_prepend(tmp_path)

    _, problem = machine.packages(
        [machine._Package(("broken_package",), "broken-package", "nothing works", "fail")]
    )

    assert problem.state == "fail"
    assert "numpy.core changed" in problem.found
    assert problem.remedy == "pip install --force-reinstall broken-package"


def test_packages_of_the_system_that_were_built_for_another_numpy_are_named(tmp_path):
    environment = install(tmp_path / "venv", "numpy", "2.3.1")
    system = install(tmp_path / "system", "numpy", "1.26.4")
    install(tmp_path / "system", "scipy", "1.11.4")

    (problem,) = machine.mixture([environment, system])

    assert problem.state == "warn"
    assert "scipy 1.11.4" in problem.found
    assert "built for NumPy 1.26.4 there, but NumPy 2.3.1" in problem.found
    assert problem.remedy == "pip install --ignore-installed scipy"


def test_packages_of_the_system_that_fit_raise_no_warning(tmp_path):
    environment = install(tmp_path / "venv", "numpy", "1.26.5")
    system = install(tmp_path / "system", "numpy", "1.26.4")
    install(tmp_path / "system", "scipy", "1.11.4")

    assert machine.mixture([environment, system]) == []


def test_ros_for_another_python_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(machine.importlib.util, "find_spec", lambda name: None)
    (tmp_path / "lib" / "python3.99" / "site-packages" / "rclpy").mkdir(parents=True)

    (problem,) = machine.ros({"AMENT_PREFIX_PATH": str(tmp_path)}, tmp_path / "none")

    assert problem.state == "fail"
    assert "is for python3.99, and this is python3." in problem.found


def test_ros_that_is_not_active_has_the_command_that_activates_it(tmp_path, monkeypatch):
    monkeypatch.setattr(machine.importlib.util, "find_spec", lambda name: None)
    (tmp_path / "jazzy").mkdir()
    (tmp_path / "jazzy" / "setup.bash").touch()

    (problem,) = machine.ros({}, tmp_path)

    assert problem.remedy == f"source {tmp_path}/jazzy/setup.bash"


def test_a_limit_of_the_container_is_compared_with_the_cores(tmp_path):
    quota = tmp_path / "cpu.max"
    quota.write_text("50000 100000\n")

    problem = machine.processor(quota)

    assert problem.state == "warn"
    assert "only 0.5 of them" in problem.found
    assert "threads:=1" in problem.remedy


@pytest.mark.parametrize(("size", "state"), [(212_992, "warn"), (33_554_432, "ok")])
def test_small_socket_buffers_are_warned_of(tmp_path, size, state):
    core = tmp_path / "net" / "core"
    core.mkdir(parents=True)
    (core / "rmem_max").write_text(f"{size}\n")

    found = machine.receive_buffer(tmp_path)

    assert found.state == state
    assert f"{size:,}" in found.found
    assert ("sysctl -w net.core.rmem_max=" in found.remedy) == (state == "warn")


def test_shared_memory_must_be_writable_and_large_enough(tmp_path):
    assert machine.shared_memory(tmp_path, least=1).state == "ok"
    assert machine.shared_memory(tmp_path, least=1 << 60).state == "warn"
    assert "--shm-size" in machine.shared_memory(tmp_path / "none").remedy


def test_a_profile_of_the_middleware_that_does_not_exist_fails(monkeypatch):
    pytest.importorskip("rclpy", reason="needs rclpy: a ROS 2 installation or its wheels")
    monkeypatch.setattr(machine, "_middleware", lambda environment: machine.ok("middleware", ""))

    found = machine.transports({"CYCLONEDDS_URI": "file:///no/such.xml", "ROS_DOMAIN_ID": "7"})

    assert states(found) == {"middleware": "ok", "discovery": "ok", "CYCLONEDDS_URI": "fail"}
    assert found[-1].remedy == "unset CYCLONEDDS_URI"


@pytest.mark.system
def test_a_middleware_that_is_not_installed_fails_with_the_package(monkeypatch):
    pytest.importorskip("rclpy", reason="needs rclpy: a ROS 2 installation or its wheels")
    import os

    environment = {**os.environ, "RMW_IMPLEMENTATION": "rmw_no_such_cpp", "ROS_DISTRO": "jazzy"}

    found = machine._middleware(environment)

    assert found.state == "fail"
    assert "ros-jazzy-rmw-no-such-cpp" in found.remedy


def test_a_middleware_that_does_not_start_in_time_fails(monkeypatch):
    monkeypatch.setattr(machine, "_PRINT_RMW", "import time; time.sleep(60)")
    monkeypatch.setattr(machine, "_LIBRARY_TIMEOUT", 0.5)

    found = machine._middleware({"RMW_IMPLEMENTATION": "rmw_zenoh_cpp"})

    assert found.state == "fail"
    assert found.found == "rmw_zenoh_cpp: rclpy has not started after 0.5 s"


def test_this_interpreter_is_fine():
    found = machine.interpreter()

    assert found.state == "ok"
    assert sys.executable in found.found
