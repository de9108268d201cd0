# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "tools" / "prepare_machine.py"


@pytest.fixture
def machine(monkeypatch):
    """The script as a module, on a machine that lacks libegl1 and has apt-get."""
    spec = importlib.util.spec_from_file_location("prepare_machine", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "missing_packages", lambda: ["libegl1"])
    monkeypatch.setattr(module, "problem", lambda: "")
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    return module


@pytest.fixture
def calls(monkeypatch):
    """Commands that the script runs; all succeed but those of which a word is in `failing`."""
    made = []
    made_failing = set()

    def call(command, **_):
        made.append(" ".join(command))
        return int(bool(made_failing & set(command)))

    monkeypatch.setattr("subprocess.call", call)
    call.made, call.failing = made, made_failing
    return call


def test_root_installs_what_is_missing(machine, calls, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    machine.main()
    update, install = calls.made
    assert update.endswith("apt-get -qq update")
    assert install.endswith("install --no-install-recommends -y libegl1")
    assert "sudo" not in update + install


def test_sudo_without_a_password_installs_too(machine, calls, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    machine.main()
    assert calls.made[0] == "sudo -n true"
    assert calls.made[2].startswith("sudo -n env")


@pytest.mark.parametrize("failing", ["true", "install"])
def test_where_nothing_can_be_installed_one_command_is_printed(
    machine, calls, monkeypatch, failing
):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    calls.failing.add(failing)
    with pytest.raises(SystemExit) as exit_:
        machine.main()
    *_, last = str(exit_.value).splitlines()
    assert last == "Install with: sudo apt-get install --no-install-recommends libegl1"


def test_another_platform_is_refused_with_the_way_that_works(machine, monkeypatch):
    monkeypatch.setattr(machine, "problem", lambda: "use colcon build instead")
    with pytest.raises(SystemExit, match="use colcon build instead"):
        machine.main()


def test_on_a_complete_machine_it_does_nothing_and_succeeds():
    done = subprocess.run([sys.executable, SCRIPT], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
